/*
 * Another configuration without a lost query: a new engine is started beside the old one, with the same
 * sockets and the same cache; when it serves, the old one reads no more, finishes what it has, and goes.
 * Whatever does not pass on the way, from a misspelt option to an engine that cannot start, leaves everything
 * as it was and is told. Called by supervise.c and control.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "monitor/supervisor.h"

enum { SAID_MOST = 16 * 1024 };

static struct log *journal(struct supervisor *supervisor)
{
    return &supervisor->boot->journal.log;
}

static void count(struct supervisor *supervisor, enum metrics_meter meter)
{
    metrics_add(&supervisor->boot->total->worker[0].meter[meter], 1);
}

/* ---- what is told ---- */

/* A complaint: to the log, and kept for whoever waits at the control socket. */
static void on_complaint(struct config_report *report, const char *line)
{
    struct reload *reload = container_of(report, struct reload, report);
    struct supervisor *supervisor = container_of(reload, struct supervisor, reload);
    static const char name[] = "dnseal: ";
    size_t size = strlen(line);
    const char *reason = strncmp(line, name, sizeof name - 1) == 0 ? line + sizeof name - 1 : line;
    if (log_begin(journal(supervisor), LOG_ERROR, "reload_failed")) {
        log_text(journal(supervisor), "cause", reload->cause);
        log_text(journal(supervisor), "reason", reason);
        journal_end(&supervisor->boot->journal);
    }
    char *said =
        size < SAID_MOST - reload->said_size ? realloc(reload->said, reload->said_size + size + 2) : NULL;
    if (said != NULL) {
        snprintf(said + reload->said_size, size + 2, "%s\n", line);
        reload->said = said;
        reload->said_size += size + 1;
    }
}

static void tell_done(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    if (log_begin(journal(supervisor), LOG_INFO, "reload")) {
        log_text(journal(supervisor), "cause", reload->cause);
        log_number(journal(supervisor), "workers", supervisor->boot->plan->workers);
        log_duration(journal(supervisor), "duration_ms", clock_monotonic() - reload->begun_at);
        journal_end(&supervisor->boot->journal);
    }
}

/* ---- the end of a reload, one way or the other ---- */

/* Who asked for another one meanwhile is told when that is over. */
static void finish(struct supervisor *supervisor, bool is_done)
{
    struct reload *reload = &supervisor->reload;
    event_timer_clear(&reload->patience);
    reload->is_going = false;
    reload->process = NULL;
    if (!is_done) {
        service_ready(supervisor->boot);
    }
    count(supervisor, is_done ? METRICS_CONFIG_RELOADS_OK : METRICS_CONFIG_RELOADS_FAILED);
    const char *said = reload->said != NULL ? reload->said : "dnseal: the reload failed: memory ran out\n";
    if (!is_done && !reload->again) {
        control_tell(supervisor->control, CONTROL_RELOAD, false, said);
    }
    free(reload->said);
    reload->said = NULL;
    reload->said_size = 0;
}

/* Lets go of what was opened for the next configuration. */
static void give_up(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    struct boot *boot = supervisor->boot;
    sockets_close_others(&boot->table, boot->plan);
    if (reload->log_descriptor >= 0) {
        close(reload->log_descriptor);
    }
    if (reload->cache.head != NULL && reload->cache.head != boot->cache.head) {
        cache_close(&reload->cache);
    }
    if (reload->moves_control) {
        control_close(reload->control);
    }
    plan_free(&reload->plan);
    if (!supervisor->stopping && (supervisor->current == NULL || !supervisor->current->is_of_before)) {
        store_update(boot);
    }
    finish(supervisor, false);
    if (supervisor->current == NULL && !supervisor->stopping) {
        supervise_plan_restart(supervisor);
    }
    reload_on_place(supervisor);
}

/* ---- the next configuration ---- */

/* What is known of the servers that both have. */
static void carry_facts(const struct plan *from, struct plan *to)
{
    for (size_t i = 0; i < to->upstreams_used; i++) {
        for (size_t k = 0; k < from->upstreams_used; k++) {
            if (strcmp(to->config->upstreams[i].label, from->config->upstreams[k].label) == 0) {
                upstream_facts_copy(to->facts, i, from->facts, k);
            }
        }
    }
}

static int open_log(struct reload *reload, const struct config *before)
{
    const struct config *config = reload->plan.config;
    if (strcmp(config->log.target, before->log.target) == 0) {
        return 0;
    }
    reload->log_descriptor = boot_open_log(config);
    if (reload->log_descriptor < 0) {
        complain_to(&reload->report, "log.target: %s: cannot be opened: %s", config->log.target,
                    boot_log_trouble(errno));
        return ERROR_INVALID;
    }
    return 0;
}

