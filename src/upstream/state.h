/*
 * What the back door is made of: the times and numbers that its files share, and the state of a question's
 * way, a link, a server and a pool. Included by internal.h, which tells how they belong together.
 */
#ifndef UPSTREAM_STATE_H
#define UPSTREAM_STATE_H

#include "base/clock.h"

#include "upstream/upstream.h"

/* Links of a server besides those in use: one that replaces another, and retired ones that wait for answers.
 */
enum { UPSTREAM_LINKS_BESIDE = 8 };

/* Questions in flight on each link from which on a server gets another one. */
enum { UPSTREAM_GROW_AT = 100 };

/* What is taken for the idle limit of a server that has not shown one. */
#define UPSTREAM_IDLE_GUESS (9 * CLOCK_SECOND)

/* A failing server is looked at again no later than this while there are questions, whoever answers them. */
#define UPSTREAM_RETRY_WITH_TRAFFIC (4 * CLOCK_SECOND)

/* A connection that takes longer than this comes after one that is open (RFC 8305, 5). */
#define UPSTREAM_CONNECTION_DELAY (250 * CLOCK_MILLISECOND)

/* The same failure is told once a minute, another one of the same server every ten seconds at most. */
#define UPSTREAM_LOG_REPEAT   (60 * CLOCK_SECOND)
#define UPSTREAM_LOG_DISTANCE (10 * CLOCK_SECOND)

/* Links in a row that closed under their questions, or stayed silent, without a single answer, from which on
 * a server counts as failing. */
enum { UPSTREAM_FRUITLESS_LINKS = 2 };

/* An id on its way. Its low bits are its place in the table, so that an answer finds it without a search. */
struct upstream_slot {
    struct upstream_attempt
        *attempt; /* NULL with `reserved`: nobody waits any more, but the answer may still come */
    uint16_t id;
    bool reserved;
    uint32_t sent_ms; /* the low bits of the moment */
};

/* A question over UDP, with a socket of its own. */
struct upstream_datagram {
    struct upstream_server *server;
    struct upstream_attempt
        *attempt;     /* NULL: nobody waits any more, but whether an answer comes is of interest */
    struct list node; /* in the server's list */
    struct event_watch watch;
    struct event_timer timer; /* until its silence counts; of a question's first one at the server */
    struct address remote;
    uint64_t sent_at;
    uint16_t id;
    bool is_signed;
    bool is_mixed; /* the letter case of the name was drawn by chance, and must come back */
    size_t question_size;
    uint8_t question[DNS_QUESTION_MAX]; /* as it went out */
};

enum upstream_link_state { UPSTREAM_LINK_CONNECTING, UPSTREAM_LINK_OPEN, UPSTREAM_LINK_RETIRED };

struct upstream_link {
    struct stream stream;
    struct upstream_server *server;
    struct address remote;
    enum upstream_link_state state;
    struct list node;     /* in the server's list of begun, open or retired links */
    struct list attempts; /* in flight, oldest first */
    unsigned in_flight;
    bool answered;        /* something came back since it opened */
    uint64_t answered_at; /* a question, last */
    unsigned strays;      /* messages in a row that belong to no question */
    uint64_t started_at;
    uint64_t records_counted;
    struct event_timer timer; /* of connecting; of an open link, of its age and idleness */
    struct event_timer watch; /* of the path, while questions are out */
    uint64_t expires_at;
    bool expiring;                      /* a link that is to replace it is on its way */
    enum metrics_upstream_meter expiry; /* why it is replaced */
    unsigned free_count;
    uint16_t *free;              /* numbers of unreserved slots, in random order */
    struct upstream_slot *slots; /* pool->slot_count of them */
};

/* Why a connection did not come about. */
struct upstream_failure {
    int error;
    const char *reason; /* static; NULL before the first */
    struct address address;
    bool is_of_tls;
    struct tls_failure tls;
};

/* A connection on its way: it is tried at one address after the other until the first is open (RFC 8305).
 * Over UDP there is none, and one address is asked as long as it answers. */
struct upstream_dial {
    struct address_list order;
    size_t next;   /* those before were begun; over UDP the one that is asked */
    size_t missed; /* over UDP: so many in a row did not answer */
    uint64_t begun_at;
    struct event_timer timer; /* for the next one */
    struct upstream_failure failure;
};

enum upstream_health { UPSTREAM_UNKNOWN, UPSTREAM_UP, UPSTREAM_DOWN };

typedef atomic_uint_least64_t upstream_word;

/* What all workers know of a server. */
struct upstream_fact {
    _Alignas(64) upstream_word health; /* and since when */
    upstream_word latency;             /* and when it was measured */
    upstream_word idle_limit;          /* nanoseconds, 0: not known */
    upstream_word probed_at;
    upstream_word connected_at;         /* when one of them began a connection while it was failing */
    upstream_word told_at, told_reason; /* what the log knows of a failure */
};

