/*
 * What the files of the back door do for each other. A pool has servers in order of preference; a server has
 * links for new questions, a connection that is begun (at several addresses, where the first does not answer
 * soon), and retired links that only wait for their last answers; a question is out as up to four attempts,
 * each in a slot of a link or a datagram. A server of UDP has a second one behind it, its stream half, which
 * is asked for what no datagram carries and never chosen otherwise.
 *
 * Files, from the bottom up: facts.c (what all workers know), latency.c (how fast a server is), link.c
 * (slots, ids, one stream), datagram.c (a question over UDP), keep.c (how long a link is kept, and when its
 * path is dead), dial.c (which address), tell.c (the log), server.c (connecting, back-off, health), probe.c
 * (looking at a server that is down), policy.c and choose.c (which server next), hedge.c (once more beside),
 * silence.c (links that say nothing), pool.c (a question's way), life.c (how a pool comes up and goes down).
 */
#ifndef UPSTREAM_INTERNAL_H
#define UPSTREAM_INTERNAL_H

#include "upstream/state.h"

static inline void upstream_count(struct upstream_server *server, enum metrics_upstream_meter meter)
{
    metrics_add(&server->metrics->meter[meter], 1);
}

static inline bool upstream_server_is_udp(const struct upstream_server *server)
{
    return server->options.transport == UPSTREAM_UDP;
}

/* Whether a question can be sent there without a connection that has to come about first. */
static inline bool upstream_server_has_way(const struct upstream_server *server)
{
    return upstream_server_is_udp(server) ? server->addresses.count > 0 : !list_empty(&server->open);
}

/* ---- facts.c ---- */

/* Of the server with this page, or of its stream half. */
struct upstream_fact *upstream_facts_of(struct upstream_facts *facts, size_t page, bool of_half);

enum upstream_health upstream_fact_health(const struct upstream_fact *fact, uint64_t *since);

/* Notes how it is, and that it is so now. Whether that is news: true for one worker only. */
bool upstream_fact_turn(struct upstream_fact *fact, enum upstream_health health, uint64_t now);

/* Whether this worker is the one that probes the server now. */
bool upstream_fact_claim_probe(struct upstream_fact *fact, uint64_t now, uint64_t distance);

/* Whether it is this worker's turn to connect to a server that fails. */
bool upstream_fact_claim_connect(struct upstream_fact *fact, uint64_t now, uint64_t distance);

/* Whether this worker is the one that tells the log of this failure now: `anew` always. */
bool upstream_fact_claim_telling(struct upstream_fact *fact, const char *reason, uint64_t now, bool anew);

uint64_t upstream_fact_latency(const struct upstream_fact *fact, uint64_t *measured_at);
void upstream_fact_set_latency(struct upstream_fact *fact, uint64_t latency, uint64_t now);
uint64_t upstream_fact_idle_limit(const struct upstream_fact *fact);
void upstream_fact_set_idle_limit(struct upstream_fact *fact, uint64_t limit);

/* ---- latency.c ---- */

/* An answer took so long. */
void upstream_latency_note(struct upstream_latency *latency, uint64_t now, uint64_t taken);

/* An answer that has not come would have taken longer than this. */
void upstream_latency_note_least(struct upstream_latency *latency, uint64_t now, uint64_t taken);

/* Another worker has found it out. */
void upstream_latency_adopt(struct upstream_latency *latency, uint64_t mean, uint64_t measured_at);

/* What 19 of 20 answers do not take; UINT64_MAX before the first. */
uint64_t upstream_latency_late(const struct upstream_latency *latency);

/* ---- link.c ---- */

/* Begins a connection to the server at this address. */
int upstream_link_open(struct upstream_server *server, const struct address *address);

/* Whether one more question may be sent on it. */
bool upstream_link_has_room(const struct upstream_link *link);

/* Sends the question as this attempt. False when the stream takes no more. */
bool upstream_link_send(struct upstream_link *link, struct upstream_ask *ask,
                        struct upstream_attempt *attempt);

