/*
 * The engine's life, seen from outside: started, watched, replaced when it dies, drained when the program is
 * told to stop. The monitor's own loop waits for signals, for the engine's letters and for the control
 * socket.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"

#include "net/net.h"

#include "monitor/internal.h"

/* An engine that died soon after its start is replaced more and more slowly. */
#define RESTART_FIRST (100 * CLOCK_MILLISECOND)
#define RESTART_MOST  (5 * CLOCK_SECOND)
#define LIVED_LONG    (10 * CLOCK_SECOND)
#define KILL_PATIENCE (2 * CLOCK_SECOND)

enum { LETTER_SIZE = 512 };

struct supervisor {
    struct boot *boot;
    struct event_loop *loop;
    struct event_signals signals;
    struct event_watch channel;
    struct event_timer restart, drain, kill;
    struct control *control;
    pid_t engine; /* 0 while there is none */
    uint64_t started_at, restart_after;
    bool was_ready; /* some engine has served */
    bool failed_at_start;
    char reason[LETTER_SIZE]; /* why the engine cannot start, in its own words; "" where it said none */
    bool stopping;
};

static struct log *journal(struct supervisor *supervisor)
{
    return &supervisor->boot->journal.log;
}

/* ---- the engine's words ---- */

static void close_channel(struct supervisor *supervisor)
{
    if (supervisor->channel.loop != NULL) {
        int descriptor = supervisor->channel.descriptor;
        event_watch_remove(&supervisor->channel);
        net_close(descriptor);
    }
}

static void on_letter(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    struct supervisor *supervisor = container_of(watch, struct supervisor, channel);
    char letter[LETTER_SIZE];
    int size = net_local_receive(watch->descriptor, (uint8_t *)letter, sizeof letter - 1, NULL);
    if (size == ERROR_AGAIN || size == ERROR_MEMORY) {
        return; /* it is still there to be read */
    }
    if (size <= 0) {
        close_channel(supervisor); /* what became of the engine is told by SIGCHLD */
        return;
    }
    letter[size] = '\0';
    if (letter[0] == ENGINE_READY) {
        supervisor->was_ready = true;
        supervisor->boot->serves = !supervisor->stopping;
        memory_forget_code(); /* all that is left to do is to wait for a signal */
    } else if (letter[0] == ENGINE_FAILED) {
        memcpy(supervisor->reason, letter + 1, (size_t)size);
    } else if (letter[0] == ENGINE_ADDRESSES) {
        addresses_note(supervisor->boot, span_of(letter, (size_t)size));
    }
}

/* ---- the engine comes up ---- */

/* Runs in the child: only what the engine needs comes along. */
static int run_engine(struct supervisor *supervisor, int channel, pid_t monitor)
{
    struct boot *boot = supervisor->boot;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != monitor) {
        return 1;
    }
    int *kept = calloc(boot->socket_count + 3, sizeof *kept);
    if (kept == NULL) {
        return 1;
    }
    for (size_t i = 0; i < boot->socket_count; i++) {
        kept[i] = boot->sockets[i].descriptor;
    }
    kept[boot->socket_count] = channel;
    kept[boot->socket_count + 1] = boot->log_descriptor;
    kept[boot->socket_count + 2] = boot->authorities;
    privileges_close_other_descriptors(kept, boot->socket_count + 3);
    free(kept);
    privileges_drop(&boot->identity);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of ids has cleared it */
    struct engine_setup setup = {
        .config = boot->config,
        .upstream_count = boot->upstreams_used,
        .known = boot->known,
        .workers = boot->workers,
        .stream_blocks = boot->stream_blocks,
        .sockets = boot->sockets,
        .socket_count = boot->socket_count,
        .metrics = boot->metrics,
        .facts = boot->facts,
        .local = boot->local,
        .cache = {boot->cache.head, boot->cache.descriptor, (uint32_t)getpid()},
        .authorities = boot->authorities,
        .authorities_size = boot->authorities_size,
        .log_descriptor = boot->log_descriptor,
        .channel = channel,
    };
    return engine_run(&setup);
}

static int start_engine(struct supervisor *supervisor)
{
    int pair[2];
    int error = net_local_pair(pair);
    if (error != 0) {
        return error;
    }
    pid_t monitor = getpid();
    pid_t engine = fork();
    if (engine == 0) {
        exit(run_engine(supervisor, pair[1], monitor));
    }
    net_close(pair[1]);
    if (engine < 0) {
        net_close(pair[0]);
        return error_from_errno(errno);
    }
    supervisor->engine = engine;
    supervisor->reason[0] = '\0';
    supervisor->started_at = clock_monotonic();
    if (event_watch_add(supervisor->loop, &supervisor->channel, pair[0], EVENT_READ) != 0) {
        net_close(pair[0]); /* an engine without a channel goes at once, and is reaped like any other */
    }
    return 0;
}

