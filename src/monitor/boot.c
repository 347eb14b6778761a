/*
 * What the program opens once, whatever its configuration becomes: the log, the meters, the cache, the
 * listening sockets. What cannot be had refuses the start, by name and with a way out.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

#include "monitor/internal.h"

/* ---- the log ---- */

/* Opening a pipe without a reader would wait for one: then the monitor could neither serve nor stop. */
static int open_log_file(const char *path)
{
    int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
    int descriptor = open(path, flags | O_NONBLOCK, 0640);
    if (descriptor >= 0 && fcntl(descriptor, F_SETFL, O_APPEND) != 0) {
        close(descriptor);
        return -1;
    }
    return descriptor;
}

const char *boot_log_trouble(int number)
{
    return number == ENXIO ? "a pipe that nobody reads" : strerror(number);
}

int boot_open_log(const struct config *config)
{
    if (strcmp(config->log.target, "stderr") == 0) {
        return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    }
    if (strcmp(config->log.target, "stdout") == 0) {
        return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    }
    return open_log_file(config->log.target);
}

/* That of the program of before, which cannot come back; -1 where there was none. */
static int inherit_log(struct handover *handover)
{
    int descriptor = handover != NULL ? handover->log : -1;
    if (descriptor >= 0) {
        handover->log = -1;
    }
    return descriptor;
}

void boot_tell_log(struct boot *boot, const char *reason)
{
    struct log *log = &boot->journal.log;
    if (log_begin(log, LOG_ERROR, "log_reopen_failed")) {
        log_text(log, "target", boot->plan->config->log.target);
        log_text(log, "reason", reason);
        journal_end(&boot->journal);
    }
}

static int open_log(struct boot *boot, struct config_report *report)
{
    const struct config *config = boot->plan->config;
    int before = inherit_log(boot->handover);
    boot->log_descriptor = boot_open_log(config);
    const char *trouble = boot->log_descriptor < 0 ? boot_log_trouble(errno) : NULL;
    if (trouble != NULL && before < 0) {
        complain_to(report, "log.target: %s: cannot be opened: %s", config->log.target, trouble);
        return ERROR_INVALID;
    }
    if (trouble == NULL && before >= 0) {
        close(before);
    } else if (trouble != NULL) {
        boot->log_descriptor = before;
    }
    int error = journal_open(&boot->journal, config->log.level, config->log.format, boot->log_descriptor);
    if (error == 0 && trouble != NULL) {
        boot_tell_log(boot, trouble);
    }
    return error;
}

/* ---- limits that are lower than they could be ---- */

static void tell_group_limit(struct boot *boot)
{
    struct journal *journal = &boot->journal;
    uint64_t limit = limit_of_memory("");
    if (limit < boot->plan->config->limits.memory && log_begin(&journal->log, LOG_WARNING, "memory_limit")) {
        log_number(&journal->log, "limit", (int64_t)limit);
        log_number(&journal->log, "memory", (int64_t)boot->plan->config->limits.memory);
        log_text(
            &journal->log, "hint",
            "the container or service may use less than limits.memory, and would be killed at its limit: "
            "lower limits.memory, or allow more");
        journal_end(journal);
    }
}

static void tell_fewer_workers(struct boot *boot)
{
    struct journal *journal = &boot->journal;
    if (boot->plan->workers < boot->plan->workers_wanted &&
        log_begin(&journal->log, LOG_WARNING, "memory_limit")) {
        log_number(&journal->log, "workers", boot->plan->workers);
        log_number(&journal->log, "processors", boot->plan->workers_wanted);
        log_text(&journal->log, "hint",
                 "limits.memory bears no more workers than this: raise it, or set workers");
        journal_end(journal);
    }
}

void boot_tell_limits(struct boot *boot)
{
    tell_fewer_workers(boot);
    tell_group_limit(boot);
}

/* ---- memory that is shared ---- */

/* What the program of before counted, where it counted in the same way. */
static bool adopt_total(struct boot *boot)
{
    struct handover *handover = boot->handover;
    if (handover == NULL || handover->total_size == 0) {
        return false;
    }
    if (handover->total < 0) {
        store_tell(boot, "total", STORE_MISSING);
        return false;
    }
    bool is_adopted = metrics_adopt(handover->total, handover->total_size, &boot->total) == 0;
    if (is_adopted) {
        boot->total_descriptor = handover->total;
    } else {
        store_tell(boot, "total", STORE_UNREADABLE);
        close(handover->total);
    }
    handover->total = -1;
    return is_adopted;
}

static int open_total(struct boot *boot, struct config_report *report)
{
    if (adopt_total(boot)) {
        return 0;
    }
    int error = metrics_open(0, &boot->total, &boot->total_descriptor);
    if (error != 0) {
        complain_to(report, "the meters cannot be opened: %s", error_text(error));
    }
    return error;
}

