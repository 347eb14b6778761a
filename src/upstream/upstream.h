/*
 * The back door: servers reached over streams that stay open, pipelined and out of order (RFC 7766, RFC
 * 7858), encrypted or, where the configuration says so, in clear text; there also over UDP. It is handed a
 * question and gives back one outcome, whatever happens to connections in between: a closed link, a silent
 * server, a refused handshake are its own affairs until the question's deadline. A pool is a group of
 * servers: what one cannot answer another of it may, and never one of another pool. Of one worker; no locks.
 */
#ifndef UPSTREAM_UPSTREAM_H
#define UPSTREAM_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/log.h"
#include "base/random.h"

#include "dns/dns.h"
#include "event/event.h"
#include "metrics/metrics.h"
#include "tls/tls.h"

#include "stream/stream.h"

enum {
    UPSTREAM_SERVERS_MAX = 32,
    UPSTREAM_TRIES = 3,    /* most times one question is sent to one server (RFC 9520, 3.1) */
    UPSTREAM_ATTEMPTS = 4, /* most places at which one question may be out at a time */
    UPSTREAM_IN_FLIGHT_MAX = 4096,
    UPSTREAM_LINKS_MAX = 16,
};

/* How one of several servers that are equally fit is chosen. */
enum upstream_policy {
    UPSTREAM_ORDERED,     /* the first one */
    UPSTREAM_FASTEST,     /* by the latency of real answers, with a small share for the others */
    UPSTREAM_ROUND_ROBIN, /* in turn, by weight */
    UPSTREAM_RANDOM,      /* by chance, by weight */
    UPSTREAM_HASH,        /* by the name that is asked for, by weight: each has its own part of the names */
};

/* How a server is asked. */
enum upstream_transport { UPSTREAM_TLS, UPSTREAM_TCP, UPSTREAM_UDP };

/* Whoever finds out the addresses of a server; embedded in an object of its own. */
struct upstream_lookup {
    /* The server is going to be asked: what has run out should be found out anew. `is_urgent`: no address is
     * known, or none of those that are works. It may come with every question, and must not call the pool. */
    void (*wanted)(struct upstream_lookup *lookup, bool is_urgent);
};

/* One server, in the order of preference. */
struct upstream_server_options {
    const char *label; /* for logs, meters and extended errors; outlives the pool */
    enum upstream_transport transport;
    struct address_list addresses;  /* may be empty where there is a lookup */
    struct upstream_lookup *lookup; /* outlives the pool; NULL: the addresses never change */
    struct tls_client *client; /* of TLS: its context is of this server's identity alone; outlives the pool */
    size_t page;               /* of the meters and the facts */
    unsigned weight;           /* 1 at least */
};

struct upstream_options {
    uint64_t attempt_timeout; /* nanoseconds, all of them */
    uint64_t connect_timeout;
    uint64_t handshake_timeout;
    uint64_t refused_retry;
    uint64_t backoff_min, backoff_max;
    unsigned handshakes_per_second; /* a server */
    unsigned in_flight;             /* a link, or datagrams of a server; 1 to UPSTREAM_IN_FLIGHT_MAX */
    unsigned links;                 /* most to one server, 1 to UPSTREAM_LINKS_MAX */
    uint64_t max_age;               /* of a link, changed by chance by up to a fifth */
    uint64_t warm;                  /* how long after the last question links are kept ready */
    enum upstream_policy policy;
    bool hedge; /* a question whose answer is late is asked once more beside */
    /* All of them over TLS, or none: what one cannot answer is asked at another, and must not become readable
     * on that way. */
    const struct upstream_server_options *servers;
    size_t server_count; /* 1 to UPSTREAM_SERVERS_MAX */
};

/* What all workers know of the servers: a mapping that outlives an engine. */
struct upstream_facts;

/* Shared with child processes; nothing is known yet. `descriptor` as memory_share tells. ERROR_MEMORY,
 * ERROR_DESCRIPTORS. */
int upstream_facts_open(struct upstream_facts **out, int *descriptor);
void upstream_facts_close(struct upstream_facts *facts, int descriptor);

/* What is known of the server of one page, into a page of another mapping. */
void upstream_facts_copy(struct upstream_facts *to, size_t page, const struct upstream_facts *from,
                         size_t page_before);

/* Whether the server of this page was found to fail and has not been reached since. */
bool upstream_facts_is_down(const struct upstream_facts *facts, size_t page);

/* What the pool lives on; all of it outlives the pool. */
struct upstream_surroundings {
    struct event_loop *loop;
    struct stream_shop *shop;
    struct random *random;
    struct log *log;
    struct metrics_worker *metrics;
    struct upstream_facts *facts; /* NULL: nobody else asks these servers */
    uint64_t (*wall)(void);
};

