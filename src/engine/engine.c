/*
 * The engine's main thread: brings the workers up, waits for letters from the process that supervises it, and
 * takes the workers down again, at the latest when the drain has lasted as long as it may.
 */
#include "engine/engine.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

#include "event/event.h"
#include "guard/guard.h"
#include "net/net.h"
#include "tls/tls.h"

#include "worker/worker.h"

#include "engine/announce.h"
#include "engine/descriptors.h"
#include "engine/log_writer.h"
#include "engine/passing.h"
#include "engine/sandbox.h"
#include "engine/trap.h"

#define LOG_PATIENCE CLOCK_SECOND

struct engine {
    const struct engine_setup *setup;
    struct event_loop *loop;
    struct event_watch channel;
    struct event_mailbox done;
    struct event_timer deadline;
    struct log_writer *log;
    struct tls_trust *trust;
    struct guard_access *access;
    struct guard_connections *connections;
    struct hash_key hash_key;
    struct worker_socket *sockets;
    struct worker *workers[METRICS_WORKERS_MAX];
    unsigned worker_count;
    struct cache cache;
    unsigned most_connections;
    struct sandbox sandbox;
    struct passing passing;
    bool ending;
    bool pulsing;                    /* a pulse is not answered yet */
    char reason[ENGINE_REASON_SIZE]; /* why it cannot start */
};

static struct log *own_log(struct engine *engine)
{
    return log_writer_ring(engine->log, engine->setup->workers);
}

static void end_event(struct engine *engine)
{
    log_end(own_log(engine), clock_wall());
    event_mailbox_post(log_writer_mailbox(engine->log));
}

static int send_letter(struct engine *engine, enum engine_letter letter, const char *text)
{
    uint8_t packet[1 + ENGINE_REASON_SIZE] = {(uint8_t)letter};
    size_t size = strnlen(text, ENGINE_REASON_SIZE);
    memcpy(packet + 1, text, size);
    return net_local_send(engine->setup->channel, span_of(packet, 1 + size), -1);
}

/* From the threads of the workers: nothing but the descriptor is touched. A letter that does not fit into the
 * channel comes again when the addresses change. */
static void on_found(void *owner, size_t upstream, const struct address_list *addresses)
{
    const struct engine *engine = owner;
    uint8_t letter[ENGINE_ADDRESSES_SIZE];
    size_t size = engine_addresses_write(upstream, addresses, letter);
    (void)net_local_send(engine->setup->channel, span_of(letter, size), -1);
}

/* ---- the end ---- */

static void stop_workers(struct engine *engine)
{
    for (unsigned i = 0; i < engine->worker_count; i++) {
        worker_stop(engine->workers[i]);
    }
    engine->ending = true;
    event_loop_stop(engine->loop);
}

static void on_deadline(struct event_timer *timer)
{
    stop_workers(container_of(timer, struct engine, deadline));
}

static void drain_workers(struct engine *engine)
{
    if (engine->ending) {
        return;
    }
    engine->ending = true;
    event_timer_set(engine->loop, &engine->deadline,
                    event_now(engine->loop) + engine->setup->config->limits.drain_timeout);
    for (unsigned i = 0; i < engine->worker_count; i++) {
        worker_drain(engine->workers[i], engine->passing.heir);
    }
}

static void notice_end(struct engine *engine)
{
    for (unsigned i = 0; i < engine->worker_count; i++) {
        if (!worker_is_done(engine->workers[i])) {
            return;
        }
    }
    event_loop_stop(engine->loop);
}

/* ---- signs of life ---- */

static void notice_pulse(struct engine *engine)
{
    bool alive = engine->pulsing;
    for (unsigned i = 0; i < engine->worker_count; i++) {
        alive = alive && worker_is_alive(engine->workers[i]);
    }
    if (alive) {
        engine->pulsing = false;
        (void)send_letter(engine, ENGINE_PULSE, ""); /* without room for it the next one says as much */
    }
}

