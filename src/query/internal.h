/*
 * What the files of the hall share. A passage is a message on its way through the steps, on the stack; it
 * becomes a query, from the slab, only when it has to wait.
 *
 * Files, from the bottom up: note.c (log lines), reply.c (what a client gets to see), local.c (what is
 * answered here), recall.c (what is answered from the cache), join.c (which questions are out), wait.c (the
 * life of a question that waits), step.c (the steps, in order), hall.c (doors and life).
 */
#ifndef QUERY_INTERNAL_H
#define QUERY_INTERNAL_H

#include "base/slab.h"

#include "query/query.h"

enum {
    QUERY_CLIENT_BUCKETS = 65536,
    QUERY_OUT_BUCKETS = 16384,
    QUERY_FOLLOWERS_MOST = 512, /* of one leader: what is written in one turn */
};

/* A question that waits for its answer. Either it is out itself, or it waits with a leader, the same question
 * that was out before. */
struct query {
    struct upstream_ask ask; /* a leader's */
    struct query_hall *hall;
    struct query_door
        *door;        /* NULL when nobody waits for it: the client is gone, or answered, or never was */
    struct list node; /* in the door's list, or in the hall's */
    struct net_peer peer;
    uint64_t arrived_at, id;
    uint64_t generation; /* of the cache, when it was asked */
    bool is_shared;      /* its answer may be given to others, and kept for them */
    bool has_stale;      /* the cache has an answer whose time is over */
    bool is_answered;    /* with a stale answer, or there was no client: what is to come is for the cache */
    unsigned group;      /* of servers, which it is asked */
    uint16_t *waiting_of_client; /* the client's bucket */
    struct event_timer timer;    /* the moment for a stale answer; a follower's deadline */
    struct query *leader;        /* NULL for a leader */
    struct list followers;       /* of a leader, in the order they came; else the place among them */
    unsigned follower_count;
    uint64_t hash;          /* of the key, for the table of questions that are out */
    struct query *next_out; /* in the same bucket of it */
    struct dns_view view;   /* its question points into `question` */
    uint8_t *long_message;  /* instead of `message`, or NULL */
    uint8_t question[DNS_QUESTION_MAX];
    uint8_t message[DNS_QUERY_MAX];
};

struct query_hall {
    struct query_options options;
    struct query_surroundings around;
    struct slab queries, long_messages;
    struct list unattended; /* all queries without a door, so that closing finds them */
    size_t unattended_count;
    uint16_t waiting_of_nobody; /* the bucket of questions that no client asked */
    uint64_t last_id;
    /* Waiting questions by client, in buckets under a keyed hash: two clients share one by a chance of one in
     * 65,536. */
    uint16_t waiting_of[QUERY_CLIENT_BUCKETS];
    struct query *out[QUERY_OUT_BUCKETS]; /* shared questions that are out, by key */
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
    bool is_shared, has_stale; /* see struct query */
    struct dns_query query;
    unsigned group;
    uint64_t id, hash;
};

/* ---- note.c ---- */

/* The log's lines for a question and for its answer; nothing is done where the query log is off. */
void query_note_question(const struct query_passage *passage);

struct query_answer_note {
    uint64_t id, duration;
    unsigned rcode;
    size_t size;
    const char *source;   /* as in the meters */
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

/* Answers with a whole message of our own, with this extended error or DNS_EXTENDED_NONE. */
void query_reply_local(const struct query_passage *passage, struct span message, int extended);

/* Answers at once from what was kept, with this extended error or DNS_EXTENDED_NONE. False, and nothing
 * happened, when the stored bytes are damaged. */
bool query_reply_stored(const struct query_passage *passage, const struct dns_stored *stored, int extended);

/* The same for a question that waited; its client is there. */
bool query_reply_late(struct query *query, const struct dns_stored *stored, int extended);

/* ---- recall.c ---- */

/* What the cache has for a question. */
enum query_recalled {
    QUERY_UNKNOWN,  /* nothing; or what is known is stale, and the client should wait a moment */
    QUERY_ANSWERED, /* the client has its answer */
    QUERY_RENEW,    /* so it has, and the question should be asked again for those who come later */
};

/* Whether the answer to this question is the same for every client who asks it. */
bool query_is_shared(const struct query_hall *hall, const struct dns_query *query);

/* Answers from the cache what is there, and says in the passage where it has a stale answer. */
enum query_recalled query_recall(struct query_passage *passage);

/* The same where nobody can wait: what is known, stale or not. False when that is nothing. */
bool query_recall_at_once(const struct query_passage *passage);

/* Answers a question that waited with what the cache has of before; false when that is nothing. From then on,
 * and for a while, others do not wait for what was waited for in vain. */
bool query_recall_stale(struct query *query);

/* What a question has to know of the cache while it is out: an answer to what was asked before something was
 * forgotten is not kept, since it may be what had to be forgotten. */
uint64_t query_generation(const struct query_hall *hall);

/* Keeps what came of a question. */
void query_keep(const struct query *query, const struct upstream_result *result);

/* ---- local.c ---- */

/* The code for a question that is never forwarded, or -1; `extended` is set with it. */
int query_local_rcode(const struct dns_query *query, int *extended);

/* Answers names that are answered here; false for every other. */
bool query_local(const struct query_passage *passage);

/* ---- join.c ---- */

/* The leader that asks just this, with room for one more; NULL when there is none. Says in the passage where
 * it looked, for query_join_offer. */
struct query *query_join_find(struct query_passage *passage);

/* Puts a leader where others find it; takes it away again. */
void query_join_offer(struct query *leader);
void query_join_withdraw(struct query *leader);

/* ---- wait.c ---- */

/* Asks the servers. False when there is no room for one more question of this client. */
bool query_wait_ask(const struct query_passage *passage);

/* Waits for the answer to another client's question. False as above. */
bool query_wait_join(const struct query_passage *passage, struct query *leader);

/* Asks the servers what no client waits for: the answer is for the cache. Nothing is done where room is
 * needed for clients. */
void query_wait_renew(struct query_passage *passage);

/* Forgets a question, and those that wait with it, without an answer. */
void query_wait_forget(struct query *query);

/* ---- step.c ---- */

/* Takes a message through all steps. */
void query_walk(struct query_passage *passage);

#endif