struct upstream_pool;

/* Opens no connection: that is left to the first question. Copies the options. The caller closes it.
 * ERROR_MEMORY. */
int upstream_pool_open(const struct upstream_options *options,
                       const struct upstream_surroundings *surroundings, struct upstream_pool **out);

/* The most bytes that a pool with these options takes, what TLS needs for its links included. */
size_t upstream_pool_memory(const struct upstream_options *options);

/* How a question must be written that any of the pool's servers may get. */
struct upstream_form {
    bool pads;      /* padding hides something: all that goes out is encrypted (RFC 7830, 6) */
    bool keepalive; /* all of them are asked over streams (RFC 7828, 3.2.1) */
};
struct upstream_form upstream_pool_form(const struct upstream_pool *pool);

/* Closes every link. All questions must be done or forgotten: asserted. */
void upstream_pool_close(struct upstream_pool *pool);

/* From here on these are the addresses of the server with this index; one at least. Those of before are tried
 * after them until one of the new ones has worked. A link to an address that is none of them is replaced by
 * another one before it goes. */
void upstream_pool_set_addresses(struct upstream_pool *pool, size_t server,
                                 const struct address_list *addresses);

/* The addresses of the server with this index could not be found out, for this reason (a static word). Where
 * it has none, it is down. */
void upstream_pool_unresolved(struct upstream_pool *pool, size_t server, const char *reason);

/* Whether questions came of late (`warm`). */
bool upstream_pool_is_warm(const struct upstream_pool *pool);

struct upstream_ask;
struct upstream_link;
struct upstream_datagram;
struct upstream_server;

/* What came of a question. */
struct upstream_result {
    /* 0: `answer` holds what a server said, validated and about this question. Else no server gave an answer
     * in time: ERROR_TIMEOUT, with the server's label and the reason word of the last thing that went wrong.
     */
    int error;
    const struct dns_answer *answer; /* borrowed until `done` returns */
    const char *server;              /* label, or NULL when none was reached */
    const char *reason;   /* static word such as "timeout", "refused", "expired"; NULL when error is 0 */
    bool malformed;       /* the last thing that went wrong was an answer that breaks the format */
    int failure_rcode;    /* the last failure a server answered with, -1 when none did */
    int failure_extended; /* its extended error code, or DNS_EXTENDED_NONE */
};

/* A question at one server. */
struct upstream_attempt {
    struct upstream_ask *ask;
    struct upstream_server *server;     /* NULL while unused */
    struct upstream_link *link;         /* that carries it, */
    struct upstream_datagram *datagram; /* or the one that it is; the other is NULL */
    struct list node;                   /* in the link's list, oldest first */
    uint64_t sent_at;
    uint16_t slot;
    bool is_copy;
};

/* A question to the servers; embedded in the caller's own object. */
struct upstream_ask {
    /* Set by the caller, unchanged and in place until `done`. */
    uint8_t *message; /* a whole query; the pool writes an id into it */
    size_t message_size;
    struct span question; /* within it */
    bool is_signed;       /* it ends in TSIG or SIG(0): only then may its answer */
    uint64_t deadline;    /* of the loop's clock; never moved */
    uint64_t id;          /* for log lines */
    void (*done)(struct upstream_ask *ask, const struct upstream_result *result);

    /* The pool's. */
    struct upstream_pool *pool;
    struct upstream_attempt attempt[UPSTREAM_ATTEMPTS];
    struct list waiting;                /* in a server's or the pool's list while it is not sent */
    struct upstream_server *waiting_at; /* whose list that is, NULL for the pool's */
    struct event_timer timer;
    struct event_timer hedge;     /* see hedge.c */
    struct upstream_server *late; /* for whose answer a copy is out */
    const char *last_server, *last_reason;
    int16_t failure_rcode, failure_extended;
    bool malformed;
    bool retried;        /* it was sent before, or waited in vain */
    bool needs_stream;   /* no datagram carries the question, or its answer */
    bool second_opinion; /* asked once more elsewhere after a server answered with a failure */
    uint8_t sends;       /* how often it went out */
    uint8_t tries[UPSTREAM_SERVERS_MAX];
};

/* Asks. `done` comes exactly once, later, never from inside this call, at the latest at the deadline. */
void upstream_ask(struct upstream_pool *pool, struct upstream_ask *ask);

/* The machine's network has changed, the machine has slept, or its clock has come right: no link and no
 * failure of before is trusted any more. Questions that are out are asked again on fresh links. */
void upstream_pool_network_changed(struct upstream_pool *pool);

/* Takes a question back: `done` will not come. */
void upstream_forget(struct upstream_ask *ask);

#endif
