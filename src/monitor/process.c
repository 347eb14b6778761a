/*
 * One engine, seen from outside: forked with all that it needs and nothing else, spoken to by letters,
 * killed when it does not end, and buried. Called by supervise.c and reload.c.
 */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "net/net.h"

#include "monitor/supervisor.h"

#define KILL_PATIENCE (2 * CLOCK_SECOND)

/* What an engine that is gone has said before is read to its end, or so far. */
enum { LAST_WORDS_MOST = 64 };

/* ---- its words ---- */

static void close_channel(struct process *process)
{
    if (process->channel.loop != NULL) {
        int descriptor = process->channel.descriptor;
        event_watch_remove(&process->channel);
        net_close(descriptor);
    }
}

/* An engine that goes has nothing to say about the configuration in force. */
static void note_addresses(struct process *process, struct span letter)
{
    struct supervisor *supervisor = process->supervisor;
    bool has_plan = process == supervisor->current || process == supervisor->upgrade.successor;
    if (process == supervisor->reload.process) {
        addresses_note(supervisor->boot, &supervisor->reload.plan, letter);
    } else if (has_plan && !process->is_of_before) {
        addresses_note(supervisor->boot, supervisor->boot->plan, letter);
    }
}

static void note_pulse(struct process *process)
{
    if (process->state == PROCESS_DRAINING) {
        relief_end(process->supervisor, process);
    } else if (process == process->supervisor->current) {
        pulse_tell(process->supervisor->boot->pulse, true);
    }
}

static void on_letter(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    struct process *process = container_of(watch, struct process, channel);
    char letter[LETTER_SIZE];
    int size = net_local_receive(watch->descriptor, (uint8_t *)letter, sizeof letter - 1, NULL);
    if (size == ERROR_AGAIN || size == ERROR_MEMORY) {
        return; /* it is still there to be read */
    }
    if (size <= 0) {
        close_channel(process); /* what became of the engine is told by SIGCHLD */
        return;
    }
    letter[size] = '\0';
    if (letter[0] == ENGINE_READY) {
        supervise_on_ready(process);
    } else if (letter[0] == ENGINE_PULSE) {
        note_pulse(process);
    } else if (letter[0] == ENGINE_FAILED) {
        memcpy(process->reason, letter + 1, (size_t)size);
    } else if (letter[0] == ENGINE_ADDRESSES) {
        note_addresses(process, span_of(letter, (size_t)size));
    } else if (letter[0] == ENGINE_TRAPPED) {
        journal_tell_trap(&process->supervisor->boot->journal, span_of(letter, (size_t)size));
    }
}

/* ---- it comes up ---- */

static int keep_descriptors(const struct process_setup *setup, int channel)
{
    const struct plan *plan = setup->plan;
    int *kept = calloc(plan->socket_count + 3, sizeof *kept);
    if (kept == NULL) {
        return ERROR_MEMORY;
    }
    for (size_t i = 0; i < plan->socket_count; i++) {
        kept[i] = plan->sockets[i].descriptor;
    }
    kept[plan->socket_count] = channel;
    kept[plan->socket_count + 1] = setup->log_descriptor;
    kept[plan->socket_count + 2] = plan->authorities;
    privileges_close_other_descriptors(kept, plan->socket_count + 3);
    free(kept);
    return 0;
}

/* Runs in the child: only what the engine needs comes along. */
static int run_engine(const struct process *process, const struct process_setup *setup, int channel,
                      pid_t monitor)
{
    const struct plan *plan = setup->plan;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != monitor || keep_descriptors(setup, channel) != 0) {
        return 1;
    }
    int root = engine_leave_root(plan->config);
    privileges_drop(&plan->identity);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of ids has cleared it */
    struct engine_setup engine = {
        .config = plan->config,
        .upstream_count = plan->upstreams_used,
        .known = plan->known,
        .workers = plan->workers,
        .stream_blocks = plan->stream_blocks,
        .sockets = plan->sockets,
        .socket_count = plan->socket_count,
        .metrics = process->metrics,
        .facts = plan->facts,
        .local = plan->local,
        .cache = {setup->cache.head, setup->cache.descriptor, (uint32_t)getpid()},
        .authorities = plan->authorities,
        .authorities_size = plan->authorities_size,
        .log_descriptor = setup->log_descriptor,
        .channel = channel,
        .root = root,
    };
    return engine_run(&engine);
}

