/*
 * What the files of the monitor share.
 *
 * Files, from the bottom up: arguments.c (the command line), privileges.c (who the engine becomes), journal.c
 * (the monitor's own lines), boot.c (the configuration), sockets.c (every listening socket), place.c
 * (files that are kept), addresses.c (where servers are that are known by name),
 * keeper.c and keeper_file.c (the cache's file), control.c (the control socket, both
 * ends), supervise.c (the engine's life), monitor.c (what was asked for).
 */
#ifndef MONITOR_INTERNAL_H
#define MONITOR_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/log.h"

#include "cache/cache.h"
#include "event/event.h"
#include "metrics/metrics.h"

#include "keep/keep.h"

#include "upstream/upstream.h"

#include "config/config.h"

#include "engine/engine.h"

#include "local/local.h"

enum { ARGUMENTS_LIST_MAX = 64 };

/* ---- arguments.c ---- */

enum arguments_action {
    ACTION_RUN,
    ACTION_CHECK,
    ACTION_PRINT_CONFIG,
    ACTION_CONTROL,
    ACTION_VERSION,
    ACTION_HELP
};

struct arguments {
    enum arguments_action action;
    bool connect;        /* with ACTION_CHECK */
    const char *file;    /* NULL when none was named */
    const char *command; /* of ACTION_CONTROL */
    const char *listen[ARGUMENTS_LIST_MAX];
    size_t listen_count;
    const char *upstream[ARGUMENTS_LIST_MAX];
    size_t upstream_count;
};

/* Reads the command line. ERROR_INVALID after a message on standard error. */
int arguments_read(int argc, char *const *argv, struct arguments *out);
void arguments_print_help(void);

/* ---- privileges.c ---- */

struct identity {
    bool change; /* to the ids below */
    bool keeps_root;
    uid_t user;
    gid_t group;
};

/* Whom the engine becomes, from the option `user`. ERROR_INVALID after a message on standard error. */
int privileges_resolve(const char *user, struct identity *out);

/* Gives up, for good, whatever this process may do beyond an ordinary user. Aborts where the system refuses.
 */
void privileges_drop(const struct identity *identity);

/* Closes every descriptor of the process that is not in the list (which is sorted by this). */
void privileges_close_other_descriptors(int *kept, size_t count);

/* ---- journal.c ---- */

struct journal {
    struct log log;
    enum log_format format;
    int descriptor;
    uint8_t *ring;
};

/* Takes SIGALRM for itself. */
int journal_open(struct journal *journal, enum log_level level, enum log_format format, int descriptor);
void journal_close(struct journal *journal);

/* Ends the open event and writes it. A descriptor that would block loses the line, or the end of it: the
 * monitor waits 10 ms at most. */
void journal_end(struct journal *journal);

/* ---- boot.c ---- */

struct keeper;
struct addresses;

/* All that a run needs, opened. */
struct boot {
    struct config *config;
    size_t upstreams_used; /* the first ones of the configuration's list */
    unsigned workers;
    unsigned workers_wanted; /* more than memory bears, where the number was left to the program */
    size_t stream_blocks;
    struct identity identity;
    char *file_text; /* NULL when there is no file */
    size_t file_size;
    int authorities; /* stored memory: the text of tls.ca; -1 before it is read, or where nobody needs it */
    size_t authorities_size;
    int log_descriptor;
    struct journal journal;
    struct engine_socket *sockets;
    size_t socket_count;
    struct metrics *metrics;
    int metrics_descriptor;
    struct upstream_facts *facts; /* NULL before they are opened */
    int facts_descriptor;
    bool serves;                                     /* an engine runs, and is not told to end */
    struct local *local;                             /* NULL before it is built */
    struct cache cache;                              /* with a head of NULL where nothing is kept */
    struct keeper *keeper;                           /* NULL without a file for the cache */
    struct address_list known[CONFIG_UPSTREAMS_MAX]; /* of each upstream that is known by name */
    struct addresses *addresses;                     /* NULL without a file for them */
};

/* Builds the configuration from all its sources. ERROR_INVALID after messages on standard error. */
int boot_configure(struct boot *boot, const struct arguments *arguments, char *const *environment);

/* What can be known without starting: before every start, and all that --check does. ERROR_INVALID after
 * messages. */
int boot_check(struct boot *boot, const struct arguments *arguments);

/* Works out what a run needs without opening it: authorities, servers, workers, memory. An error after a
 * message on standard error. */
int boot_plan(struct boot *boot);

/* Opens log, meters and sockets, in this order, after the plan. An error after a message on standard error.
 */
int boot_open(struct boot *boot);
void boot_close(struct boot *boot);

/* Brings the meters of the cache up to date: it counts for itself. */
void boot_count_cache(const struct boot *boot);

/* The whole file, where it has fewer than `most` bytes; the caller frees the text, which is NULL after an
 * error. ERROR_IRREGULAR, ERROR_DIRECTORY for what is no file: it is not waited for. */
int boot_read_file(const char *path, size_t most, char **text, size_t *size);