int boot_open_facts(struct plan *plan, struct config_report *report)
{
    int error = upstream_facts_open(&plan->facts, &plan->facts_descriptor);
    if (error != 0) {
        complain_to(report, "the memory for facts of the upstreams cannot be had: %s", error_text(error));
    }
    return error;
}

int boot_open_cache(uint64_t size, struct cache *out, struct config_report *report)
{
    *out = (struct cache){0};
    if (size == 0) {
        return 0;
    }
    struct random random;
    random_init(&random);
    struct hash_key key = {{random_u64(&random), random_u64(&random)}};
    int error = cache_open((size_t)size, key, (uint32_t)getpid(), out);
    if (error != 0) {
        complain_to(report, "cache.size: the memory cannot be had: %s", error_text(error));
    }
    return error;
}

/* That of the program of before, where this one can read it. */
static bool adopt_cache(struct boot *boot, struct cache *out)
{
    struct handover *handover = boot->handover;
    if (handover == NULL || handover->cache_size == 0) {
        return false;
    }
    if (handover->cache < 0) {
        store_tell(boot, "cache", STORE_MISSING);
        return false;
    }
    bool is_adopted = handover->is_cache_readable &&
                      cache_adopt(handover->cache, handover->cache_size, (uint32_t)getpid(), out) == 0;
    if (!is_adopted) {
        store_tell(boot, "cache", STORE_UNREADABLE);
        close(handover->cache);
    } else if (handover->is_stored) {
        cache_mend_all(out);
    }
    handover->cache = -1;
    return is_adopted;
}

static int open_cache(struct boot *boot, struct config_report *report)
{
    struct cache before;
    uint64_t size = boot->plan->config->cache.size;
    boot->cache_is_kept = adopt_cache(boot, &before);
    if (!boot->cache_is_kept) {
        return boot_open_cache(size, &boot->cache, report);
    }
    if (boot->handover->cache_size == size) {
        boot->cache = before;
        return 0;
    }
    int error = boot_open_cache(size, &boot->cache, report);
    if (error == 0 && boot->cache.head != NULL) {
        keep_copy(&before, &boot->cache);
    }
    cache_close(&before);
    return error;
}

/* ---- meters ---- */

void boot_count_cache(const struct boot *boot)
{
    if (boot->cache.head == NULL) {
        return;
    }
    struct cache_numbers numbers;
    cache_count(&boot->cache, &numbers);
    struct metrics_worker *own = &boot->total->worker[0];
    metrics_set(&own->meter[METRICS_CACHE_ENTRIES], numbers.entries);
    metrics_set(&own->meter[METRICS_CACHE_BYTES], numbers.bytes);
    metrics_set(&own->meter[METRICS_CACHE_EVICTIONS], numbers.evicted);
}

static void show_health(const struct boot *boot)
{
    const struct plan *plan = boot->plan;
    for (size_t i = 0; i < plan->upstreams_used; i++) {
        bool is_down = upstream_facts_is_down(plan->facts, i);
        for (size_t k = 0; k < boot->living_count; k++) {
            metrics_show_down(boot->living[k], plan->config->upstreams[i].label, is_down);
        }
    }
}

void boot_write_metrics(const struct boot *boot, struct metrics_sink *sink)
{
    const struct metrics *all[BOOT_ENGINES_MAX + 1] = {boot->total};
    for (size_t i = 0; i < boot->living_count; i++) {
        all[i + 1] = boot->living[i];
    }
    boot_count_cache(boot);
    show_health(boot);
    metrics_text(all, boot->living_count + 1, sink);
}

/* ---- all of it ---- */

int boot_open(struct boot *boot, struct config_report *report)
{
    struct plan *plan = boot->plan;
    int error = privileges_resolve(plan->config->user, report, &plan->identity);
    error = error == 0 ? open_log(boot, report) : error;
    if (error == 0 && boot->handover != NULL && boot->handover->trouble != NULL) {
        store_tell(boot, STORE_TEXT, boot->handover->trouble);
    }
    error = error == 0 ? open_total(boot, report) : error;
    error = error == 0 ? boot_open_facts(plan, report) : error;
    error = error == 0 ? open_cache(boot, report) : error;
    error = error == 0 ? sockets_open(boot, report) : error;
    if (error == 0 && sockets_share_out(&boot->table, plan, &boot->journal, report) != 0) {
        /* An engine of before serves on, as it did. */
        error = boot->handover != NULL && boot->handover->engine_count > 0 ? 0 : ERROR_INVALID;
    }
    if (error == 0) {
        boot_tell_limits(boot);
    }
    return error;
}

void boot_close(struct boot *boot)
{
    sockets_close(&boot->table);
    if (boot->cache.head != NULL) {
        cache_close(&boot->cache);
    }
    if (boot->total != NULL) {
        metrics_close(boot->total, boot->total_descriptor);
    }
    if (boot->journal.ring != NULL) {
        journal_close(&boot->journal);
    }
    if (boot->log_descriptor > 0) {
        close(boot->log_descriptor);
    }
}