/* Nobody waits for this attempt any more; its id stays reserved, its place on the link goes to who waits for
 * it. */
void upstream_link_abandon(struct upstream_attempt *attempt);

/* No new questions; closed as soon as none is in flight. */
void upstream_link_retire(struct upstream_link *link, enum metrics_upstream_meter reason);

/* Closes and frees; its questions must be gone. */
void upstream_link_free(struct upstream_link *link);

/* ---- datagram.c ---- */

/* Whether one more question may be sent to this server of UDP. */
bool upstream_datagram_has_room(const struct upstream_server *server);

/* Sends the question to a server of UDP as this attempt. False when as many are out as may be, or when it
 * cannot be sent: the server fails then, at the end of the turn. */
bool upstream_datagram_send(struct upstream_server *server, struct upstream_ask *ask,
                            struct upstream_attempt *attempt);

/* Nobody waits for it any more. */
void upstream_datagram_abandon(struct upstream_attempt *attempt);

/* How long to wait for the answer to the next datagram: for a question's first until it is late, or a little
 * more, since it may be lost; then the time of a whole try. */
uint64_t upstream_datagram_patience(const struct upstream_ask *ask, const struct upstream_server *server);

/* Closes what is out only to see whether the server answers. */
void upstream_datagrams_close(struct upstream_server *server);

/* ---- keep.c ---- */

/* A link has opened, and from here on it has an age, an idle limit and a path. */
void upstream_link_keep(struct upstream_link *link);

/* What was to replace it did not come about: it stays until the next try. */
void upstream_link_keep_on(struct upstream_link *link);

/* The first question after a pause went out on it. */
void upstream_link_watch(struct upstream_link *link);

/* The server closed it while it was idle: its limit is known better now. */
void upstream_learn_idle_close(struct upstream_link *link);

/* Another one is to take its place as soon as may be, and then it goes. */
void upstream_link_expire(struct upstream_link *link);

/* The server told its limit, in units of 100 ms (RFC 7828); 0 asks not to use the link any more. */
void upstream_learn_keepalive(struct upstream_link *link, int keepalive);

/* ---- dial.c ---- */

void upstream_dial_init(struct upstream_server *server);

/* Tells whoever finds out the addresses that they are needed. */
void upstream_dial_want(const struct upstream_server *server, bool is_urgent);

/* Begins to connect; there is an address. What comes of it is told to the server, once. */
void upstream_dial_begin(struct upstream_server *server);

/* A link that was begun is gone. */
void upstream_dial_failed(struct upstream_server *server, const struct upstream_failure *failure);

/* A link is open: the others that were begun are not needed. */
void upstream_dial_opened(struct upstream_server *server, const struct upstream_link *link);

/* Nothing is connected to any more. */
void upstream_dial_end(struct upstream_server *server);

/* Over UDP: where the next datagram of this question goes; there is an address. */
const struct address *upstream_dial_address(const struct upstream_server *server,
                                            const struct upstream_ask *ask);

/* Over UDP: an answer came from there. */
void upstream_dial_heard(struct upstream_server *server, const struct address *address);

/* Over UDP: none came, and the next address is asked. Whether none is left that may answer. */
bool upstream_dial_missed(struct upstream_server *server, const struct address *address);

static inline bool upstream_server_is_dialing(const struct upstream_server *server)
{
    return !list_empty(&server->connecting);
}

/* Nothing can be asked there now. */
static inline bool upstream_server_is_down(const struct upstream_server *server)
{
    return server->failing || server->addresses.count == 0;
}

/* ---- tell.c ---- */

/* It is down, for its `reason`; what TLS found out where it was that, else NULL. */
void upstream_tell_down(struct upstream_server *server, const struct tls_failure *failure);

/* It answers; the link that opened, NULL over UDP. */
void upstream_tell_up(struct upstream_server *server, const struct upstream_link *link);

/* A link is believed without dates: told for the first of a server, and once a minute as long as there are
 * further ones. */