static int open_cache(struct reload *reload, struct boot *boot)
{
    uint64_t size = reload->plan.config->cache.size;
    if (size == boot->plan->config->cache.size) {
        reload->cache = boot->cache;
        return 0;
    }
    int error = boot_open_cache(size, &reload->cache, &reload->report);
    if (error == 0 && reload->cache.head != NULL && boot->cache.head != NULL) {
        keep_copy(&boot->cache, &reload->cache);
    }
    return error;
}

static int move_control(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    const struct config *config = reload->plan.config;
    if (strcmp(config->control.socket, supervisor->boot->plan->config->control.socket) == 0) {
        return 0;
    }
    struct control_setup setup = supervise_control(supervisor, config, &reload->report);
    int error = control_open(supervisor->boot, &setup, &reload->control);
    reload->moves_control = error == 0;
    return error;
}

static int plan_next(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    struct boot *boot = supervisor->boot;
    struct plan *plan = &reload->plan;
    struct config_report *report = &reload->report;
    int error = plan_configure(plan, &boot->sources, report);
    error = error == 0 ? plan_check(plan, &boot->sources, report) : error;
    error = error == 0 ? plan_work_out(plan, report) : error;
    error = error == 0 ? privileges_resolve(plan->config->user, report, &plan->identity) : error;
    error = error == 0 ? open_log(reload, boot->plan->config) : error;
    error = error == 0 ? move_control(supervisor) : error;
    error = error == 0 ? boot_open_facts(plan, report) : error;
    if (error == 0) {
        carry_facts(boot->plan, plan);
        addresses_carry(boot->plan, plan);
        error = sockets_share_out(&boot->table, plan, &boot->journal, report);
    }
    return error == 0 ? open_cache(reload, boot) : error;
}

/* Whether all that the one stores is what the other would store there as well. */
static bool has_groups_of(const struct config *next, const struct config *now)
{
    bool is_same = next->upstream_count == now->upstream_count;
    for (size_t i = 0; i < next->upstream_count && is_same; i++) {
        const struct config_upstream *a = &next->upstreams[i], *b = &now->upstreams[i];
        is_same = strcmp(a->label, b->label) == 0 &&
                  next->groups[a->group].partition == now->groups[b->group].partition;
    }
    return is_same;
}

static void begin(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    reload->again = false;
    reload->is_going = true;
    service_reloading(supervisor->boot->service);
    reload->begun_at = clock_monotonic();
    reload->log_descriptor = -1;
    reload->moves_control = false;
    reload->cache = (struct cache){0};
    plan_init(&reload->plan);
    int error = plan_next(supervisor);
    if (error == 0 && !has_groups_of(reload->plan.config, supervisor->boot->plan->config)) {
        store_mix(supervisor->boot);
    }
    if (error == 0) {
        int log = reload->log_descriptor >= 0 ? reload->log_descriptor : supervisor->boot->log_descriptor;
        struct process_setup setup = {&reload->plan, reload->cache, log};
        error = process_start(supervisor, &setup, &reload->process);
        if (error != 0) {
            complain_to(&reload->report, "the new engine cannot be started: %s", error_text(error));
        }
    }
    if (error != 0) {
        give_up(supervisor);
        return;
    }
    event_timer_set(supervisor->loop, &reload->patience,
                    event_now(supervisor->loop) + PROCESS_START_PATIENCE);
}

void reload_begin(struct supervisor *supervisor, const char *cause)
{
    struct reload *reload = &supervisor->reload;
    if (supervisor->stopping) {
        return;
    }
    reload->cause = cause;
    bool is_busy = reload->is_going || supervisor->upgrade.successor != NULL;
    if (is_busy || !process_has_place(supervisor)) {
        reload->again = true; /* the file may have changed since that one was read */
        return;
    }
    begin(supervisor);
}

void reload_on_place(struct supervisor *supervisor)
{
    bool is_free = !supervisor->reload.is_going && supervisor->upgrade.successor == NULL;
    if (supervisor->reload.again && is_free && process_has_place(supervisor)) {
        begin(supervisor);
    } else if (is_free && process_has_place(supervisor)) {
        upgrade_on_place(supervisor);
    }
}

/* ---- groups that are not what they were ---- */