static void begin_pulse(struct engine *engine)
{
    engine->pulsing = true;
    for (unsigned i = 0; i < engine->worker_count; i++) {
        worker_pulse(engine->workers[i]);
    }
    notice_pulse(engine);
}

static void on_worker_word(struct event_mailbox *mailbox)
{
    struct engine *engine = container_of(mailbox, struct engine, done);
    notice_pulse(engine);
    notice_end(engine);
}

/* ---- letters ---- */

static void redirect_log(struct engine *engine, int descriptor)
{
    if (descriptor >= 0) {
        log_writer_redirect(engine->log, descriptor);
    }
}

static void inherit(struct engine *engine, int descriptor)
{
    if (passing_inherit(&engine->passing, descriptor)) {
        for (unsigned i = 0; i < engine->worker_count; i++) {
            worker_inherit(engine->workers[i], descriptor);
        }
    }
}

static void on_channel(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    struct engine *engine = container_of(watch, struct engine, channel);
    uint8_t packet[1];
    int passed;
    int size = net_local_receive(watch->descriptor, packet, sizeof packet, &passed);
    if (size == ERROR_AGAIN || size == ERROR_MEMORY) {
        return; /* it is still there to be read */
    }
    if (size <= 0 || packet[0] == ENGINE_STOP) {
        stop_workers(engine);
    } else if (packet[0] == ENGINE_DRAIN) {
        drain_workers(engine);
    } else if (packet[0] == ENGINE_LOG) {
        redirect_log(engine, passed);
    } else if (packet[0] == ENGINE_HEIR) {
        passing_set_heir(&engine->passing, passed, engine->ending);
    } else if (packet[0] == ENGINE_INHERIT) {
        inherit(engine, passed);
    } else if (packet[0] == ENGINE_PULSE) {
        begin_pulse(engine);
    }
}

/* ---- coming up ---- */

static int fail(struct engine *engine, int error, const char *what)
{
    snprintf(engine->reason, sizeof engine->reason, "%s: %s", what, error_text(error));
    return error;
}

static int open_loop(struct engine *engine)
{
    int error = event_loop_open(&engine->loop);
    if (error != 0) {
        return fail(engine, error, "the event loop cannot be opened");
    }
    event_timer_init(&engine->deadline, on_deadline);
    error = event_mailbox_open(engine->loop, &engine->done, on_worker_word);
    if (error == 0) {
        engine->channel.ready = on_channel;
        error = event_watch_add(engine->loop, &engine->channel, engine->setup->channel, EVENT_READ);
    }
    return error == 0 ? 0 : fail(engine, error, "the event loop cannot watch its channel");
}

static int open_log(struct engine *engine)
{
    const struct engine_setup *setup = engine->setup;
    struct log_writer_setup log = {
        .level = setup->config->log.level,
        .format = setup->config->log.format,
        .rings = setup->workers + 1,
        .descriptor = setup->log_descriptor,
        .metrics = setup->metrics,
        .enter = sandbox_enter_log,
        .sandbox = &engine->sandbox,
    };
    int error = log_writer_open(&log, &engine->log);
    return error == 0 ? 0 : fail(engine, error, "the log cannot be opened");
}

static int build_trust(struct engine *engine)
{
    size_t size = engine->setup->authorities_size;
    void *text;
    if (engine->setup->authorities < 0) {
        return 0;
    }
    int error = memory_map(engine->setup->authorities, size, &text);
    if (error != 0) {
        return fail(engine, error, "the authorities");
    }
    error = tls_trust_build(span_of(text, size), &engine->trust);
    memory_close(text, size);
    if (error == ERROR_MEMORY) {
        return fail(engine, error, "the authorities cannot be read");
    }
    if (error != 0) {
        snprintf(engine->reason, sizeof engine->reason, "tls.ca: %s: %s", engine->setup->config->tls.ca,
                 error == ERROR_NOT_FOUND ? "holds no certificate"
                                          : "holds a certificate that cannot be read");
    }
    return error;
}

