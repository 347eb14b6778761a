/*
 * The front doors: UDP sockets and TCP connections, in the shape that the hall knows. Of one worker.
 */
#ifndef LISTEN_LISTEN_H
#define LISTEN_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

#include "event/event.h"
#include "guard/guard.h"
#include "metrics/metrics.h"

#include "stream/stream.h"

#include "query/query.h"

struct listen_options {
    uint64_t tcp_idle, tcp_message_timeout, tcp_write_timeout; /* nanoseconds */
    size_t tcp_output;                                         /* bytes that may wait for one client */
    size_t tcp_connections;                                    /* most of this worker */
};

struct listen_surroundings {
    struct event_loop *loop;
    struct stream_shop *shop;
    struct query_hall *hall;
    struct guard_connections *connections; /* shared by all workers */
    struct log *log;
    struct metrics_worker *metrics;
    uint64_t (*wall)(void);
};

struct listen_hall;

/* What the doors of one worker share. The caller closes it after its doors. ERROR_MEMORY. */
int listen_hall_open(const struct listen_options *options, const struct listen_surroundings *surroundings,
                     struct listen_hall **out);

/* The bytes that a hall with these options reserves, and one door for UDP. */
size_t listen_hall_memory(const struct listen_options *options);
size_t listen_udp_memory(void);

/* Closes every door and connection; the descriptors of the listening sockets stay open. */
void listen_hall_close(struct listen_hall *hall);

/* Begins to serve a bound UDP socket or a listening TCP socket; the descriptor stays the caller's.
 * Questions that no route has are asked at this group. ERROR_MEMORY, ERROR_EXHAUSTED. */
int listen_udp_open(struct listen_hall *hall, int descriptor, unsigned group);
int listen_tcp_open(struct listen_hall *hall, int descriptor, unsigned group);

/* No new message from here on: what UDP sockets hold is taken and no more is read, no connection is accepted.
 * With an heir, the other end of what somebody passed to listen_inherit, no connection is read any more: each
 * goes there as soon as its last answer has left. Without one (-1), what connections hold is taken by the end
 * of this turn, and each is closed when its last answer has left. The descriptor stays the caller's; it may
 * become another heir's (net_replace) at any time. */
void listen_drain(struct listen_hall *hall, int heir);

/* Goes on with connections that come over this descriptor, one end of net_local_pair, which stays the
 * caller's until the hall is closed; more than one hall may read it. They belong to the TCP door at the same
 * address; where there is none, they are closed. ERROR_EXHAUSTED, ERROR_MEMORY. */
int listen_inherit(struct listen_hall *hall, int descriptor);

/* Whether anything is still open after a drain: connections with questions or with answers on their way, and
 * ways by which an engine of before may send more of them. */
bool listen_busy(const struct listen_hall *hall);

#endif