/* A new descriptor for log.target, or -1 with errno set. */
int boot_open_log(const struct config *config);

/* Why that failed, in words, from errno. */
const char *boot_log_trouble(int number);

/* ---- dial.c ---- */

/* What --check --connect does after the check: dials every server and tells about it on standard output.
 * Returns the exit code: 1 when one of them does not work. */
int dial_upstreams(struct boot *boot);

/* ---- names.c ---- */

/* Builds what is answered here from the configuration and the files that it names. An error after messages on
 * standard error. */
int names_build(const struct config *config, struct config_report *report, struct local **out);

/* ---- sockets.c ---- */

/* Binds what is configured, once a worker; a message on standard error names what cannot be bound, and why.
 */
int sockets_open(struct boot *boot);
void sockets_close(struct boot *boot);

/* What a child of the keeper does, with what, and what came of it. */
enum keeper_task { KEEPER_READ, KEEPER_WRITE };

struct keeper_job {
    const char *path;
    struct cache cache; /* its owner is the child */
    struct keep_terms terms;
    bool forgets; /* what the old file tells must not come back, even if no new one can be written */
};

struct keeper_outcome {
    enum keep_fault fault; /* of the file that lies there */
    int error;             /* with KEEP_FAULT_NONE and KEEP_FAULT_SYSTEM */
    struct keep_count count;
};

/* ---- place.c ---- */

/* A directory, the name of a file that is kept in it, and that of the next one. */
enum { PLACE_NAME_SIZE = 256 };

struct place {
    int directory;
    const char *name;
    char new[PLACE_NAME_SIZE];
};

/* The path is absolute. ERROR_RANGE where a name is too long, ERROR_NOT_FOUND, ... */
int place_open(const char *path, struct place *out);
void place_close(struct place *place);

/* What lies there, opened, with the fault of others having rights to it or none; -1 with the outcome saying
 * why. */
int place_open_old(const struct place *place, struct keeper_outcome *outcome);

/* Whether a new file may take the place of what lies there, if anything does: what begins like one of ours.
 */
bool place_is_free(const struct place *place, bool (*is_ours)(struct span begin),
                   struct keeper_outcome *outcome);

/* The next file, empty, for whoever is its owner alone; what an earlier one left behind goes first. A
 * descriptor, or an error. */
int place_open_new(const struct place *place);

/* It is not going to be whole. */
void place_drop(const struct place *place);

/* Brings it to the disk and lets it take the old one's place. */
int place_put(const struct place *place, int descriptor);

/* ---- keeper_file.c ---- */

/* Each in a process of its own: it may block. A new file takes the old one's place when all of it is on the
 * disk, and never that of a file that is not ours. */
void keeper_file_read(struct keeper_job *job, struct keeper_outcome *outcome);
void keeper_file_write(struct keeper_job *job, struct keeper_outcome *outcome);

/* ---- keeper.c ---- */

/* Where cache.file is set: begins to read it, waits for that for a moment, and goes on beside the engine.
 * Nothing that is wrong with the file is an error. To be called while the program has no other child and
 * SIGCHLD is blocked. ERROR_MEMORY, ERROR_DESCRIPTORS. */
int keeper_open(struct boot *boot, struct event_loop *loop);
void keeper_close(struct keeper *keeper);

/* All others take NULL for a keeper as well, and do nothing. */

/* A child of the program has ended; it may be another's. */
void keeper_reap(struct keeper *keeper, pid_t gone, int status);

/* Entries were forgotten: the file must not bring them back. */
void keeper_renew(struct keeper *keeper);

/* Writes the last file, when the engine is gone; `finished` is called once, later. False: there is nothing to
 * wait for, and no call comes. */
bool keeper_finish(struct keeper *keeper, void (*finished)(void *owner), void *owner);

/* Ends at once what goes on; its end is told to keeper_reap. */
void keeper_stop(struct keeper *keeper);

/* ---- addresses.c ---- */

/* Where a file for them is set: reads it. Nothing that is wrong with the file is an error. ERROR_MEMORY. */
int addresses_open(struct boot *boot);
void addresses_close(struct addresses *addresses);

/* A letter of the engine's came. What makes no sense is left out. */
void addresses_note(struct boot *boot, struct span letter);

/* A child of the program has ended; whether it was of this. */
bool addresses_reap(struct addresses *addresses, pid_t gone, int status);

/* ---- control.c ---- */

struct control;

/* Listens at control.socket. A default path that cannot be had is told in the log and done without. */
int control_open(struct boot *boot, struct event_loop *loop, struct control **out);
void control_close(struct control *control);

/* The other end: sends a command to a running dnseal and prints its answer. Returns the exit code. */
int control_send(const char *path, const char *command);

/* ---- supervise.c ---- */

/* Runs the engine until the program is told to stop. Returns the exit code. */
int supervise(struct boot *boot);

/* Whether all that was said on standard output, in answer to them, has left; a complaint where not. */
bool arguments_are_answered(void);

/* A complaint on standard error: "dnseal: …". */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);

#endif