static void log_few_connections(struct engine *engine, uint64_t limit, uint64_t connections)
{
    if (log_begin(own_log(engine), LOG_WARNING, "fd_limit")) {
        log_number(own_log(engine), "limit", (int64_t)limit);
        log_number(own_log(engine), "connections", (int64_t)connections);
        log_text(own_log(engine), "hint",
                 "fewer clients than limits.tcp_connections fit: raise the limit (ulimit -n)");
        end_event(engine);
    }
}

/* Connections of clients must leave enough descriptors for the links to servers, the log and the loops. */
static int share_descriptors(struct engine *engine)
{
    struct rlimit limit;
    uint64_t own = descriptors_own(engine->setup);
    uint64_t connections = engine->setup->config->limits.tcp_connections;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < own + connections) {
        if (limit.rlim_cur <= own) {
            snprintf(engine->reason, sizeof engine->reason,
                     "the limit of open files is %ju, and this configuration needs %ju besides its clients: "
                     "raise it "
                     "(ulimit -n), or take fewer workers, addresses or upstreams%s",
                     (uintmax_t)limit.rlim_cur, (uintmax_t)own,
                     descriptors_are_for_udp(engine->setup) ? ", or a lower upstream.in_flight" : "");
            return ERROR_DESCRIPTORS;
        }
        connections = limit.rlim_cur - own;
        log_few_connections(engine, limit.rlim_cur, connections);
    }
    engine->most_connections = (unsigned)connections;
    return 0;
}

static int build_guards(struct engine *engine)
{
    const struct config *config = engine->setup->config;
    struct random random;
    random_init(&random);
    engine->hash_key = (struct hash_key){{random_u64(&random), random_u64(&random)}};
    int error = guard_access_build(config->access.allow.items, config->access.allow.count,
                                   config->access.deny.items, config->access.deny.count, &engine->access);
    if (error == 0) {
        error =
            guard_connections_open(engine->hash_key, engine->most_connections,
                                   (unsigned)config->limits.tcp_connections_per_client, &engine->connections);
    }
    return error == 0 ? 0 : fail(engine, error, "the access lists cannot be built");
}

static int copy_sockets(struct engine *engine)
{
    const struct engine_setup *setup = engine->setup;
    engine->sockets = calloc(setup->socket_count + 1, sizeof *engine->sockets);
    if (engine->sockets == NULL) {
        return fail(engine, ERROR_MEMORY, "the list of sockets");
    }
    for (size_t i = 0; i < setup->socket_count; i++) {
        engine->sockets[i] = (struct worker_socket){.descriptor = setup->sockets[i].descriptor,
                                                    .udp = setup->sockets[i].udp,
                                                    .group = setup->sockets[i].group};
    }
    return 0;
}

static int open_worker(struct engine *engine, unsigned number)
{
    const struct engine_setup *setup = engine->setup;
    size_t first = 0, count = 0;
    while (first < setup->socket_count && setup->sockets[first].worker != number) {
        first++;
    }
    while (first + count < setup->socket_count && setup->sockets[first + count].worker == number) {
        count++;
    }
    struct worker_setup worker = {
        .number = number,
        .workers = setup->workers,
        .config = setup->config,
        .upstream_count = setup->upstream_count,
        .known = setup->known,
        .found = on_found,
        .owner = engine,
        .stream_blocks = setup->stream_blocks,
        .trust = engine->trust,
        .access = engine->access,
        .connections = engine->connections,
        .local = setup->local,
        .cache = engine->cache.head != NULL ? &engine->cache : NULL,
        .hash_key = engine->hash_key,
        .metrics = &setup->metrics->worker[number],
        .facts = setup->facts,
        .sockets = engine->sockets + first,
        .socket_count = count,
        .log = log_writer_ring(engine->log, number),
        .log_mailbox = log_writer_mailbox(engine->log),
        .done_mailbox = &engine->done,
        .enter = sandbox_enter_worker,
        .sandbox = &engine->sandbox,
    };
    int error = worker_open(&worker, &engine->workers[number]);
    if (error != 0) {
        return fail(engine, error,
                    error == ERROR_MEMORY
                        ? "the memory of a worker cannot be reserved (lower limits.memory, or "
                          "raise the limit on address space: ulimit -v)"
                        : "a worker cannot be opened");
    }
    engine->worker_count++;
    return 0;
}

