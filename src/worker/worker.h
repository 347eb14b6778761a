/*
 * One thread with one of everything: loop, doors, hall, pool. It is opened on the thread that starts it, so
 * that whatever cannot be had is known before a query is read.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/hash.h"
#include "base/log.h"

#include "cache/cache.h"
#include "event/event.h"
#include "guard/guard.h"
#include "metrics/metrics.h"
#include "tls/tls.h"

#include "config/config.h"

#include "local/local.h"

/* A socket that is bound or listens already; it stays the caller's. */
struct worker_socket {
    int descriptor;
    bool udp;
    unsigned group;
};

/* Everything in it outlives the worker. */
struct worker_setup {
    unsigned number;
    unsigned workers; /* in all */
    const struct config *config;
    size_t upstream_count;            /* how many of the configuration's are used: the first ones */
    const struct address_list *known; /* of each of them that is known by name, or NULL */
    /* Its addresses are others than before; on the worker's thread. */
    void (*found)(void *owner, size_t upstream, const struct address_list *addresses);
    void *owner;
    size_t stream_blocks; /* of buffers for all its streams; see worker_buffers */
    struct tls_trust *trust;
    const struct guard_access *access;
    struct guard_connections *connections;
    const struct local *local; /* NULL: nothing is answered here */
    struct cache *cache;       /* NULL: nothing is kept */
    struct hash_key hash_key;
    struct metrics_worker *metrics;
    struct upstream_facts *facts; /* of all workers' servers; NULL: of none */
    const struct worker_socket *sockets;
    size_t socket_count;
    struct log *log;                    /* of this worker alone */
    struct event_mailbox *log_mailbox;  /* posted when events wait in it */
    struct event_mailbox *done_mailbox; /* posted when a drain is over, and when a pulse was answered */
    bool (*enter)(void *sandbox);       /* first thing on the thread, which ends where it is false; or NULL */
    void *sandbox;
};

/* What one of `workers` workers takes at most, in bytes, by what it is for. Buffers for streams come on top:
 * with less than `buffers_least` it does not work, with more it bears more slow clients. */
struct worker_memory {
    size_t queries, links, clients, buffers_least;
};

struct worker_memory worker_memory(const struct config *config, size_t upstream_count, unsigned workers);

/* How many blocks so many bytes of buffers are, `buffers_least` at least. */
size_t worker_buffers(size_t memory);

struct worker;

/* ERROR_MEMORY, ERROR_DESCRIPTORS, ... */
int worker_open(const struct worker_setup *setup, struct worker **out);

/* Begins to serve on a thread of its own. ERROR_SYSTEM. */
int worker_start(struct worker *worker);

/* From any thread: read nothing new, answer what waits, then end. Connections of clients go to the heir, as
 * listen_drain says it. */
void worker_drain(struct worker *worker, int heir);

/* From any thread: connections of clients come over this descriptor, as listen_inherit says it. What is more
 * than a worker bears is not watched by it. */
void worker_inherit(struct worker *worker, int descriptor);

/* From any thread: end with this turn. */
void worker_stop(struct worker *worker);

/* From any thread: whether a started worker has ended its drain. */
bool worker_is_done(const struct worker *worker);

/* From any thread: asks for a sign of life. A worker whose loop turns gives it in its next turn. */
void worker_pulse(struct worker *worker);

/* From any thread: whether each pulse was answered, or the worker has ended and owes nothing. */
bool worker_is_alive(const struct worker *worker);

/* Waits for the thread to end (after a drain or a stop), if it was started, and frees everything. */
void worker_close(struct worker *worker);

#endif