/* Whether answers of the one are answers of the other as well: some server is in both. */
static bool is_same_group(const struct plan *before, const struct config_group *old, const struct plan *now)
{
    const struct config *a = before->config, *b = now->config;
    for (size_t i = 0; i < a->upstream_count; i++) {
        for (size_t k = 0; k < b->upstream_count && &a->groups[a->upstreams[i].group] == old; k++) {
            if (strcmp(a->upstreams[i].label, b->upstreams[k].label) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void mark_partitions(struct supervisor *supervisor, const struct plan *before)
{
    for (size_t i = 0; i < before->config->group_count; i++) {
        const struct config_group *old = &before->config->groups[i];
        if (!is_same_group(before, old, supervisor->boot->plan)) {
            supervisor->boot->forgets[old->partition] = true;
        }
    }
}

/* Nobody may be given what servers said that he does not ask. Once when the new engine serves, and again when
 * the old one is gone, which may have stored something meanwhile. */
void reload_forget_partitions(struct supervisor *supervisor)
{
    struct boot *boot = supervisor->boot;
    if (boot->cache.head == NULL || memchr(boot->forgets, true, sizeof boot->forgets) == NULL) {
        return;
    }
    uint64_t forgotten = keep_forget_groups(&boot->cache, boot->forgets);
    if (forgotten > 0 && log_begin(journal(supervisor), LOG_INFO, "cache_flush")) {
        log_text(journal(supervisor), "what", "groups");
        log_number(journal(supervisor), "entries", (int64_t)forgotten);
        journal_end(&boot->journal);
    }
    keeper_renew(boot->keeper);
}

void reload_on_burial(struct supervisor *supervisor)
{
    if (process_count(supervisor) <= 1) {
        reload_forget_partitions(supervisor);
        memset(supervisor->boot->forgets, false, sizeof supervisor->boot->forgets);
        store_note(supervisor->boot);
    }
}

/* ---- the new engine ---- */

static void take_log(struct boot *boot, struct reload *reload)
{
    const struct config *config = boot->plan->config;
    if (reload->log_descriptor >= 0) {
        close(boot->log_descriptor);
        boot->log_descriptor = boot->journal.descriptor = reload->log_descriptor;
    }
    journal_set(&boot->journal, config->log.level, config->log.format);
}

static void take_cache(struct boot *boot, const struct reload *reload)
{
    if (boot->cache.head != reload->cache.head) {
        if (boot->cache.head != NULL) {
            cache_close(&boot->cache);
        }
        boot->cache = reload->cache;
    }
}

/* The new engine serves: from now on its configuration is the one in force. */
void reload_on_ready(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    struct boot *boot = supervisor->boot;
    struct process *old = supervisor->current;
    struct plan before = *boot->plan;
    uint64_t timeout = before.config->limits.drain_timeout;
    *boot->plan = reload->plan;
    supervisor->current = reload->process;
    event_timer_clear(&supervisor->restart);
    take_log(boot, reload);
    take_cache(boot, reload);
    sockets_close_others(&boot->table, boot->plan);
    metrics_take_labels(boot->total, supervisor->current->metrics);
    keeper_follow(boot, supervisor->loop);
    addresses_follow(boot);
    watch_follow(boot->watch);
    mark_partitions(supervisor, &before);
    reload_forget_partitions(supervisor);
    store_update(boot);
    tell_done(supervisor);
    boot_tell_limits(boot);
    plan_free(&before);
    finish(supervisor, true);
    if (reload->moves_control) {
        control_close(supervisor->leaving);
        supervisor->leaving = supervisor->control;
        supervisor->control = reload->control;
    }
    relief_begin(supervisor, old, timeout, CONTROL_RELOAD);
    reload_on_place(supervisor);
}

void reload_on_death(struct supervisor *supervisor, int status)
{
    struct reload *reload = &supervisor->reload;
    const char *reason = reload->process->reason;
    if (reason[0] != '\0') {
        complain_to(&reload->report, "%s", reason);
    } else if (WIFSIGNALED(status)) {
        complain_to(&reload->report, "the new engine was killed by signal %d (%s) before it served",
                    WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        complain_to(&reload->report, "the new engine ended with exit code %d before it served",
                    WEXITSTATUS(status));
    }
    give_up(supervisor);
}

static void on_patience_over(struct event_timer *timer)
{
    struct reload *reload = container_of(timer, struct reload, patience);
    complain_to(&reload->report, "the new engine does not serve after %ju s",
                (uintmax_t)(PROCESS_START_PATIENCE / CLOCK_SECOND));
    process_stop(reload->process); /* its death gives the reload up */
}

void reload_abandon(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    reload->again = false;
    if (reload->is_going) {
        complain_to(&reload->report, "the program is stopping");
        process_drain(reload->process,
                      reload->plan.config->limits.drain_timeout); /* it may have read already */
        reload->process = NULL;
        give_up(supervisor);
    }
}

void reload_init(struct supervisor *supervisor)
{
    supervisor->reload.report.error = on_complaint;
    event_timer_init(&supervisor->reload.patience, on_patience_over);
}