static int open_workers(struct engine *engine)
{
    for (unsigned i = 0; i < engine->setup->workers; i++) {
        int error = open_worker(engine, i);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

/* After everything else that the library is asked for at the start. */
static int load_library(struct engine *engine)
{
    int error = tls_library_load();
    return error == 0 ? 0 : fail(engine, error, "the TLS library cannot be loaded");
}

static int open_sandbox(struct engine *engine)
{
    const struct engine_setup *setup = engine->setup;
    trap_open(setup->channel);
    sandbox_open(&engine->sandbox, setup->config->sandbox, setup->root);
    return 0;
}

/* The threads are there, and wait for it. */
static int shut_sandbox(struct engine *engine)
{
    struct metrics *metrics = engine->setup->metrics;
    sandbox_shut(&engine->sandbox, engine->worker_count + 1, CALLS_MAIN);
    metrics_set(&metrics->worker[metrics->workers - 1].meter[METRICS_SANDBOX_DEGRADED],
                sandbox_degraded(&engine->sandbox));
    return sandbox_judge(&engine->sandbox, engine->reason, sizeof engine->reason);
}

static int start_threads(struct engine *engine)
{
    int error = log_writer_start(engine->log);
    for (unsigned i = 0; i < engine->worker_count && error == 0; i++) {
        error = worker_start(engine->workers[i]);
    }
    if (error != 0) {
        sandbox_refuse(&engine->sandbox);
        return fail(engine, error, "a thread cannot be started");
    }
    error = shut_sandbox(engine);
    if (error != 0) {
        return error;
    }
    error = send_letter(engine, ENGINE_READY, "");
    if (error != 0) {
        return fail(engine, error, "the supervisor cannot be told");
    }
    announce_start(engine->setup, &engine->sandbox, engine->log);
    return 0;
}

static int come_up(struct engine *engine)
{
    int (*const floors[])(struct engine *) = {open_loop,    open_log,     share_descriptors, build_trust,
                                              build_guards, copy_sockets, open_workers,      load_library,
                                              open_sandbox, start_threads};
    for (size_t i = 0; i < sizeof floors / sizeof floors[0]; i++) {
        int error = floors[i](engine);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

/* ---- going down ---- */

static void go_down(struct engine *engine)
{
    if (engine->loop != NULL) {
        stop_workers(engine);
    }
    for (unsigned i = 0; i < engine->worker_count; i++) {
        worker_close(engine->workers[i]);
    }
    if (engine->log != NULL) {
        log_writer_close(engine->log, LOG_PATIENCE);
    }
    sandbox_close(&engine->sandbox);
    passing_close(&engine->passing);
    free(engine->sockets);
    if (engine->connections != NULL) {
        guard_connections_close(engine->connections);
    }
    guard_access_free(engine->access);
    tls_trust_free(engine->trust);
    if (engine->loop != NULL) {
        event_timer_clear(&engine->deadline);
        event_mailbox_close(&engine->done);
        event_watch_remove(&engine->channel);
        event_loop_close(engine->loop);
    }
}

int engine_run(const struct engine_setup *setup)
{
    signal(SIGPIPE, SIG_IGN);
    struct engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return 1;
    }
    engine->setup = setup;
    engine->cache = setup->cache;
    passing_init(&engine->passing);
    int error = come_up(engine);
    if (error != 0) {
        (void)send_letter(engine, ENGINE_FAILED, engine->reason);
    } else {
        event_loop_run(engine->loop);
    }
    go_down(engine);
    free(engine);
    return error == 0 ? 0 : 1;
}
