/*
 * The engine's life: started, watched, replaced when it dies, drained when the program is told to stop. The
 * monitor's own loop waits for signals, for the engine's letters and for the control socket.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include "monitor/supervisor.h"

/* An engine that died soon after its start is replaced more and more slowly. */
#define RESTART_FIRST (100 * CLOCK_MILLISECOND)
#define RESTART_MOST  (5 * CLOCK_SECOND)
#define LIVED_LONG    (10 * CLOCK_SECOND)

/* How much longer than the drain a stop may take: an engine that has to be killed, and the cache's last file.
 */
#define STOP_MARGIN (15 * CLOCK_SECOND)

static struct log *journal(struct supervisor *supervisor)
{
    return &supervisor->boot->journal.log;
}

static void count(struct supervisor *supervisor, enum metrics_meter meter)
{
    metrics_add(&supervisor->boot->total->worker[0].meter[meter], 1);
}

/* ---- an engine comes ---- */

/* Beside the engine of the program of before, where that one serves still. */
static int start_engine(struct supervisor *supervisor)
{
    struct boot *boot = supervisor->boot;
    struct process_setup setup = {boot->plan, boot->cache, boot->log_descriptor};
    struct process **place =
        supervisor->current != NULL ? &supervisor->upgrade.successor : &supervisor->current;
    struct config_report report = complain_on_standard_error();
    int error = 0;
    if (boot->plan->sockets == NULL) {
        error = sockets_share_out(&boot->table, boot->plan, &boot->journal, &report);
    }
    error = error == 0 ? process_start(supervisor, &setup, place) : error;
    if (error == 0) {
        metrics_take_labels(boot->total, (*place)->metrics);
    }
    if (error == 0 && supervisor->was_ready) {
        process_expect(*place);
    }
    return error;
}

/* What the program of before had, and this configuration has not, goes. A reload that is on its way sees to
 * that itself. */
static void settle(struct supervisor *supervisor)
{
    if (!supervisor->reload.is_going) {
        sockets_close_others(&supervisor->boot->table, supervisor->boot->plan);
        store_update(supervisor->boot);
    }
}

void supervise_on_ready(struct process *process)
{
    struct supervisor *supervisor = process->supervisor;
    if (process->state != PROCESS_STARTING) {
        return; /* it was told to go meanwhile */
    }
    process_serve(process);
    if (process == supervisor->reload.process) {
        reload_on_ready(supervisor);
    } else if (process == supervisor->upgrade.successor) {
        upgrade_on_ready(supervisor);
    } else {
        service_ready(supervisor->boot);
        settle(supervisor);
    }
    supervisor->was_ready = true;
    supervisor->boot->serves = !supervisor->stopping;
    memory_forget_code(); /* all that is left to do is to wait for a signal */
}

/* ---- an engine goes ---- */

/* Once an engine has served, the log alone is told what becomes of it: standard error may be a pipe that
 * nobody reads any more, and would hold up the monitor. */
static void log_death(const struct process *process, int status)
{
    struct supervisor *supervisor = process->supervisor;
    if (log_begin(journal(supervisor), LOG_ERROR, "engine_died")) {
        if (WIFSIGNALED(status)) {
            log_number(journal(supervisor), "signal", WTERMSIG(status));
        } else {
            log_number(journal(supervisor), "code", WEXITSTATUS(status));
        }
        if (process->reason[0] != '\0') {
            log_text(journal(supervisor), "reason", process->reason);
        }
        log_duration(journal(supervisor), "lived_ms", clock_monotonic() - process->started_at);
        journal_end(&supervisor->boot->journal);
    }
}

/* An engine that ends before it serves ends the program: never without a word. */
static void complain_of_start(const struct process *process, int status)
{
    if (process->reason[0] != '\0') {
        complain("%s", process->reason);
        return;
    }
    if (WIFEXITED(status)) {
        complain("the engine ended with exit code %d before it served and did not say why: look at the lines "
                 "above, and whether memory ran out",
                 WEXITSTATUS(status));
        return;
    }
    complain("the engine was killed by signal %d (%s) before it served: %s", WTERMSIG(status),
             strsignal(WTERMSIG(status)),
             WTERMSIG(status) == SIGKILL
                 ? "somebody sent it, or memory ran out; look at the kernel's log, and start again"
                 : "look at the lines above; without any, this is a defect: report it (SECURITY.md)");
}

static void on_restart(struct event_timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, restart);
    if (start_engine(supervisor) != 0) {
        event_timer_set(supervisor->loop, timer, event_now(supervisor->loop) + RESTART_MOST);
    }
}

void supervise_plan_restart(struct supervisor *supervisor)
{
    count(supervisor, METRICS_ENGINE_RESTARTS);
    event_timer_set(supervisor->loop, &supervisor->restart,
                    event_now(supervisor->loop) + supervisor->restart_after);
}

/* Each one that did not live long makes the next one wait longer. */
static void note_life(struct supervisor *supervisor, uint64_t lived)
{
    uint64_t pause = 2 * supervisor->restart_after;
    if (lived >= LIVED_LONG || pause == 0) {
        pause = RESTART_FIRST;
    }
    supervisor->restart_after = pause < RESTART_MOST ? pause : RESTART_MOST;
}