static void label_meters(const struct process *process, const struct plan *plan)
{
    for (size_t i = 0; i < plan->upstreams_used; i++) {
        metrics_label_upstream(process->metrics, i, plan->config->upstreams[i].label);
    }
    for (size_t i = 0; i < plan->config->bootstrap_count; i++) {
        metrics_label_upstream(process->metrics, plan->upstreams_used + i, plan->config->bootstrap[i].label);
    }
}

static int fork_engine(struct process *process, const struct process_setup *setup)
{
    int pair[2];
    int error = net_local_pair(pair);
    if (error != 0) {
        return error;
    }
    pid_t monitor = getpid();
    pid_t engine = fork();
    if (engine == 0) {
        exit(run_engine(process, setup, pair[1], monitor));
    }
    net_close(pair[1]);
    if (engine < 0) {
        error = error_from_errno(errno);
        net_close(pair[0]);
        return error;
    }
    process->pid = engine;
    if (event_watch_add(process->supervisor->loop, &process->channel, pair[0], EVENT_READ) != 0) {
        net_close(pair[0]); /* an engine without a channel goes at once, and is reaped like any other */
    }
    return 0;
}

static struct process *find_place(struct supervisor *supervisor)
{
    for (size_t i = 0; i < BOOT_ENGINES_MAX; i++) {
        if (supervisor->processes[i].state == PROCESS_FREE) {
            return &supervisor->processes[i];
        }
    }
    return NULL;
}

size_t process_count(const struct supervisor *supervisor)
{
    size_t count = 0;
    for (size_t i = 0; i < BOOT_ENGINES_MAX; i++) {
        count += supervisor->processes[i].state != PROCESS_FREE;
    }
    return count;
}

bool process_has_place(const struct supervisor *supervisor)
{
    return process_count(supervisor) < BOOT_ENGINES_MAX;
}

static void on_kill(struct event_timer *timer)
{
    struct process *process = container_of(timer, struct process, kill);
    if (process->state == PROCESS_STARTING) {
        snprintf(process->reason, sizeof process->reason, "the engine does not serve after %ju s",
                 (uintmax_t)(PROCESS_START_PATIENCE / CLOCK_SECOND));
    }
    kill(process->pid, SIGKILL);
}

static void kill_after(struct process *process, uint64_t delay)
{
    struct event_loop *loop = process->supervisor->loop;
    event_timer_set(loop, &process->kill, event_now(loop) + delay);
}

int process_start(struct supervisor *supervisor, const struct process_setup *setup, struct process **out)
{
    struct process *process = find_place(supervisor);
    if (process == NULL) {
        return ERROR_EXHAUSTED;
    }
    *process = (struct process){.supervisor = supervisor,
                                .state = PROCESS_STARTING,
                                .channel.ready = on_letter,
                                .started_at = clock_monotonic()};
    event_timer_init(&process->kill, on_kill);
    int error = metrics_open(setup->plan->workers, &process->metrics, &process->metrics_descriptor);
    if (error == 0) {
        label_meters(process, setup->plan);
        error = fork_engine(process, setup);
        if (error != 0) {
            metrics_close(process->metrics, process->metrics_descriptor);
        }
    }
    if (error != 0) {
        process->state = PROCESS_FREE;
        return error;
    }
    struct boot *boot = supervisor->boot;
    boot->living[boot->living_count++] = process->metrics;
    *out = process;
    return 0;
}

void process_expect(struct process *process)
{
    kill_after(process, PROCESS_START_PATIENCE);
}

