/*
 * What this process was given when it was started: by a service manager (service.c, activation.c), and by the
 * program whose place it takes (handover_read.c); and what it leaves with the manager for the next one
 * (store.c). Part of monitor/internal.h.
 */
#ifndef MONITOR_INHERITED_H
#define MONITOR_INHERITED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/address.h"
#include "base/bytes.h"

#include "event/event.h"

#include "config/config.h"

/* Engines at a time: one that comes, one that serves, and two that finish what they have. */
enum { BOOT_ENGINES_MAX = 4 };

/* ---- service.c ---- */

struct boot;

/* A descriptor that a service manager gave; -1 once it was taken. */
struct service_passed {
    int descriptor;
    struct span name; /* of the environment */
    bool stored;      /* by us, with service_store; else a socket to be served */
    bool udp;         /* set by activation_open, like what follows */
    struct address address;
};

struct service {
    int notify;        /* -1: nobody is told */
    uint64_t watchdog; /* nanoseconds within which it wants a sign of life; 0: it does not */
    struct service_passed *passed;
    size_t passed_count;
};

/* What the environment says of a service manager; nothing of it without one. To be called before any
 * descriptor is opened. ERROR_INVALID after a message on standard error; the caller closes it then as well.
 */
int service_read(char *const *environment, struct service **out);
void service_close(struct service *service);

/* What was passed to the program of before, and is not named in the environment any more; the names outlive
 * the service. ERROR_MEMORY. */
int service_inherit(struct service *service, const struct service_passed *passed, size_t count);

/* All others take NULL as well, and do nothing where nobody is to be told. They wait a tenth of a second at
 * most. */

/* It serves, for the first time, anew, or after service_reloading; it begins to take another configuration;
 * it ends, and may take so long for it. */
void service_ready(const struct boot *boot);
void service_reloading(const struct service *service);
void service_stopping(const struct service *service, uint64_t within);

/* Every loop turns. */
void service_watchdog(const struct service *service);

/* A line for people, without a newline. */
__attribute__((format(printf, 2, 3))) void service_status(const struct service *service, const char *format,
                                                          ...);

/* Whether anybody is to be told. */
bool service_is_told(const struct service *service);

/* What a manager's names of stored descriptors begin with. */
#define SERVICE_STORED "dnseal-stored-"

/* The manager keeps copies of the descriptors, at most NET_NOTIFY_PASSED_MAX, beyond the life of this
 * process, under the name (without a colon), and gives them to the next one. All of one name are forgotten
 * together. Both are for a service that is told; they do not wait: ERROR_AGAIN where the manager has no room
 * now. */
int service_store(const struct service *service, const char *name, const int *descriptors, size_t count);
int service_forget(const struct service *service, const char *name);

/* The name under which a descriptor was stored. */
struct span service_stored_name(const struct service_passed *passed);

/* A descriptor that was stored under the name before: the caller's from here on. -1 where there is none any
 * more. */
int service_take(struct service *service, const char *name);

/* ---- activation.c ---- */

/* All take NULL for a service as well: it passed nothing. What was stored is not theirs. */

/* Looks at what was passed. ERROR_INVALID after a message on standard error: something cannot be served. */
int activation_open(struct service *service);

/* What would be served if nothing were configured. Returns the number. */
size_t activation_listeners(const struct service *service, struct config_listen out[CONFIG_LISTEN_MAX]);

/* Whether everything that was passed is configured; ERROR_INVALID after complaints. */
int activation_check(const struct service *service, const struct config *config,
                     struct config_report *report);

/* How many sockets were passed for one address and transport, and each of them. They stay the service's. */
size_t activation_count(const struct service *service, const struct address *address, bool udp);
int activation_find(const struct service *service, const struct address *address, bool udp, size_t nth);

/* Whether a descriptor is one of those. */
bool activation_has(const struct service *service, int descriptor);

/* Whether a worker serves the nth of `count` sockets for one address: each worker has one at least, and each
 * socket has a worker. */
bool activation_is_for_worker(size_t nth, size_t count, unsigned worker, unsigned workers);

/* ---- handover.c, handover_read.c ---- */

enum { UPGRADE_CLIENTS_MAX = 8 };

/* How the text begins, before the number of the process, and where its descriptor is named; and how one
 * begins that a service manager keeps. */
#define HANDOVER_HEAD     "dnseal handover 1 "
#define HANDOVER_VARIABLE "DNSEAL_HANDOVER="
#define HANDOVER_STORED   "dnseal store 1"

/* An engine that the program of before has started. */
struct handover_engine {
    pid_t pid;
    int channel, metrics;
    size_t metrics_size;
    bool serves; /* else it finishes what it has */
};

/* A client of the control socket that has no answer yet. */
struct handover_client {
    int descriptor;
    int waits; /* enum control_wait */
};

