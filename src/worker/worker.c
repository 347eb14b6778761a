/*
 * A worker puts its floors on top of each other and turns its loop. Nothing of a query happens here; what
 * happens here is the order in which things come up and go down.
 */
#include "worker/worker.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"

#include "net/net.h"

#include "worker/internal.h"

enum letter { LETTER_NONE, LETTER_DRAIN, LETTER_STOP };

/* Descriptors that connections come over, and of which the worker has not taken notice yet. */
enum { INHERITANCES = 4 };

struct worker {
    struct worker_setup setup;
    struct event_loop *loop;
    struct event_mailbox mailbox;
    atomic_int letter, heir, inheritances[INHERITANCES]; /* -1: none */
    bool draining, stopping;
    atomic_bool done;
    atomic_uint pulses, answered; /* pulses asked for, and those of them that a turn has seen */
    bool started;
    pthread_t thread;
    struct event_watch changes; /* of the network */
    struct event_timer settled;
    uint64_t dropped_before; /* events of the log that are counted already */
    uint64_t boot_ahead;     /* how far the boot clock is ahead of the monotonic one */
    bool clock_is_wrong;     /* the wall clock is before this program was made */
    struct random random;
    struct stream_shop shop;
    struct worker_servers servers;
    struct query_hall *hall;
    struct listen_hall *doors;
};

/* The boot clock runs on while the machine sleeps. */
#define SLEEP_LEAST CLOCK_SECOND

/* Changes of the network come in bursts, and are acted on once. */
#define SETTLE (250 * CLOCK_MILLISECOND)

/* ---- on the worker's thread ---- */

static void on_network_change(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    struct worker *worker = container_of(watch, struct worker, changes);
    if (net_changes_read(watch->descriptor) && !event_timer_pending(&worker->settled)) {
        event_timer_set(worker->loop, &worker->settled, event_now(worker->loop) + SETTLE);
    }
}

static void on_settled(struct event_timer *timer)
{
    worker_servers_trust_anew(&container_of(timer, struct worker, settled)->servers);
}

/* How far the boot clock is ahead. Read in this order it is never behind. */
static uint64_t read_boot_ahead(void)
{
    uint64_t monotonic = clock_monotonic();
    return clock_boot() - monotonic;
}

/* Looks once a turn, which is the first thing that happens after a sleep. */
static void notice_sleep(struct worker *worker)
{
    uint64_t ahead = read_boot_ahead();
    if (ahead > worker->boot_ahead + SLEEP_LEAST) {
        worker_servers_trust_anew(&worker->servers);
    }
    worker->boot_ahead = ahead;
}

static bool clock_is_wrong(void)
{
    return (int64_t)(clock_wall() / CLOCK_SECOND) < clock_source_date();
}

/* A server that failed by the clock need not wait for its back-off, and what was believed without the clock
 * has to be proven. Looks once a turn. */
static void notice_clock(struct worker *worker)
{
    bool was_wrong = worker->clock_is_wrong;
    worker->clock_is_wrong = clock_is_wrong();
    if (was_wrong && !worker->clock_is_wrong) {
        worker_servers_trust_anew(&worker->servers);
    }
}

static void answer_pulse(struct worker *worker)
{
    unsigned pulses = atomic_load_explicit(&worker->pulses, memory_order_acquire);
    if (atomic_exchange_explicit(&worker->answered, pulses, memory_order_acq_rel) != pulses) {
        event_mailbox_post(worker->setup.done_mailbox);
    }
}

/* Without a watch on it the connections go to another worker, or end with the engine of before. */
static void take_inheritances(struct worker *worker)
{
    for (size_t i = 0; i < INHERITANCES; i++) {
        int descriptor = atomic_exchange_explicit(&worker->inheritances[i], -1, memory_order_acq_rel);
        if (descriptor >= 0) {
            (void)listen_inherit(worker->doors, descriptor);
        }
    }
}

