/*
 * What the files of the monitor share.
 *
 * Files, from the bottom up: arguments.c (the command line), privileges.c (who the engine becomes), journal.c
 * (the monitor's own lines), limit.c (what the system allows), boot.c (the configuration), sockets.c (every
 * listening socket), place.c (files that are kept), addresses.c (where servers are that are known by name),
 * keeper.c and keeper_file.c (the cache's file), those of control.h and supervisor.h, monitor.c (what was
 * asked for).
 */
#ifndef MONITOR_INTERNAL_H
#define MONITOR_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/address.h"
#include "base/log.h"

#include "cache/cache.h"
#include "event/event.h"
#include "metrics/metrics.h"

#include "keep/keep.h"

#include "upstream/upstream.h"

#include "config/config.h"

#include "engine/engine.h"

#include "monitor/inherited.h"

#include "local/local.h"

enum { ARGUMENTS_LIST_MAX = 64 };

/* What --check says of a configuration that is good. Programs of other versions look for it before they let
 * this one take their place. */
#define MONITOR_VALID "dnseal: the configuration is valid"

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

/* ---- complain.c ---- */

/* A complaint that no place of the configuration is behind: "dnseal: …". */
__attribute__((format(printf, 2, 3))) void complain_to(struct config_report *report, const char *format, ...);

/* The same on standard error, where also a report goes that is opened here. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);
struct config_report complain_on_standard_error(void);

/* ---- privileges.c ---- */

struct identity {
    bool change; /* to the ids below */
    bool keeps_root;
    uid_t user;
    gid_t group;
};

/* Whom the engine becomes, from the option `user`. ERROR_INVALID after a complaint. */
int privileges_resolve(const char *user, struct config_report *report, struct identity *out);

/* Gives up, for good, whatever this process may do beyond an ordinary user. Aborts where the system refuses.
 */
void privileges_drop(const struct identity *identity);

/* Keeps what is in this process's memory from disks and from other processes of the same user. */
void privileges_forbid_dumps(void);

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
void journal_set(struct journal *journal, enum log_level level, enum log_format format);
void journal_close(struct journal *journal);

/* Ends the open event and writes it. A descriptor that would block loses the line, or the end of it: the
 * monitor waits 10 ms at most. */
void journal_end(struct journal *journal);

/* The event for the letter ENGINE_TRAPPED, if it is one. */
void journal_tell_trap(struct journal *journal, struct span letter);

/* ---- plan.c ---- */

/* Where configurations come from, the same for each. */
struct sources {
    const struct arguments *arguments;
    char *const *argv;
    char *const *environment;
    const struct service *service; /* NULL: nothing was passed */
};

/* By what a file is told from another one at the same path. */
struct file_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    uint64_t modified;
};

/* What a configuration needs. One is in force; a reload works out the next beside it. */
struct plan {
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
    struct file_stamp authorities_stamp; /* of the file that was read */
    struct local *local;                 /* NULL before it is built */
    struct engine_socket *sockets; /* whose, in the order of the workers; NULL before they are shared out */
    size_t socket_count;
    struct upstream_facts *facts; /* NULL before they are opened */
    int facts_descriptor;
    struct address_list known[CONFIG_UPSTREAMS_MAX]; /* of each upstream that is known by name */
};

/* Builds the configuration from all its sources; what a service manager passed is listened to where none of
 * them names a listener. ERROR_INVALID after complaints; the plan is freed by the caller all the same. */
int plan_configure(struct plan *plan, const struct sources *sources, struct config_report *report);

/* Where the program that runs listens for commands, according to sources of which all else may be wrong; the
 * caller frees the path. An error after a complaint. */
int plan_find_control(struct plan *plan, const struct sources *sources, struct config_report *report,
                      char **out);

/* What can be known without starting: before every start, and all that --check does. ERROR_INVALID after
 * complaints. */
int plan_check(const struct plan *plan, const struct sources *sources, struct config_report *report);

/* Works out what a run needs without opening it: authorities, servers, workers, memory. An error after
 * complaints. */
int plan_work_out(struct plan *plan, struct config_report *report);