void process_serve(struct process *process)
{
    event_timer_clear(&process->kill);
    process->state = PROCESS_SERVING;
}

void process_adopt(struct supervisor *supervisor, const struct handover_engine *engine)
{
    struct process *process = find_place(supervisor);
    assert(process != NULL); /* there are as many places as a handover has engines */
    *process = (struct process){.supervisor = supervisor,
                                .state = engine->serves ? PROCESS_SERVING : PROCESS_DRAINING,
                                .pid = engine->pid,
                                .is_of_before = true,
                                .channel.ready = on_letter,
                                .started_at = clock_monotonic()};
    event_timer_init(&process->kill, on_kill);
    if (metrics_adopt(engine->metrics, engine->metrics_size, &process->metrics) == 0) {
        process->metrics_descriptor = engine->metrics;
        supervisor->boot->living[supervisor->boot->living_count++] = process->metrics;
    } else {
        net_close(engine->metrics);
    }
    if (event_watch_add(supervisor->loop, &process->channel, engine->channel, EVENT_READ) != 0) {
        net_close(engine->channel);
    }
    if (engine->serves) {
        supervisor->current = process;
    } else {
        process_drain(process, supervisor->boot->plan->config->limits.drain_timeout);
    }
}

/* ---- it goes ---- */

void process_send(struct process *process, enum engine_letter letter, int passed)
{
    if (process->channel.loop != NULL) {
        uint8_t byte = (uint8_t)letter;
        net_local_send(process->channel.descriptor, span_of(&byte, 1), passed);
    }
}

void process_bequeath(struct process *process, struct process *heir)
{
    int pair[2];
    if (net_local_pair(pair) == 0) {
        process_send(heir, ENGINE_INHERIT, pair[1]);
        process_send(process, ENGINE_HEIR, pair[0]);
        net_close(pair[0]);
        net_close(pair[1]);
    }
}

void process_drain(struct process *process, uint64_t timeout)
{
    process->state = PROCESS_DRAINING;
    if (process->metrics != NULL) {
        metrics_retire(process->metrics);
    }
    process_send(process, ENGINE_DRAIN, -1);
    kill_after(process, timeout + KILL_PATIENCE);
}

void process_stop(struct process *process)
{
    process->state = PROCESS_DRAINING;
    process_send(process, ENGINE_STOP, -1);
    kill_after(process, KILL_PATIENCE);
}

static void forget_meters(struct boot *boot, const struct metrics *metrics)
{
    size_t kept = 0;
    for (size_t i = 0; i < boot->living_count; i++) {
        if (boot->living[i] != metrics) {
            boot->living[kept++] = boot->living[i];
        }
    }
    boot->living_count = kept;
}

void process_bury(struct process *process)
{
    struct boot *boot = process->supervisor->boot;
    for (unsigned i = 0; i < LAST_WORDS_MOST && process->channel.loop != NULL; i++) {
        on_letter(&process->channel, EVENT_READ);
    }
    close_channel(process);
    event_timer_clear(&process->kill);
    if (boot->cache.head != NULL) {
        cache_mend(&boot->cache, (uint32_t)process->pid);
    }
    if (process->metrics != NULL) {
        forget_meters(boot, process->metrics);
        metrics_fold(boot->total, process->metrics);
        metrics_close(process->metrics, process->metrics_descriptor);
    }
    process->state = PROCESS_FREE;
}

struct process *process_find(struct supervisor *supervisor, pid_t pid)
{
    for (size_t i = 0; i < BOOT_ENGINES_MAX; i++) {
        struct process *process = &supervisor->processes[i];
        if (process->state != PROCESS_FREE && process->pid == pid) {
            return process;
        }
    }
    return NULL;
}

void process_close_all(struct supervisor *supervisor)
{
    for (size_t i = 0; i < BOOT_ENGINES_MAX; i++) {
        if (supervisor->processes[i].state != PROCESS_FREE) {
            close_channel(&supervisor->processes[i]);
            event_timer_clear(&supervisor->processes[i].kill);
        }
    }
}