static void on_letter(struct event_mailbox *mailbox)
{
    struct worker *worker = container_of(mailbox, struct worker, mailbox);
    take_inheritances(worker);
    int letter = atomic_load_explicit(&worker->letter, memory_order_acquire);
    if (letter == LETTER_DRAIN && !worker->draining) {
        worker->draining = true;
        listen_drain(worker->doors, atomic_load_explicit(&worker->heir, memory_order_acquire));
    } else if (letter == LETTER_STOP) {
        worker->stopping = true;
    }
    answer_pulse(worker); /* when what was said before is done */
}

static void count_lost_events(struct worker *worker)
{
    uint64_t dropped = log_dropped(worker->setup.log);
    metrics_add(&worker->setup.metrics->meter[METRICS_LOG_DROPPED], dropped - worker->dropped_before);
    worker->dropped_before = dropped;
}

static bool enter_sandbox(const struct worker *worker)
{
    return worker->setup.enter == NULL || worker->setup.enter(worker->setup.sandbox);
}

static bool has_more_to_do(const struct worker *worker)
{
    if (worker->stopping) {
        return false;
    }
    return !worker->draining || query_pending(worker->hall) > 0 || listen_busy(worker->doors);
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    worker->stopping = !enter_sandbox(worker);
    while (has_more_to_do(worker)) {
        event_loop_turn(worker->loop, UINT64_MAX);
        notice_sleep(worker);
        notice_clock(worker);
        count_lost_events(worker);
        if (log_waiting(worker->setup.log)) {
            event_mailbox_post(worker->setup.log_mailbox);
        }
    }
    atomic_store_explicit(&worker->done, true, memory_order_release);
    event_mailbox_post(worker->setup.done_mailbox);
    return NULL;
}

/* ---- coming up ---- */

static int open_servers(struct worker *worker)
{
    struct upstream_surroundings around = {
        .loop = worker->loop,
        .shop = &worker->shop,
        .random = &worker->random,
        .log = worker->setup.log,
        .metrics = worker->setup.metrics,
        .facts = worker->setup.facts,
        .wall = clock_wall,
    };
    return worker_servers_open(&worker->servers, &worker->setup, &around);
}

static int open_hall(struct worker *worker)
{
    struct query_options options = worker_query_options(worker->setup.config, worker->setup.workers);
    options.hash_key = worker->setup.hash_key;
    options.worker = (uint16_t)worker->setup.number;
    struct query_surroundings around = {
        .loop = worker->loop,
        .pools = worker->servers.pools,
        .partitions = worker->servers.partitions,
        .access = worker->setup.access,
        .local = worker->setup.local,
        .cache = worker->setup.cache,
        .log = worker->setup.log,
        .metrics = worker->setup.metrics,
        .wall = clock_wall,
        .boot = clock_boot,
    };
    return query_hall_open(&options, &around, &worker->hall);
}

static int open_doors(struct worker *worker)
{
    struct listen_options options = worker_listen_options(worker->setup.config);
    struct listen_surroundings around = {
        .loop = worker->loop,
        .shop = &worker->shop,
        .hall = worker->hall,
        .connections = worker->setup.connections,
        .log = worker->setup.log,
        .metrics = worker->setup.metrics,
        .wall = clock_wall,
    };
    int error = listen_hall_open(&options, &around, &worker->doors);
    for (size_t i = 0; i < worker->setup.socket_count && error == 0; i++) {
        const struct worker_socket *socket = &worker->setup.sockets[i];
        error = socket->udp ? listen_udp_open(worker->doors, socket->descriptor, socket->group)
                            : listen_tcp_open(worker->doors, socket->descriptor, socket->group);
    }
    return error;
}

static int open_ground(struct worker *worker)
{
    int error = event_loop_open(&worker->loop);
    if (error != 0) {
        return error;
    }
    error = event_mailbox_open(worker->loop, &worker->mailbox, on_letter);
    if (error != 0) {
        event_loop_close(worker->loop);
        worker->loop = NULL;
        return error;
    }
    return stream_shop_open(&worker->shop, worker->loop, worker->setup.stream_blocks);
}