/* A plan of nothing, to be configured; and its end. */
void plan_init(struct plan *plan);
void plan_free(struct plan *plan);

/* The whole file, where it has fewer than `most` bytes; the caller frees the text, which is NULL after an
 * error. ERROR_IRREGULAR, ERROR_DIRECTORY for what is no file: it is not waited for. */
int plan_read_file(const char *path, size_t most, char **text, size_t *size);

/* ---- watch.c ---- */

struct boot;
struct watch;

/* Which file lies at a path; all 0 where none does. */
struct file_stamp watch_stamp(const char *path);

/* boot->watch from here on: `changed` is called when the file of authorities is another one than the plan in
 * force has read. ERROR_MEMORY; what cannot be watched is told in the log and done without. */
int watch_open(struct boot *boot, struct event_loop *loop, void (*changed)(void *owner), void *owner);
void watch_close(struct watch *watch);

/* Another plan is in force. NULL is allowed. */
void watch_follow(struct watch *watch);

/* ---- sockets.c ---- */

struct journal;

/* A listening socket of the program. What a worker is given stays open here, so that what waits in it is
 * there for the next engine. */
struct socket_entry {
    struct address address; /* as configured */
    int descriptor;
    bool udp;
    bool is_passed; /* by a service manager: it is not ours to close, and nothing is bound beside it */
};

struct socket_table {
    struct socket_entry *entries;
    size_t count;
    size_t inherited;              /* the first ones, which an engine of the program of before may read */
    const struct service *service; /* NULL: nothing was passed */
};

/* Sees to it that each worker of the plan has a socket of each address that is listened on, and shares them
 * out: those that are open are taken, the missing ones are bound. After an error, with a complaint that names
 * what cannot be bound, and why, the table is what it was. */
int sockets_share_out(struct socket_table *table, struct plan *plan, struct journal *journal,
                      struct config_report *report);

/* The plan's engine cannot start, and nobody would read what it was given: all that was bound for it is
 * closed.
 */
void sockets_withdraw(struct socket_table *table, struct plan *plan);

/* Closes those that the plan does not have. */
void sockets_close_others(struct socket_table *table, const struct plan *plan);
void sockets_close(struct socket_table *table);

/* ---- limit.c ---- */

/* The lowest limit of memory of the control groups that this process is in, below a directory that is "" but
 * for tests; UINT64_MAX where there is none. */
uint64_t limit_of_memory(const char *root);

/* ---- boot.c ---- */

struct keeper;
struct addresses;

/* All that outlives a configuration, opened. */
struct boot {
    struct sources sources;
    struct plan *plan; /* the one in force */
    int log_descriptor;
    struct journal journal;
    struct socket_table table;
    struct metrics *total; /* the monitor's own meters, and those of engines that are gone */
    int total_descriptor;
    struct metrics *living[BOOT_ENGINES_MAX]; /* the meters of those that run */
    size_t living_count;
    bool serves;                     /* an engine runs, and is not told to end */
    struct cache cache;              /* with a head of NULL where nothing is kept */
    struct keeper *keeper;           /* NULL without a file for the cache */
    struct addresses *addresses;     /* NULL without a file for them */
    struct service *service;         /* NULL: nobody manages this program */
    struct pulse *pulse;             /* NULL while there is no loop */
    struct watch *watch;             /* the same */
    struct handover *handover;       /* of the program that this one takes the place of, where it does */
    struct store *store;             /* NULL: nobody keeps anything for the next program */
    bool cache_is_kept;              /* it was the cache of the program of before */
    bool forgets[CONFIG_PARTITIONS]; /* parts of the cache that are another group's now, as long as an engine
                                      * of before may store in them */
};

/* Takes what a service manager has passed, which outlives the table, and what the program of before had open.
 * An error after a complaint. */
int sockets_open(struct boot *boot, struct config_report *report);

/* Opens log, meters, cache and sockets, in this order, for the plan in force. An error after a complaint. */
int boot_open(struct boot *boot, struct config_report *report);
void boot_close(struct boot *boot);

/* The parts of it that a reload does anew: what the plan knows of the servers' state, and the cache where its
 * size is another one. An error after a complaint. */