void upstream_tell_undated(struct upstream_server *server);

/* Its answers over UDP repeat the question in other letters. */
void upstream_tell_folding(struct upstream_server *server);

/* ---- server.c ---- */

void upstream_server_init(struct upstream_server *server, struct upstream_pool *pool,
                          const struct upstream_server_options *options, size_t index);

/* Sees to it that a link comes about: now, or as soon as back-off and budget allow. After a failure the
 * distance to the last attempt is the back-off's, but not more than `most` nanoseconds. A server of UDP needs
 * nothing unless it fails; then a question that waits is sent to it. */
void upstream_server_connect(struct upstream_server *server, uint64_t most);

/* A connection begins now, and takes its share of the budget. */
void upstream_server_spend(struct upstream_server *server);

/* The earliest moment for that; it may have passed. */
uint64_t upstream_server_connect_at(const struct upstream_server *server, uint64_t most);

/* Whether something may be sent now to a server of UDP that is not trusted, to find out whether it answers.
 * It counts as done. */
bool upstream_server_may_try(struct upstream_server *server, uint64_t most);

/* An answer of its took so long, whether somebody waited for it or not. */
void upstream_server_note_latency(struct upstream_server *server, uint64_t taken);

/* Another worker has found it down, and did not hear otherwise for a while: where it answers here, that is
 * news. */
bool upstream_server_is_held_for_down(const struct upstream_server *server);

/* What a link tells its server; and the first answer over UDP, without a link. */
void upstream_server_opened(struct upstream_server *server, struct upstream_link *link);
/* It answers, or nothing speaks against it: its back-off ends. */
void upstream_server_proven(struct upstream_server *server, struct upstream_link *link);

/* Its last links gave nothing: that one opens proves little, and only an answer ends its back-off. */
static inline bool upstream_server_is_on_trial(const struct upstream_server *server)
{
    return server->fruitless >= UPSTREAM_FRUITLESS_LINKS;
}

void upstream_server_failed(struct upstream_server *server, int error, const struct tls_failure *failure,
                            const char *reason);

/* A link is gone: what waits for room needs another. */
void upstream_server_unlinked(struct upstream_server *server);

/* The link for the next question, or NULL when none has room. Sees to it that there are more when all are
 * busy. */
struct upstream_link *upstream_server_pick(struct upstream_server *server);

/* Whether one more question may be sent to it now. */
bool upstream_server_has_room(struct upstream_server *server);

/* Sends what waits, as far as there is room. */
void upstream_server_send_waiting(struct upstream_server *server);

/* Whatever failed before counts no more. */
void upstream_server_forgive(struct upstream_server *server);

/* No question can show that it answers: its links go, and it fails. */
void upstream_server_give_up(struct upstream_server *server);

/* What another worker has found out since it failed here: it can be reached. */
void upstream_server_hear(struct upstream_server *server);

/* ---- probe.c ---- */

void upstream_probe_init(struct upstream_server *server);
void upstream_probe_end(struct upstream_server *server);

/* It has failed: it is looked at again, however long no question comes. */
void upstream_probe_plan(struct upstream_server *server);

/* A connection came about. */
void upstream_probe_opened(struct upstream_server *server, struct upstream_link *link);

/* ---- policy.c ---- */

/* One of the servers in the set, which is not empty. */
struct upstream_server *upstream_policy_pick(struct upstream_pool *pool, uint32_t set,
                                             const struct upstream_ask *ask, uint64_t now);

/* Whether a link to it is kept ready while questions come: where the fastest is asked, to that and the
 * second.
 */
bool upstream_policy_keeps(struct upstream_server *server);

/* ---- hedge.c ---- */

/* A question has come; a client's pays its share into the budget. */
void upstream_hedge_begin(struct upstream_ask *ask, bool pays);

/* It went out, and not as a copy. */
void upstream_hedge_sent(struct upstream_ask *ask, const struct upstream_server *server);

/* It waits before a server. */
void upstream_hedge_waits(struct upstream_ask *ask, const struct upstream_server *server);