/* Where the system tells no news of its network, links are found dead one by one. */
static int open_changes(struct worker *worker)
{
    worker->boot_ahead = read_boot_ahead();
    worker->clock_is_wrong = clock_is_wrong();
    event_timer_init(&worker->settled, on_settled);
    int descriptor;
    int error = net_changes_open(&descriptor);
    if (error == ERROR_UNSUPPORTED || error == ERROR_PERMISSION) {
        return 0;
    }
    if (error != 0) {
        return error;
    }
    worker->changes.ready = on_network_change;
    error = event_watch_add(worker->loop, &worker->changes, descriptor, EVENT_READ);
    if (error != 0) {
        net_close(descriptor);
    }
    return error;
}

static void close_changes(struct worker *worker)
{
    if (worker->changes.loop != NULL) {
        int descriptor = worker->changes.descriptor;
        event_watch_remove(&worker->changes);
        event_timer_clear(&worker->settled);
        net_close(descriptor);
    }
}

int worker_open(const struct worker_setup *setup, struct worker **out)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL) {
        return ERROR_MEMORY;
    }
    worker->setup = *setup;
    atomic_init(&worker->heir, -1);
    for (size_t i = 0; i < INHERITANCES; i++) {
        atomic_init(&worker->inheritances[i], -1);
    }
    random_init(&worker->random);
    int (*const floors[])(struct worker *) = {open_ground, open_servers, open_changes, open_hall, open_doors};
    for (size_t i = 0; i < sizeof floors / sizeof floors[0]; i++) {
        int error = floors[i](worker);
        if (error != 0) {
            worker_close(worker);
            return error;
        }
    }
    *out = worker;
    return 0;
}

int worker_start(struct worker *worker)
{
    if (pthread_create(&worker->thread, NULL, run, worker) != 0) {
        return ERROR_SYSTEM;
    }
    worker->started = true;
    return 0;
}

/* ---- from other threads ---- */

static void send_letter(struct worker *worker, enum letter letter)
{
    atomic_store_explicit(&worker->letter, letter, memory_order_release);
    event_mailbox_post(&worker->mailbox);
}

void worker_drain(struct worker *worker, int heir)
{
    atomic_store_explicit(&worker->heir, heir, memory_order_release);
    send_letter(worker, LETTER_DRAIN);
}

void worker_inherit(struct worker *worker, int descriptor)
{
    int none = -1;
    for (size_t i = 0; i < INHERITANCES; i++, none = -1) {
        if (atomic_compare_exchange_strong(&worker->inheritances[i], &none, descriptor)) {
            event_mailbox_post(&worker->mailbox);
            return;
        }
    }
}

void worker_stop(struct worker *worker)
{
    send_letter(worker, LETTER_STOP);
}

bool worker_is_done(const struct worker *worker)
{
    return atomic_load_explicit(&worker->done, memory_order_acquire);
}

void worker_pulse(struct worker *worker)
{
    atomic_fetch_add_explicit(&worker->pulses, 1, memory_order_acq_rel);
    event_mailbox_post(&worker->mailbox);
}

bool worker_is_alive(const struct worker *worker)
{
    return worker_is_done(worker) || atomic_load_explicit(&worker->answered, memory_order_acquire) ==
                                         atomic_load_explicit(&worker->pulses, memory_order_acquire);
}

/* ---- going down, from the top floor to the ground ---- */

void worker_close(struct worker *worker)
{
    if (worker->started) {
        pthread_join(worker->thread, NULL);
    }
    if (worker->doors != NULL) {
        listen_hall_close(worker->doors);
    }
    if (worker->hall != NULL) {
        query_hall_close(worker->hall);
    }
    worker_servers_close(&worker->servers);
    if (worker->shop.scratch != NULL) {
        stream_shop_close(&worker->shop);
    }
    if (worker->loop != NULL) {
        close_changes(worker);
        event_mailbox_close(&worker->mailbox);
        event_loop_close(worker->loop);
    }
    free(worker);
}
