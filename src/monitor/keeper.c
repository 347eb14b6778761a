/*
 * The cache's file: read at the start, written every cache.file_interval and at the stop. Every touch of a
 * file system is a child's, one at a time, so that a slow disk holds up neither the monitor nor the engine;
 * what the child found out stands in memory that both share. Called by supervise.c and, after something was
 * forgotten, by command.c.
 *
 * The child's half is keeper_file.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"

#include "monitor/internal.h"

/* How long the engine waits for what is read, and the end of the program for what is written. */
#define START_PATIENCE (200 * CLOCK_MILLISECOND)
#define STOP_PATIENCE  (10 * CLOCK_SECOND)

/* A failure that goes on is told again after so long. */
#define TELL_AGAIN (3600 * CLOCK_SECOND)

enum { NICE = 10, REASON_SIZE = 64 };

struct keeper {
    struct boot *boot;
    struct event_loop *loop;
    struct event_timer interval, deadline;
    struct keeper_outcome *shared; /* with the child */
    struct keeper_outcome outcome;
    int shared_descriptor;
    pid_t child; /* 0: nothing goes on */
    enum keeper_task task;
    uint64_t begun_at;
    uint64_t generation; /* of the cache, when it was begun */
    uint64_t stored;     /* how many stores the last file has seen */
    bool is_stale;       /* it does not tell all the same what the cache has */
    bool again;          /* another one is due when this child is gone */
    bool forgets;        /* something was flushed since the last file was written */
    bool is_last;
    void (*finished)(void *owner);
    void *owner;
    char told[REASON_SIZE]; /* why the last file could not be written; "" when it could */
    uint64_t told_at;
};

static struct log *journal(struct keeper *keeper)
{
    return &keeper->boot->journal.log;
}

/* ---- the terms ---- */

/* Of all servers, in any order: an answer is worth as much as whoever gave it. */
static uint64_t origin_of(const struct config *config)
{
    uint64_t origin = 0;
    for (size_t i = 0; i < config->upstream_count; i++) {
        uint8_t partition = config->groups[config->upstreams[i].group].partition;
        origin ^= hash_bytes(&(struct hash_key){{partition, 0}}, span_text(config->upstreams[i].label));
    }
    return origin;
}

static struct keep_terms terms_of(const struct keeper *keeper)
{
    const struct config *config = keeper->boot->plan->config;
    uint64_t most = config->cache.max_ttl > config->cache.negative_max_ttl ? config->cache.max_ttl
                                                                           : config->cache.negative_max_ttl;
    return (struct keep_terms){
        .boot = CACHE_TIME_BEGIN + clock_boot() / CLOCK_MILLISECOND,
        .wall = clock_wall() / CLOCK_MILLISECOND,
        .origin = origin_of(config),
        .most = most * (CLOCK_SECOND / CLOCK_MILLISECOND),
        .stale = config->cache.serve_stale ? config->cache.stale_max * (CLOCK_SECOND / CLOCK_MILLISECOND) : 0,
        .generation = keeper->generation,
    };
}

/* ---- the child ---- */

static void run_child(struct keeper *keeper, enum keeper_task task, pid_t monitor)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != monitor) {
        return;
    }
    int none;
    privileges_close_other_descriptors(&none, 0);
    if (!keeper->is_last) {
        setpriority(PRIO_PROCESS, 0, NICE); /* the workers come first */
    }
    struct keeper_job job = {
        .path = keeper->boot->plan->config->cache.file,
        .cache = keeper->boot->cache,
        .terms = terms_of(keeper),
        .forgets = keeper->forgets,
    };
    job.cache.owner = (uint32_t)getpid();
    if (task == KEEPER_READ) {
        keeper_file_read(&job, keeper->shared);
    } else {
        keeper_file_write(&job, keeper->shared);
    }
}

static uint64_t count_stored(const struct keeper *keeper)
{
    struct cache_numbers numbers;
    cache_count(&keeper->boot->cache, &numbers);
    return numbers.stored;
}