int boot_open_facts(struct plan *plan, struct config_report *report);
int boot_open_cache(uint64_t size, struct cache *out, struct config_report *report);

/* Warnings about what the plan in force does not get. */
void boot_tell_limits(struct boot *boot);

/* Brings the meters of the cache up to date: it counts for itself. */
void boot_count_cache(const struct boot *boot);

/* All meters as text. */
void boot_write_metrics(const struct boot *boot, struct metrics_sink *sink);

/* A new descriptor for log.target, or -1 with errno set. */
int boot_open_log(const struct config *config);

/* The log goes where it went: the event that says so. */
void boot_tell_log(struct boot *boot, const char *reason);

/* Why that failed, in words, from errno. */
const char *boot_log_trouble(int number);

/* ---- counters.c ---- */

/* Those that are not 0, an event each. */
void counters_log(struct boot *boot);

/* ---- dial.c ---- */

/* What --check --connect does after the check: dials every server and tells about it on standard output.
 * Returns the exit code: 1 when one of them does not work. */
int dial_upstreams(struct plan *plan);

/* ---- names.c ---- */

/* Builds what is answered here from the configuration and the files that it names. An error after
 * complaints. */
int names_build(const struct config *config, struct config_report *report, struct local **out);

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

/* Another configuration and another cache are in force. ERROR_MEMORY leaves the cache without a file. */
void keeper_follow(struct boot *boot, struct event_loop *loop);

/* All others take NULL for a keeper as well, and do nothing. */

/* A child of the program has ended; it may be another's. */
void keeper_reap(struct keeper *keeper, pid_t gone, int status);

/* Entries were forgotten: the file must not bring them back. */
void keeper_renew(struct keeper *keeper);

/* Writes the last file, once; `finished` is called once, later. False: there is nothing to wait for, or no
 * more, and no call comes. */
bool keeper_finish(struct keeper *keeper, void (*finished)(void *owner), void *owner);

/* Ends at once what goes on; its end is told to keeper_reap. */
void keeper_stop(struct keeper *keeper);

/* The same, and nothing of it goes on when this returns. */
void keeper_leave(struct keeper *keeper);

/* ---- addresses.c ---- */

/* Where a file for them is set: reads it. Nothing that is wrong with the file is an error. ERROR_MEMORY. */
int addresses_open(struct boot *boot);
void addresses_close(struct addresses *addresses);

/* A letter of the plan's engine came. What makes no sense is left out. */
void addresses_note(struct boot *boot, struct plan *plan, struct span letter);

/* What is known of the hosts that both plans have. */
void addresses_carry(const struct plan *from, struct plan *to);

/* "HOST ADDRESS", from the program of before. */
void addresses_learn(struct plan *plan, const char *line);

/* Another configuration is in force: its file has what is known. */
void addresses_follow(struct boot *boot);

/* A child of the program has ended; whether it was of this. */
bool addresses_reap(struct addresses *addresses, pid_t gone, int status);

/* ---- pulse.c ---- */

/* Who waits to hear whether the engine's loops turn; in the caller's memory. */
struct pulse_wait {
    void (*told)(struct pulse_wait *wait, bool alive);
    struct list link; /* list_init before the first use */
    struct event_timer patience;
};

/* boot->pulse from here on; `ask` sends ENGINE_PULSE to the engine, if there is one. Where a watchdog is to
 * be fed it is asked twice as often as that bites. ERROR_MEMORY. */
int pulse_open(struct boot *boot, struct event_loop *loop, void (*ask)(void *owner), void *owner);
void pulse_close(struct pulse *pulse);

/* The engine gave a sign of life, or is gone. */
void pulse_tell(struct pulse *pulse, bool alive);

/* Asks; `told` is called once, later, after a second at most. */
void pulse_ask(struct pulse *pulse, struct pulse_wait *wait);
void pulse_forget(struct pulse_wait *wait);

/* ---- supervise.c ---- */

/* Runs the engine until the program is told to stop. Returns the exit code. */
int supervise(struct boot *boot);

/* Whether all that was said on standard output, in answer to them, has left; a complaint where not. */
bool arguments_are_answered(void);

#endif
