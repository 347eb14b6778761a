/*
 * What this process was given when it was started: by a service manager (service.c, activation.c), and by the
 * program whose place it takes (handover_read.c). Part of monitor/internal.h.
 */
#ifndef MONITOR_INHERITED_H
#define MONITOR_INHERITED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/address.h"
#include "base/bytes.h"

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
 * it ends. */
void service_ready(const struct boot *boot);
void service_reloading(const struct service *service);
void service_stopping(const struct service *service);

/* Every loop turns. */
void service_watchdog(const struct service *service);

/* A line for people, without a newline. */
__attribute__((format(printf, 2, 3))) void service_status(const struct service *service, const char *format,
                                                          ...);

/* The manager keeps a copy of the descriptor beyond the life of this process, under the name (without a
 * colon), and gives it to the next one. Several may have one name, and are forgotten together. */
void service_store(const struct service *service, const char *name, int descriptor);
void service_forget(const struct service *service, const char *name);

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

/* How the text begins, before the number of the process, and where its descriptor is named. */
#define HANDOVER_HEAD     "dnseal handover 1 "
#define HANDOVER_VARIABLE "DNSEAL_HANDOVER="

/* An engine that the program of before has started. */
struct handover_engine {
    pid_t pid;
    int channel, metrics;
    size_t metrics_size;
    bool serves; /* else it finishes what it has */
};

/* "PARTITION LABEL" of a server, or "HOST ADDRESS". */
struct handover_line {
    bool is_group;
    uint8_t partition;
    char *text; /* in the handover's */
};

/* What the program of before left to this one. */
struct handover {
    bool is_there;
    int cache; /* -1: none, or taken */
    size_t cache_size;
    bool is_cache_readable; /* its entries have the form that this program knows */
    int total;              /* -1: none, or taken */
    size_t total_size;
    int *sockets;
    size_t socket_count;
    struct service_passed *passed;
    size_t passed_count;
    struct handover_engine engines[BOOT_ENGINES_MAX];
    size_t engine_count;
    int clients[UPGRADE_CLIENTS_MAX]; /* of the control socket, that wait for the upgrade */
    size_t client_count;
    struct handover_line *lines;
    size_t line_count;
    char *text;
};

/* What the environment names; without a name of it there is none. To be called before any descriptor is
 * opened. ERROR_INVALID after a message on standard error. */
int handover_read(char *const *environment, struct handover *out);

/* None at all; and the end of one. */
void handover_init(struct handover *handover);
void handover_free(struct handover *handover);

/* The environment without what is said there of descriptors, and with one entry more where `further` is not
 * NULL. The list is the caller's, and all entries but that one belong to the environment. NULL: memory. */
char **handover_environment(char *const *environment, const char *further);

#endif