static int start_child(struct keeper *keeper, enum keeper_task task)
{
    *keeper->shared = (struct keeper_outcome){.fault = KEEP_FAULT_SYSTEM, .error = ERROR_SYSTEM};
    keeper->task = task;
    keeper->begun_at = clock_monotonic();
    keeper->generation = cache_generation(&keeper->boot->cache);
    keeper->stored = count_stored(keeper);
    keeper->is_stale = false;
    pid_t monitor = getpid();
    pid_t child = fork();
    if (child == 0) {
        run_child(keeper, task, monitor);
        _exit(0);
    }
    if (child < 0) {
        return error_from_errno(errno);
    }
    keeper->child = child;
    return 0;
}

/* ---- what is told ---- */

static void tell_read(struct keeper *keeper)
{
    if (log_begin(journal(keeper), LOG_INFO, "cache_file_read")) {
        log_text(journal(keeper), "path", keeper->boot->plan->config->cache.file);
        log_number(journal(keeper), "entries", (int64_t)keeper->outcome.count.entries);
        log_duration(journal(keeper), "duration_ms", clock_monotonic() - keeper->begun_at);
        journal_end(&keeper->boot->journal);
    }
}

static void tell_written(struct keeper *keeper)
{
    if (log_begin(journal(keeper), LOG_INFO, "cache_file_written")) {
        log_text(journal(keeper), "path", keeper->boot->plan->config->cache.file);
        log_number(journal(keeper), "entries", (int64_t)keeper->outcome.count.entries);
        log_number(journal(keeper), "bytes", (int64_t)keeper->outcome.count.bytes);
        log_duration(journal(keeper), "duration_ms", clock_monotonic() - keeper->begun_at);
        journal_end(&keeper->boot->journal);
    }
}

static const char *hint_of(enum keep_fault fault)
{
    switch (fault) {
    case KEEP_FAULT_FOREIGN:
    case KEEP_FAULT_IRREGULAR:
    case KEEP_FAULT_OWNER:
        return "what lies there is not this program's file and is left alone: remove it, or name another "
               "path "
               "in cache.file";
    case KEEP_FAULT_MODE:
        return "others may read or write the file: look who has; the next file is made anew with mode 0600";
    case KEEP_FAULT_FUTURE:
        return "the file is younger than now: set this machine's clock";
    case KEEP_FAULT_SYSTEM:
        return "look at the directory's rights and at the disk";
    default:
        return "nothing has to be done: the cache begins empty, and the next file takes this one's place";
    }
}

static void tell_trouble(struct keeper *keeper, const char *reason)
{
    if (log_begin(journal(keeper), LOG_WARNING, "cache_file")) {
        log_text(journal(keeper), "action", keeper->task == KEEPER_READ ? "refused" : "not_written");
        log_text(journal(keeper), "path", keeper->boot->plan->config->cache.file);
        log_text(journal(keeper), "reason", reason);
        log_text(journal(keeper), "hint", hint_of(keeper->outcome.fault));
        journal_end(&keeper->boot->journal);
    }
}

/* What goes wrong with every file in the same way is told once an hour, and at the end of the program. */
static void note_unwritten(struct keeper *keeper, const char *reason)
{
    uint64_t now = clock_monotonic();
    keeper->is_stale = true;
    if (strcmp(reason, keeper->told) != 0 || keeper->is_last || now - keeper->told_at >= TELL_AGAIN) {
        tell_trouble(keeper, reason);
        snprintf(keeper->told, sizeof keeper->told, "%s", reason);
        keeper->told_at = now;
    }
}

static void note_trouble(struct keeper *keeper, const char *reason)
{
    if (keeper->task == KEEPER_READ) {
        tell_trouble(keeper, reason);
    } else {
        note_unwritten(keeper, reason);
    }
}

static void note_success(struct keeper *keeper)
{
    keeper->forgets = keeper->forgets && (keeper->task == KEEPER_READ || keeper->again);
    if (keeper->task == KEEPER_READ) {
        tell_read(keeper);
    } else if ((keeper->is_last && !keeper->again) || keeper->told[0] != '\0') {
        tell_written(keeper);
        keeper->told[0] = '\0';
    }
}