/* ---- the engine goes ---- */

/* Once an engine has served, the log alone is told what becomes of it: standard error may be a pipe that
 * nobody reads any more, and would hold up the monitor. */
static void log_death(struct supervisor *supervisor, int status)
{
    if (log_begin(journal(supervisor), LOG_ERROR, "engine_died")) {
        if (WIFSIGNALED(status)) {
            log_number(journal(supervisor), "signal", WTERMSIG(status));
        } else {
            log_number(journal(supervisor), "code", WEXITSTATUS(status));
        }
        if (supervisor->reason[0] != '\0') {
            log_text(journal(supervisor), "reason", supervisor->reason);
        }
        log_duration(journal(supervisor), "lived_ms", clock_monotonic() - supervisor->started_at);
        journal_end(&supervisor->boot->journal);
    }
}

/* An engine that ends before it serves ends the program: never without a word. */
static void complain_of_start(const struct supervisor *supervisor, int status)
{
    if (supervisor->reason[0] != '\0') {
        complain("%s", supervisor->reason);
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

static void plan_restart(struct supervisor *supervisor)
{
    uint64_t lived = clock_monotonic() - supervisor->started_at;
    uint64_t pause = supervisor->restart_after;
    if (lived >= LIVED_LONG || pause == 0) {
        pause = RESTART_FIRST;
    }
    supervisor->restart_after = 2 * pause < RESTART_MOST ? 2 * pause : RESTART_MOST;
    struct metrics *metrics = supervisor->boot->metrics;
    metrics_add(&metrics->worker[metrics->workers - 1].meter[METRICS_ENGINE_RESTARTS], 1);
    event_timer_set(supervisor->loop, &supervisor->restart, event_now(supervisor->loop) + pause);
}

static void on_kept(void *owner)
{
    struct supervisor *supervisor = owner;
    event_loop_stop(supervisor->loop);
}

static void end(struct supervisor *supervisor)
{
    if (!keeper_finish(supervisor->boot->keeper, on_kept, supervisor)) {
        event_loop_stop(supervisor->loop);
    }
}

static void on_engine_gone(struct supervisor *supervisor, int status)
{
    if (supervisor->channel.loop != NULL) {
        on_letter(&supervisor->channel, EVENT_READ); /* its last words */
    }
    close_channel(supervisor);
    supervisor->boot->serves = false;
    if (supervisor->boot->cache.head != NULL) {
        cache_mend(&supervisor->boot->cache, (uint32_t)supervisor->engine);
    }
    supervisor->engine = 0;
    if (supervisor->stopping) {
        end(supervisor);
    } else if (!supervisor->was_ready) {
        complain_of_start(supervisor, status);
        supervisor->failed_at_start = true;
        event_loop_stop(supervisor->loop);
    } else {
        log_death(supervisor, status);
        plan_restart(supervisor);
    }
}

static void reap(struct supervisor *supervisor)
{
    int status;
    pid_t gone;
    while ((gone = waitpid(-1, &status, WNOHANG)) > 0) {
        if (gone == supervisor->engine) {
            on_engine_gone(supervisor, status);
        } else if (!addresses_reap(supervisor->boot->addresses, gone, status)) {
            keeper_reap(supervisor->boot->keeper, gone, status);
        }
    }
}

/* ---- stopping ---- */

static void send_letter(struct supervisor *supervisor, enum engine_letter letter, int passed)
{
    if (supervisor->channel.loop != NULL) {
        uint8_t byte = (uint8_t)letter;
        net_local_send(supervisor->channel.descriptor, span_of(&byte, 1), passed);
    }
}

static void on_kill(struct event_timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, kill);
    if (supervisor->engine > 0) {
        kill(supervisor->engine, SIGKILL);
    }
}

static void on_drain(struct event_timer *timer)
{
    struct supervisor *supervisor = container_of(timer, struct supervisor, drain);
    send_letter(supervisor, ENGINE_DRAIN, -1);
    event_timer_set(supervisor->loop, &supervisor->kill,
                    event_now(supervisor->loop) + supervisor->boot->config->limits.drain_timeout +
                        KILL_PATIENCE);
}

static void stop(struct supervisor *supervisor, int number)
{
    if (supervisor->stopping) {
        event_timer_clear(&supervisor->drain);
        send_letter(supervisor, ENGINE_STOP, -1);
        keeper_stop(supervisor->boot->keeper);
        event_timer_set(supervisor->loop, &supervisor->kill, event_now(supervisor->loop) + KILL_PATIENCE);
        return;
    }
    supervisor->stopping = true;
    supervisor->boot->serves = false;
    event_timer_clear(&supervisor->restart);
    if (log_begin(journal(supervisor), LOG_INFO, "stop")) {
        log_text(journal(supervisor), "signal", number == SIGINT ? "INT" : "TERM");
        journal_end(&supervisor->boot->journal);
    }
    if (supervisor->engine == 0) {
        end(supervisor);
        return;
    }
    event_timer_set(supervisor->loop, &supervisor->drain,
                    event_now(supervisor->loop) + supervisor->boot->config->limits.drain_delay);
}

/* ---- other signals ---- */

static void reopen_log(struct supervisor *supervisor)
{
    struct boot *boot = supervisor->boot;
    int descriptor = boot_open_log(boot->config);
    if (descriptor < 0) {
        const char *reason = boot_log_trouble(errno);
        if (log_begin(journal(supervisor), LOG_ERROR, "log_reopen_failed")) {
            log_text(journal(supervisor), "target", boot->config->log.target);
            log_text(journal(supervisor), "reason", reason);
            journal_end(&boot->journal);
        }
        return;
    }
    send_letter(supervisor, ENGINE_LOG, descriptor);
    close(boot->log_descriptor);
    boot->log_descriptor = boot->journal.descriptor = descriptor;
}

struct counter_lines {
    struct metrics_sink sink;
    struct supervisor *supervisor;
};

static bool is_zero(struct span number)
{
    for (size_t i = 0; i < number.size; i++) {
        if (number.data[i] != '0' && number.data[i] != '.') {
            return false;
        }
    }
    return true;
}

/* A sample a line, those that are not 0. */
static void log_counter(struct metrics_sink *sink, struct span text)
{
    struct supervisor *supervisor = container_of(sink, struct counter_lines, sink)->supervisor;
    const uint8_t *space = memrchr(text.data, ' ', text.size);
    if (text.data[0] == '#' || space == NULL) {
        return;
    }
    size_t name_size = (size_t)(space - text.data);
    struct span value = span_of(space + 1, text.size - name_size - 2);
    if (is_zero(value) || !log_begin(journal(supervisor), LOG_INFO, "counter")) {
        return;
    }
    log_span(journal(supervisor), "name", span_of(text.data, name_size));
    log_decimal(journal(supervisor), "value", value);
    journal_end(&supervisor->boot->journal);
}

static void log_counters(struct supervisor *supervisor)
{
    struct counter_lines lines = {.sink.write = log_counter, .supervisor = supervisor};
    boot_count_cache(supervisor->boot);
    metrics_text(supervisor->boot->metrics, &lines.sink);
}

static void refuse_reload(struct supervisor *supervisor)
{
    if (log_begin(journal(supervisor), LOG_WARNING, "reload_failed")) {
        log_text(journal(supervisor), "reason", "this version takes a new configuration by a restart only");
        journal_end(&supervisor->boot->journal);
    }
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
        log_counters(supervisor);
        break;
    case SIGHUP:
        refuse_reload(supervisor);
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
        log_number(journal(supervisor), "workers", supervisor->boot->workers);
        journal_end(&supervisor->boot->journal);
    }
    if (supervisor->boot->identity.keeps_root && log_begin(journal(supervisor), LOG_WARNING, "root_kept")) {
        log_text(journal(supervisor), "hint",
                 "user is an empty text: the engine keeps the rights of root; name a user instead");
        journal_end(&supervisor->boot->journal);
    }
}

static int run(struct supervisor *supervisor)
{
    int error = addresses_open(supervisor->boot);
    if (error == 0) {
        error = keeper_open(supervisor->boot, supervisor->loop);
    }
    if (error == 0) {
        error = start_engine(supervisor);
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
    struct supervisor supervisor = {.boot = boot, .channel.ready = on_letter};
    raise_descriptor_limit();
    if (event_loop_open(&supervisor.loop) != 0 || open_signals(&supervisor) != 0) {
        complain("the event loop cannot be opened");
        return 1;
    }
    event_timer_init(&supervisor.restart, on_restart);
    event_timer_init(&supervisor.drain, on_drain);
    event_timer_init(&supervisor.kill, on_kill);
    log_start(&supervisor);
    int code = 1;
    if (control_open(boot, supervisor.loop, &supervisor.control) == 0) {
        code = run(&supervisor);
        keeper_close(boot->keeper);
        addresses_close(boot->addresses);
        control_close(supervisor.control);
    }
    close_channel(&supervisor);
    event_timer_clear(&supervisor.restart);
    event_timer_clear(&supervisor.drain);
    event_timer_clear(&supervisor.kill);
    event_signals_close(&supervisor.signals);
    event_loop_close(supervisor.loop);
    return code;
}
