/*
 * The hall: a question's life from the bytes of a client to the bytes for it. It knows steps, not sockets: a
 * message comes with a door, and the answer leaves through that door. Of one worker; no locks.
 */
#ifndef QUERY_QUERY_H
#define QUERY_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"

#include "cache/cache.h"
#include "event/event.h"
#include "guard/guard.h"
#include "metrics/metrics.h"
#include "net/net.h"

#include "upstream/upstream.h"

#include "local/local.h"

enum query_transport { QUERY_UDP, QUERY_TCP };

/* How much of a query the log may know. */
enum query_log { QUERY_LOG_OFF, QUERY_LOG_ANONYMOUS, QUERY_LOG_FULL };

/* Where questions come from and answers go: one for each UDP socket and one for each connection. */
struct query_door {
    enum query_transport transport;
    unsigned group; /* whom its questions are asked where no route says otherwise */
    int keepalive;  /* offered to clients that ask for it, in units of 100 ms; -1 where the transport has none
                     */
    /* Sends one message to a client of this door; the bytes are borrowed until it returns. */
    void (*reply)(struct query_door *door, const struct net_peer *peer, struct span message);
    struct list waiting; /* questions that will be answered here */
    size_t waiting_count;
};

/* How long answers are kept, in seconds. */
struct query_lifetimes {
    uint32_t least, most; /* of an answer with records */
    uint32_t denial_most; /* of an answer that there is nothing */
    uint32_t failure;     /* of a server's first SERVFAIL; 0: not at all */
};

/* Answers whose time is over, while no server answers (RFC 8767). */
struct query_stale {
    uint32_t most;           /* seconds after an answer's time was over; 0: never given */
    uint64_t client_timeout; /* nanoseconds from arrival until it is given */
};

struct query_options {
    uint64_t query_timeout;      /* nanoseconds from arrival to SERVFAIL */
    size_t pending;              /* most questions that wait */
    size_t long_messages;        /* most of them that are signed and beyond what is rewritten: 64 KiB each */
    unsigned pending_per_client; /* most of one client address */
    struct hash_key hash_key;
    size_t padding_block; /* towards the upstream */
    bool strip_client_subnet;
    struct query_lifetimes lifetimes;
    struct query_stale stale;
    bool prefetch;        /* asks anew for what is asked again in the last tenth of its life */
    uint64_t udp_discard; /* nanoseconds; a later answer is not sent to a UDP client that has many waiting */
    enum query_log log_queries;
    uint16_t worker; /* makes the ids of log lines unique */
};

struct query_surroundings {
    struct event_loop *loop;
    struct upstream_pool *const *pools; /* by group; outlive the hall */
    const uint8_t *partitions;          /* of the cache, by group, DNS_KEY_GROUP_MAX at most; as the pools */
    const struct guard_access *access;
    const struct local *local; /* shared by all workers; NULL: nothing is answered here */
    struct cache *cache;       /* shared by all workers; NULL: nothing is kept */
    struct log *log;
    struct metrics_worker *metrics;
    uint64_t (*wall)(void);
    uint64_t (*boot)(void); /* the clock of the cache, in nanoseconds */
};

struct query_hall;

/* Reserves room for all questions that may wait. The caller closes it. ERROR_MEMORY. */
int query_hall_open(const struct query_options *options, const struct query_surroundings *surroundings,
                    struct query_hall **out);

/* The bytes that a hall with these options reserves. */
size_t query_hall_memory(const struct query_options *options);

/* Forgets the questions that still wait, without an answer. */
void query_hall_close(struct query_hall *hall);

/* A door without questions; `reply` is called with its bytes as long as the door has not left. */
void query_door_init(struct query_door *door, enum query_transport transport, int keepalive,
                     void (*reply)(struct query_door *, const struct net_peer *, struct span));

/* The door goes away: questions that wait behind it lose their client, not their way. */
void query_door_leave(struct query_hall *hall, struct query_door *door);

/* One message of a client. It is answered through the door, before the return or later, or dropped and
 * counted. */
void query_begin(struct query_hall *hall, struct query_door *door, const struct net_peer *peer,
                 struct span message);

/* Questions that a client waits for now. */
size_t query_pending(const struct query_hall *hall);

#endif
