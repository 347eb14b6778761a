/*
 * What the files of the hall share. A passage is a message on its way through the steps, on the stack; it
 * becomes a query, from the slab, only when it has to wait.
 *
 * Files, from the bottom up: note.c (log lines), reply.c (what a client gets to see), local.c (what is
 * answered here), recall.c (what is answered from the cache), step.c (the steps, in order), hall.c (doors and
 * life).
 */
#ifndef QUERY_INTERNAL_H
#define QUERY_INTERNAL_H

#include "base/slab.h"

#include "query/query.h"

enum { QUERY_CLIENT_BUCKETS = 65536 };

/* A question that waits for its answer. */
struct query {
    struct upstream_ask ask;
    struct query_hall *hall;
    struct query_door *door; /* NULL once the client is gone */
    struct list node;        /* in the door's list */
    struct net_peer peer;
    uint64_t arrived_at, id;
    bool is_shared;              /* its answer may be kept for others */
    uint16_t *waiting_of_client; /* the client's bucket */
    struct dns_view view;        /* its question points into `question` */
    uint8_t *long_message;       /* instead of `message`, or NULL */
    uint8_t question[DNS_QUESTION_MAX];
    uint8_t message[DNS_QUERY_MAX];
};

struct query_hall {
    struct query_options options;
    struct query_surroundings around;
    struct slab queries, long_messages;
    struct list waiting; /* all queries that lost their door, so that closing finds them */
    uint64_t last_id;
    /* Waiting questions by client, in buckets under a keyed hash: two clients share one by a chance of one in
     * 65,536. */
    uint16_t waiting_of[QUERY_CLIENT_BUCKETS];
    uint8_t reply[DNS_MESSAGE_MAX];
    uint8_t kept[DNS_MESSAGE_MAX]; /* what came out of the cache, or goes into it */
};

/* A message on its way through the steps. */
struct query_passage {
    struct query_hall *hall;
    struct query_door *door;
    const struct net_peer *peer;
    struct span message;
    bool denied;
    struct dns_query query;
    uint64_t id;
};

/* ---- note.c ---- */

/* The log's lines for a question and for its answer; nothing is done where the query log is off. */
void query_note_question(const struct query_passage *passage);

struct query_answer_note {
    uint64_t id, duration;
    unsigned rcode;
    size_t size;
    const char *source;   /* "local" or "upstream" */
    const char *upstream; /* label or NULL */
};
void query_note_answer(const struct query_hall *hall, const struct query_answer_note *note);

/* ---- reply.c ---- */

/* How this client sees answers: id, flags, size limit, options. The question's span stays where it is. */
struct dns_view query_view(const struct query_door *door, const struct dns_query *query);

/* Answers at once with a code of our own. */
void query_reply_error(const struct query_passage *passage, unsigned rcode, int extended);

/* The same, with words. */
void query_reply_explained(const struct query_passage *passage, unsigned rcode,
                           struct dns_extended_error extended);

/* Answers a question that waited, from what came of it. The client may be gone. */
void query_reply_result(struct query *query, const struct upstream_result *result);

/* Answers from what was kept, with this extended error or DNS_EXTENDED_NONE. False, and nothing happened,
 * when the stored bytes are damaged. */
bool query_reply_stored(const struct query_passage *passage, const struct dns_stored *stored, int extended);

/* ---- recall.c ---- */

/* Whether the answer to this question is the same for every client who asks it. */
bool query_is_shared(const struct query_hall *hall, const struct dns_query *query);

/* Answers from the cache; false when it has nothing for this question. */
bool query_recall(const struct query_passage *passage);

/* Keeps what came of a question. */
void query_keep(const struct query *query, const struct upstream_result *result);

/* ---- local.c ---- */

/* The code for a question that is never forwarded, or -1; `extended` is set with it. */
int query_local_rcode(const struct dns_query *query, int *extended);

/* ---- step.c ---- */

/* Takes a message through all steps. */
void query_walk(struct query_passage *passage);

/* Gives a waiting question's memory back. */
void query_release(struct query *query);

#endif