static void drain_current(struct supervisor *supervisor)
{
    if (supervisor->current != NULL) {
        process_drain(supervisor->current, supervisor->boot->plan->config->limits.drain_timeout);
    }
}

static void on_kept(void *owner)
{
    struct supervisor *supervisor = owner;
    drain_current(supervisor);
    if (process_count(supervisor) == 0) {
        event_loop_stop(supervisor->loop);
    }
}

/* The last file of the cache is written when nothing can come into it any more. */
static void end_when_alone(struct supervisor *supervisor)
{
    if (process_count(supervisor) == 0 && !keeper_finish(supervisor->boot->keeper, on_kept, supervisor)) {
        event_loop_stop(supervisor->loop);
    }
}

static void on_current_gone(struct process *process, int status)
{
    struct supervisor *supervisor = process->supervisor;
    supervisor->current = NULL;
    supervisor->boot->serves = false;
    pulse_tell(supervisor->boot->pulse, false);
    if (supervisor->stopping) {
        return;
    }
    if (!supervisor->was_ready) {
        complain_of_start(process, status);
        supervisor->failed_at_start = true;
        event_loop_stop(supervisor->loop);
        return;
    }
    log_death(process, status);
    service_status(supervisor->boot->service, "the engine died and is started anew");
    note_life(supervisor, clock_monotonic() - process->started_at);
    if (!supervisor->reload.is_going && supervisor->upgrade.successor == NULL) {
        supervise_plan_restart(
            supervisor); /* else the reload's engine takes its place, or its failure does */
    }
}

static void on_engine_gone(struct process *process, int status)
{
    struct supervisor *supervisor = process->supervisor;
    bool was_well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    process_bury(process);
    relief_end(supervisor, process);
    if (process == supervisor->current) {
        on_current_gone(process, status);
    } else if (process == supervisor->reload.process) {
        reload_on_death(supervisor, status);
    } else if (process == supervisor->upgrade.successor) {
        note_life(supervisor, clock_monotonic() - process->started_at);
        upgrade_on_death(supervisor, process->reason);
        supervise_plan_restart(supervisor);
    } else if (!was_well && !supervisor->stopping) {
        log_death(process, status);
    }
    reload_on_burial(supervisor);
    if (supervisor->stopping) {
        end_when_alone(supervisor);
    } else {
        reload_on_place(supervisor);
    }
}

static void reap(struct supervisor *supervisor)
{
    int status;
    pid_t gone;
    while ((gone = waitpid(-1, &status, WNOHANG)) > 0) {
        struct process *process = process_find(supervisor, gone);
        if (process != NULL) {
            on_engine_gone(process, status);
        } else if (!upgrade_reap(supervisor, gone, status) &&
                   !addresses_reap(supervisor->boot->addresses, gone, status)) {
            keeper_reap(supervisor->boot->keeper, gone, status);
        }
    }
}

static void ask_for_pulse(void *owner)
{
    struct supervisor *supervisor = owner;
    if (supervisor->current != NULL) {
        process_send(supervisor->current, ENGINE_PULSE, -1);
    }
}

/* ---- stopping ---- */

/* Where the next program serves on with the same sockets and cache, what is asked meanwhile waits: so the
 * file is written as long as this one serves. */
static void on_drain(struct event_timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, drain);
    if (supervisor->boot->store == NULL || !keeper_finish(supervisor->boot->keeper, on_kept, supervisor)) {
        drain_current(supervisor);
    }
}

static void stop_at_once(struct supervisor *supervisor)
{
    event_timer_clear(&supervisor->drain);
    for (size_t i = 0; i < BOOT_ENGINES_MAX; i++) {
        if (supervisor->processes[i].state != PROCESS_FREE) {
            process_stop(&supervisor->processes[i]);
        }
    }
    keeper_stop(supervisor->boot->keeper);
}

static void stop(struct supervisor *supervisor, int number)
{
    if (supervisor->stopping) {
        stop_at_once(supervisor);
        return;
    }
    const struct config *config = supervisor->boot->plan->config;
    supervisor->stopping = true;
    supervisor->boot->serves = false;
    event_timer_clear(&supervisor->restart);
    reload_abandon(supervisor);
    upgrade_abandon(supervisor);
    supervisor->relief = CONTROL_NOTHING;
    control_stop(supervisor->control);
    control_stop(supervisor->leaving);
    service_stopping(supervisor->boot->service,
                     config->limits.drain_delay + config->limits.drain_timeout + STOP_MARGIN);
    if (log_begin(journal(supervisor), LOG_INFO, "stop")) {
        log_text(journal(supervisor), "signal", number == SIGINT ? "INT" : "TERM");
        journal_end(&supervisor->boot->journal);
    }
    event_timer_set(supervisor->loop, &supervisor->drain,
                    event_now(supervisor->loop) + config->limits.drain_delay);
    if (supervisor->current == NULL) {
        event_timer_clear(&supervisor->drain);
        end_when_alone(supervisor);
    }
}