/* It is over, and the answer was that to a copy, or not. */
void upstream_hedge_settle(struct upstream_ask *ask, bool won);

/* ---- choose.c ---- */

/* The server for the next attempt, or NULL when none is fit. For what no datagram carries, these are stream
 * halves of servers of UDP. */
struct upstream_server *upstream_choose(struct upstream_pool *pool, const struct upstream_ask *ask);

/* One with an open link that has room and nothing to make up for, or NULL. */
struct upstream_server *upstream_choose_open(struct upstream_pool *pool, const struct upstream_ask *ask);

/* One to which no connection is being made, or NULL. */
struct upstream_server *upstream_choose_unconnected(struct upstream_pool *pool,
                                                    const struct upstream_ask *ask);

/* Whether a healthy server is left that has not seen the question. */
bool upstream_has_untried(struct upstream_pool *pool, const struct upstream_ask *ask);

/* Whether some server may still be asked. */
bool upstream_has_tries(const struct upstream_pool *pool, const struct upstream_ask *ask);

/* ---- silence.c ---- */

/* This attempt waits longer than usual. When its server has owed answers for the time of a whole try, its
 * link is not trusted with further questions. */
void upstream_note_late(const struct upstream_attempt *attempt);

/* Whether a server has of late left questions waiting that another may be quicker with: then one question a
 * try finds out whether it answers again. Never where the order of the servers, or the name, decides. */
bool upstream_server_hesitates(const struct upstream_server *server);

/* Links of the question that were silent for a whole try are not trusted with further questions. Returns a
 * server whose links have now been silent too often, or NULL. */
struct upstream_server *upstream_suspect_silent(struct upstream_ask *ask);

/* Retires a link that nothing is expected of, and asks its questions again elsewhere; whoever answers first
 * serves. */
void upstream_link_suspect(struct upstream_link *link, enum metrics_upstream_meter reason, const char *word);

/* ---- pool.c ---- */

/* What is told when nothing better comes. */
static inline void upstream_blame(struct upstream_ask *ask, const struct upstream_server *server,
                                  const char *reason)
{
    ask->last_server = server->options.label;
    ask->last_reason = reason;
}

/* Finds the question a place: on a link, before one, or in the pool's waiting list. It is in none when this
 * is called. */
void upstream_place(struct upstream_ask *ask);

/* Places every question that the pool keeps. */
void upstream_place_waiting(struct upstream_pool *pool);

/* Sends to the server; false when it has no room now. */
bool upstream_send(struct upstream_ask *ask, struct upstream_server *server);

/* The same for a copy, on this link where one is given: the time of the try that is out goes on. */
bool upstream_send_copy(struct upstream_ask *ask, struct upstream_server *server, struct upstream_link *link);

/* Asks this server alone, once, what no client asks: on this link; over UDP without one. */
void upstream_ask_on(struct upstream_ask *ask, struct upstream_server *server, struct upstream_link *link);

/* Takes a question from where it waits into the pool's list. */
void upstream_wait_for_any(struct upstream_ask *ask);

/* Sends one of the questions that the pool keeps to a server of UDP: one that is not out there already. */
void upstream_try_waiting(struct upstream_server *server);

/* Asks a server of UDP over a stream. False when it cannot be asked so now. */
bool upstream_ask_in_stream(struct upstream_ask *ask, struct upstream_server *server);

/* Nobody waits for this attempt any more. */
void upstream_attempt_abandon(struct upstream_attempt *attempt);

/* What becomes of an attempt: its link is gone (the attempt is already off it); its answer breaks the format;
 * its answer came (the attempt is already off the link, which was of this server). */
void upstream_attempt_lost(struct upstream_attempt *attempt, struct upstream_server *server,
                           const char *reason);
void upstream_attempt_malformed(struct upstream_attempt *attempt);
void upstream_attempt_answered(struct upstream_attempt *attempt, struct upstream_server *server,
                               const struct dns_answer *answer);

#endif