/* No file is no trouble: every first start has none. */
static void note_outcome(struct keeper *keeper, int status)
{
    const struct keeper_outcome *outcome = &keeper->outcome;
    char reason[REASON_SIZE];
    if (WIFSIGNALED(status)) {
        keeper->outcome.fault = KEEP_FAULT_SYSTEM;
        snprintf(reason, sizeof reason, "killed by signal %d", WTERMSIG(status));
        note_trouble(keeper, reason);
    } else if (outcome->fault != KEEP_FAULT_NONE && outcome->fault != KEEP_FAULT_SYSTEM) {
        note_trouble(keeper, keep_fault_word(outcome->fault));
    } else if (outcome->error == 0) {
        note_success(keeper);
    } else if (keeper->task != KEEPER_READ || outcome->error != ERROR_NOT_FOUND) {
        note_trouble(keeper, error_text(outcome->error));
    }
}

/* ---- the hours ---- */

static void write_file(struct keeper *keeper)
{
    int error = start_child(keeper, KEEPER_WRITE);
    if (error != 0) {
        keeper->outcome.fault = KEEP_FAULT_SYSTEM;
        note_unwritten(keeper, error_text(error));
    }
}

static void set_interval(struct keeper *keeper)
{
    event_timer_set(keeper->loop, &keeper->interval,
                    event_now(keeper->loop) + keeper->boot->plan->config->cache.file_interval);
}

/* A cache that nothing came into has its file already. */
static void on_interval(struct event_timer *timer)
{
    struct keeper *keeper = container_of(timer, struct keeper, interval);
    set_interval(keeper);
    if (keeper->child == 0 && (keeper->is_stale || count_stored(keeper) != keeper->stored)) {
        write_file(keeper);
    }
}

static void finish(struct keeper *keeper)
{
    event_timer_clear(&keeper->interval);
    event_timer_clear(&keeper->deadline);
    keeper->finished(keeper->owner);
}

/* A child that waits for a disk that does not answer cannot be killed: it is left behind. */
static void on_deadline(struct event_timer *timer)
{
    struct keeper *keeper = container_of(timer, struct keeper, deadline);
    keeper->outcome.fault = KEEP_FAULT_SYSTEM;
    note_unwritten(keeper, error_text(ERROR_TIMEOUT));
    finish(keeper);
}

/* What the child was writing to in the cache is given back where it died. What it says is looked at like a
 * stranger's word: the engine has that memory too. */
static void on_child_gone(struct keeper *keeper, int status)
{
    keeper->outcome = *keeper->shared;
    if (keeper->outcome.fault > KEEP_FAULT_SYSTEM) {
        keeper->outcome.fault = KEEP_FAULT_SYSTEM;
    }
    cache_mend(&keeper->boot->cache, (uint32_t)keeper->child);
    keeper->child = 0;
    note_outcome(keeper, status);
}

/* ---- for supervise.c and command.c ---- */

/* Waits for the child, the only one that there is, and leaves SIGCHLD as it was: blocked. */
static void wait_for_child(struct keeper *keeper)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    uint64_t end = clock_monotonic() + START_PATIENCE;
    for (uint64_t now = clock_monotonic(); keeper->child != 0 && now < end; now = clock_monotonic()) {
        struct timespec rest = {.tv_nsec = (long)(end - now)};
        int status;
        sigtimedwait(&set, NULL, &rest);
        if (waitpid(keeper->child, &status, WNOHANG) == keeper->child) {
            on_child_gone(keeper, status);
        }
    }
}

static bool has_file(const struct boot *boot)
{
    return boot->plan->config->cache.file[0] != '\0' && boot->cache.head != NULL;
}

static int make(struct boot *boot, struct event_loop *loop)
{
    void *shared;
    struct keeper *keeper = calloc(1, sizeof *keeper);
    if (keeper == NULL) {
        return ERROR_MEMORY;
    }
    int error = memory_share(sizeof *keeper->shared, "dnseal-keeper", &shared, &keeper->shared_descriptor);
    if (error != 0) {
        free(keeper);
        return error;
    }
    keeper->boot = boot;
    keeper->loop = loop;
    keeper->shared = shared;
    event_timer_init(&keeper->interval, on_interval);
    event_timer_init(&keeper->deadline, on_deadline);
    boot->keeper = keeper;
    set_interval(keeper);
    return 0;
}