/* ---- other signals ---- */

static void reopen_log(struct supervisor *supervisor)
{
    struct boot *boot = supervisor->boot;
    int descriptor = boot_open_log(boot->plan->config);
    if (descriptor < 0) {
        boot_tell_log(boot, boot_log_trouble(errno));
        return;
    }
    for (size_t i = 0; i < BOOT_ENGINES_MAX; i++) {
        if (supervisor->processes[i].state != PROCESS_FREE) {
            process_send(&supervisor->processes[i], ENGINE_LOG, descriptor);
        }
    }
    close(boot->log_descriptor);
    boot->log_descriptor = boot->journal.descriptor = descriptor;
}

static void on_signal(struct event_signals *signals, int number)
{
    struct supervisor *supervisor = container_of(signals, struct supervisor, signals);
    switch (number) {
    case SIGCHLD:
        reap(supervisor);
        break;
    case SIGUSR1:
        reopen_log(supervisor);
        break;
    case SIGUSR2:
        counters_log(supervisor->boot);
        break;
    case SIGHUP:
        reload_begin(supervisor, "signal");
        break;
    default:
        stop(supervisor, number);
    }
}

/* ---- the run ---- */

static int open_signals(struct supervisor *supervisor)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaddset(&set, numbers[i]);
    }
    return event_signals_open(supervisor->loop, &supervisor->signals, &set, on_signal);
}

static void log_start(struct supervisor *supervisor)
{
    if (log_begin(journal(supervisor), LOG_INFO, "start")) {
        log_text(journal(supervisor), "version", DNSEAL_VERSION);
        log_number(journal(supervisor), "workers", supervisor->boot->plan->workers);
        journal_end(&supervisor->boot->journal);
    }
    if (supervisor->boot->plan->identity.keeps_root &&
        log_begin(journal(supervisor), LOG_WARNING, "root_kept")) {
        log_text(journal(supervisor), "hint",
                 "user is an empty text: the engine keeps the rights of root; name a user instead");
        journal_end(&supervisor->boot->journal);
    }
}

static void on_reload_order(void *owner)
{
    reload_begin(owner, "control");
}

static void on_files_changed(void *owner)
{
    reload_begin(owner, "files");
}

static void on_upgrade_order(void *owner)
{
    upgrade_begin(owner);
}

struct control_setup supervise_control(struct supervisor *supervisor, const struct config *config,
                                       struct config_report *report)
{
    return (struct control_setup){.config = config,
                                  .report = report,
                                  .loop = supervisor->loop,
                                  .reload = on_reload_order,
                                  .upgrade = on_upgrade_order,
                                  .owner = supervisor};
}

static int open_control(struct supervisor *supervisor)
{
    struct config_report report = complain_on_standard_error();
    struct control_setup setup = supervise_control(supervisor, supervisor->boot->plan->config, &report);
    return control_open(supervisor->boot, &setup, &supervisor->control);
}

static int run(struct supervisor *supervisor)
{
    int error = addresses_open(supervisor->boot);
    if (error == 0) {
        error = keeper_open(supervisor->boot, supervisor->loop);
    }
    if (error == 0) {
        upgrade_take_over(supervisor);
        error = start_engine(supervisor);
    }
    if (error != 0 && supervisor->current != NULL) {
        upgrade_on_death(supervisor, error_text(error));
        note_life(supervisor, 0);
        supervise_plan_restart(supervisor);
        error = 0; /* the engine of before serves on */
    }
    if (error != 0) {
        complain("the engine cannot be started: %s", error_text(error));
        return 1;
    }
    event_loop_run(supervisor->loop);
    return supervisor->failed_at_start ? 1 : 0;
}

/* The soft limit on descriptors is a courtesy to programs that use select(); this one does not. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int supervise(struct boot *boot)
{
    struct supervisor supervisor = {.boot = boot};
    raise_descriptor_limit();
    if (event_loop_open(&supervisor.loop) != 0 || open_signals(&supervisor) != 0) {
        complain("the event loop cannot be opened");
        return 1;
    }
    event_timer_init(&supervisor.restart, on_restart);
    event_timer_init(&supervisor.drain, on_drain);
    reload_init(&supervisor);
    upgrade_init(&supervisor);
    log_start(&supervisor);
    int code = 1;
    if (store_open(boot, supervisor.loop) == 0 &&
        pulse_open(boot, supervisor.loop, ask_for_pulse, &supervisor) == 0 &&
        watch_open(boot, supervisor.loop, on_files_changed, &supervisor) == 0 &&
        open_control(&supervisor) == 0) {
        code = run(&supervisor);
        keeper_close(boot->keeper);
        addresses_close(boot->addresses);
        control_close(supervisor.control);
        control_close(supervisor.leaving);
    }
    upgrade_close(&supervisor);
    watch_close(boot->watch);
    pulse_close(boot->pulse);
    store_close(boot->store);
    process_close_all(&supervisor);
    event_timer_clear(&supervisor.restart);
    event_timer_clear(&supervisor.drain);
    event_signals_close(&supervisor.signals);
    event_loop_close(supervisor.loop);
    return code;
}