enum { UPSTREAM_LATENCY_BUCKETS = 64 };

/* How fast a server answers. */
struct upstream_latency {
    uint64_t mean, measured_at; /* nanoseconds */
    uint16_t samples;           /* 0: `mean` means nothing */
    uint16_t counted;           /* in all buckets */
    uint16_t bucket[UPSTREAM_LATENCY_BUCKETS];
};

/* Looking at a server that is down. */
enum { UPSTREAM_PROBE_SIZE = 17 };
struct upstream_probe {
    struct event_timer timer;
    bool connects, asks;
    struct upstream_ask ask;
    uint8_t message[UPSTREAM_PROBE_SIZE];
};

/* The budget of copies is counted in parts of one: what a question pays in. */
enum { UPSTREAM_COPY_COSTS = 20 };

struct upstream_hedging {
    unsigned budget;
    unsigned earned, earned_before; /* in the span that ends then, and in the one before */
    uint64_t span_ends;
};

/* Who leads where the fastest server is asked. */
struct upstream_race {
    size_t leader;
    unsigned percent; /* of its latency, by which another has to be faster */
    unsigned since;   /* questions since one went to another server to see how it does */
    uint64_t held_until, patience;
};

struct upstream_server {
    struct upstream_pool *pool;
    struct upstream_server_options options;
    struct metrics_upstream *metrics;
    struct upstream_fact *fact;
    struct upstream_fact own_fact; /* where nobody shares it */
    struct upstream_latency latency;
    struct upstream_probe probe;
    uint64_t asked_at; /* when a question went out to it last */
    unsigned late;     /* questions in a row that waited longer than usual, without an answer to any since */
    uint64_t owes_since; /* when the first of them went out */
    uint64_t looked_at;  /* when a question was to find out about it */
    uint64_t shared_at;  /* when its latency was told the other workers */
    uint64_t label_hash; /* of the policy `hash` */
    int turns;           /* of the policy `round-robin`: what it has gained */
    size_t index;        /* a stream half has that of its server */
    bool is_half;
    bool is_up;                   /* this worker has reached it, and has seen no failure since */
    struct upstream_server *half; /* of a server of UDP, else NULL */
    struct list open;             /* links for questions, oldest first */
    unsigned open_count;          /* of them, without those that are being replaced */
    struct list connecting;       /* begun, one for each address that is tried, oldest first */
    struct upstream_dial dial;
    struct address_list addresses;
    size_t own_count; /* the first so many are the server's; those behind were, until one of these works */
    struct address worked;  /* the address that did last */
    struct address told;    /* the one that the log speaks of */
    bool is_unresolved;     /* nothing but that makes it down */
    struct list retired;    /* longest first */
    unsigned link_count;    /* in all three */
    struct list waiting;    /* questions for which no link has room */
    uint64_t idle_limit;    /* how long the server is expected to keep an idle link */
    bool failing;           /* the last connection did not come about, or the last ones gave nothing */
    bool handshake_failing; /* it was TLS that failed, not TCP */
    bool suspect;           /* its last link was given up for silence, and no other has opened since */
    unsigned fruitless;     /* links in a row without an answer */
    const char *reason;     /* static word for the last failure, NULL before one */
    uint64_t last_attempt_at, retry_at, backoff;
    uint64_t undated_logged_at; /* 0 before */
    uint64_t handshakes_until;  /* the moment up to which the budget of handshakes is spent */
    struct event_timer retry;
    struct event_after growth; /* all links are busy */
    struct event_after room;   /* some may have become free on a link, or the ids of one used up */
    /* Of UDP. */
    struct list datagrams;
    unsigned in_flight;  /* of them */
    unsigned unanswered; /* questions in a row */
    uint64_t failed_at;  /* tries of before it tell nothing new */
    int trouble;         /* found while something was sent, and not told yet; 0 for none */
    unsigned folded;     /* answers in a row in other letters than the question's */
    bool folds_case;
};

struct upstream_pool {
    size_t size; /* in bytes, with `received` */
    struct upstream_options options;
    struct upstream_surroundings around;
    struct slab links, datagrams;
    unsigned slot_count; /* of a link, a power of two */
    uint64_t asked_at;   /* when the last question came */
    struct list waiting; /* questions that no server takes now */
    struct upstream_race race;
    struct upstream_hedging hedging;
    size_t server_count; /* that are chosen from */
    size_t half_count;   /* stream halves, which stand behind them */
    uint8_t *received;   /* a datagram; NULL without a server of UDP */
    struct upstream_server server[2 * UPSTREAM_SERVERS_MAX];
};

#endif