/* "PARTITION LABEL" of a server, or "HOST ADDRESS". */
struct handover_line {
    bool is_group;
    uint8_t partition;
    char *text; /* in the handover's */
};

/* What a service manager has of ours: the name, and of what. */
struct handover_stored {
    struct span name;
    uint64_t inode;
};

/* What the program of before left to this one, in this process or with a service manager. */
struct handover {
    bool is_there;
    bool is_stored;      /* with a manager: that program and its engines are gone */
    const char *trouble; /* why nothing could be read of what is stored but its sockets; NULL: it could */
    int stored_text;     /* which is to say this the next time; -1: none, or taken */
    struct handover_stored *stored;
    size_t stored_count;
    size_t sockets_stored;  /* as many sockets as should have come */
    int cache;              /* -1: none, or taken */
    size_t cache_size;      /* 0: there was none */
    bool is_cache_readable; /* its entries have the form that this program knows */
    int total;              /* -1: none, or taken */
    size_t total_size;
    int *sockets;
    size_t socket_count;
    struct service_passed *passed;
    size_t passed_count;
    struct handover_engine engines[BOOT_ENGINES_MAX];
    size_t engine_count;
    int log;     /* where lines go when there is no other place for them; -1: none, or taken */
    int control; /* the control socket, which listens; -1: none, or taken */
    char *control_path;
    struct handover_client clients[UPGRADE_CLIENTS_MAX];
    size_t client_count;
    struct handover_line *lines;
    size_t line_count;
    char *text;
};

/* What the environment names; without a name of it there is none. To be called before any descriptor is
 * opened. ERROR_INVALID after a message on standard error. */
int handover_read(char *const *environment, struct handover *out);

/* The same of what a service manager kept, which is taken from the service, and closed where it cannot be
 * used. What makes no sense is no error. ERROR_MEMORY. */
int handover_read_stored(struct service *service, struct handover *out);

/* What such a text says of all that outlives this process; the caller frees it. ERROR_MEMORY. */
int handover_describe(const struct boot *boot, char **text, size_t *size);

/* None at all; and the end of one. */
void handover_init(struct handover *handover);
void handover_free(struct handover *handover);

/* The environment without what is said there of descriptors, and with one entry more where `further` is not
 * NULL. The list is the caller's, and all entries but that one belong to the environment. NULL: memory. */
char **handover_environment(char *const *environment, const char *further);

/* ---- store.c ---- */

enum { STORE_NAME_SIZE = 96 };

/* What is stored beside the cache and the counters, and how the names of sockets begin. */
#define STORE_TEXT "text"
#define STORE_UDP  "udp-"
#define STORE_TCP  "tcp-"

/* Reasons for store_tell: the manager did not give it back; it is not whole, or another version's. */
#define STORE_MISSING    "missing"
#define STORE_UNREADABLE "unreadable"

/* A descriptor that the manager has, or is to have. */
struct store_piece {
    char name[STORE_NAME_SIZE];
    uint64_t inode;
    int descriptor; /* where it is wanted */
    bool is_there;  /* with the manager */
    bool is_wanted;
};

struct store {
    struct boot *boot;
    struct event_loop *loop;
    struct event_timer pause; /* before the manager is told more */
    uint64_t pause_for;
    int text;   /* -1 before it was written first */
    char *said; /* in the text */
    size_t said_size;
    bool is_mixed; /* what the cache holds is not only what the text could say */
    bool is_known; /* what is wanted */
    struct store_piece *pieces;
    size_t count;
};

/* Names of what is stored: memory by what it is for and by its inode, so that no other is taken for it, and
 * the sockets of an address. */
void store_name_memory(const char *what, int descriptor, char out[STORE_NAME_SIZE]);
void store_name_socket(const struct address *address, bool udp, char out[STORE_NAME_SIZE]);

/* Under which what is open there is known as long as it lives. */
uint64_t store_inode(int descriptor);

/* boot->store from here on, where there is a service manager, and what the program of before had stored.
 * ERROR_MEMORY. */
int store_open(struct boot *boot, struct event_loop *loop);

/* What the manager has not been told yet, it is told now: a tenth of a second is waited for it at most. */
void store_close(struct store *store);

/* All others do nothing without a store. */

/* The plan in force is served, and nothing else stores into the cache: the manager keeps what the next
 * program needs for that, and nothing else of ours. It is told in the loop's time, and never waited for. */
void store_update(struct boot *boot);

/* What the text says has changed. */
void store_note(struct boot *boot);

/* An engine is going to store into the cache what the text does not say: until store_update, no other program
 * may take it. */
void store_mix(struct boot *boot);

/* A piece of what was stored is done without: an event in the log. Nothing where it was not stored. */
void store_tell(struct boot *boot, const char *piece, const char *reason);

#endif