/* A cache of the program of before has more than its file; and where an engine of it serves still, its end
 * must not be missed while it is waited for a child. */
static bool needs_no_file(const struct boot *boot)
{
    return boot->cache_is_kept || (boot->handover != NULL && boot->handover->engine_count > 0);
}

int keeper_open(struct boot *boot, struct event_loop *loop)
{
    int error = has_file(boot) ? make(boot, loop) : 0;
    if (error != 0 || boot->keeper == NULL) {
        return error;
    }
    if (needs_no_file(boot)) {
        boot->keeper->is_stale = true;
        return 0;
    }
    error = start_child(boot->keeper, KEEPER_READ);
    if (error != 0) {
        boot->keeper->outcome.fault = KEEP_FAULT_SYSTEM;
        note_trouble(boot->keeper, error_text(error));
    }
    wait_for_child(boot->keeper);
    return 0;
}

/* What the cache holds is more than any file could bring: a file that is new here is not read. A child that
 * is at work goes on with what it was given, and its file counts as out of date. */
void keeper_follow(struct boot *boot, struct event_loop *loop)
{
    if (boot->keeper != NULL && !has_file(boot)) {
        keeper_close(boot->keeper);
        boot->keeper = NULL;
    } else if (boot->keeper != NULL) {
        boot->keeper->is_stale = true;
        set_interval(boot->keeper);
    } else if (has_file(boot) && make(boot, loop) == 0) {
        boot->keeper->is_stale = true;
    }
}

void keeper_reap(struct keeper *keeper, pid_t gone, int status)
{
    if (keeper == NULL || keeper->child != gone) {
        return;
    }
    on_child_gone(keeper, status);
    if (keeper->again) {
        keeper->again = false;
        write_file(keeper);
    }
    if (keeper->is_last && keeper->child == 0) {
        finish(keeper);
    }
}

void keeper_renew(struct keeper *keeper)
{
    if (keeper == NULL) {
        return;
    }
    keeper->forgets = true;
    keeper->again = keeper->child != 0;
    if (keeper->child == 0) {
        write_file(keeper);
    } else if (keeper->task == KEEPER_READ) {
        kill(keeper->child, SIGKILL); /* it would bring back what was forgotten */
    }
}

bool keeper_finish(struct keeper *keeper, void (*finished)(void *owner), void *owner)
{
    if (keeper == NULL || (keeper->child != 0 && keeper->task == KEEPER_READ)) {
        return false; /* a file that was not read to its end is worth more than what was */
    }
    if (keeper->is_last) {
        return event_timer_pending(&keeper->deadline);
    }
    keeper->is_last = true;
    keeper->finished = finished;
    keeper->owner = owner;
    event_timer_clear(&keeper->interval);
    event_timer_set(keeper->loop, &keeper->deadline, event_now(keeper->loop) + STOP_PATIENCE);
    keeper->again = keeper->child != 0;
    if (keeper->child == 0) {
        write_file(keeper);
    }
    if (keeper->child == 0) {
        event_timer_clear(&keeper->deadline);
    }
    return keeper->child != 0;
}

void keeper_stop(struct keeper *keeper)
{
    if (keeper != NULL && keeper->child != 0) {
        kill(keeper->child, SIGKILL);
    }
}

void keeper_leave(struct keeper *keeper)
{
    int status;
    keeper_stop(keeper);
    if (keeper != NULL && keeper->child != 0 && waitpid(keeper->child, &status, 0) == keeper->child) {
        cache_mend(&keeper->boot->cache, (uint32_t)keeper->child);
        keeper->child = 0;
        keeper->is_stale = true;
    }
}

void keeper_close(struct keeper *keeper)
{
    if (keeper == NULL) {
        return;
    }
    keeper_stop(keeper);
    event_timer_clear(&keeper->interval);
    event_timer_clear(&keeper->deadline);
    memory_close(keeper->shared, sizeof *keeper->shared);
    memory_close_shared(keeper->shared_descriptor);
    free(keeper);
}
