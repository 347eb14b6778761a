/*
 * A question over UDP: a socket of its own with a port drawn by chance, an id and the letter case of the name
 * drawn as well (RFC 5452; draft-vixie-dnsext-dns0x20), so that whoever cannot see the question has to guess
 * all of them. What does not fit them is dropped, and the wait for the answer goes on. Called by pool.c.
 *
 * A datagram may be lost, so silence says little: only some in a row without an answer make a server failing.
 * Then one question at a time finds out whether it answers again (server.c).
 */
#include <assert.h>

#include "base/error.h"

#include "net/net.h"

#include "upstream/internal.h"

/* Ports are drawn from all that need no rights. A few that are taken are drawn again. */
enum { PORT_LEAST = 1024, PORT_DRAWS = 8 };

/* Datagrams that are looked at in one turn: a flood on one socket must not hold up the others. */
enum { READS_A_TURN = 16 };

/* Answers in a row without a single one that keeps the letters, from which on a server is taken for one that
 * cannot. As many as one question is tried. */
enum { FOLDED_MOST = UPSTREAM_TRIES };

/* Questions in a row whose first datagram got no answer, which make a server the last choice, and a failing
 * one. No further datagram of theirs counts: there are names to which some servers never answer. */
enum { UNANSWERED_SUSPECT = 2, UNANSWERED_FAILING = 4 };

#define RESEND_LEAST (400 * CLOCK_MILLISECOND)

/* ---- health ---- */

/* What is found out at once about many tries that went out together is one failure. */
static bool is_news(struct upstream_server *server, uint64_t sent_at)
{
    if (sent_at <= server->failed_at) {
        return false;
    }
    server->failed_at = event_now(server->pool->around.loop);
    return true;
}

/* It is told at the end of the turn: whoever sends is in the middle of something. */
static void note_trouble(struct upstream_server *server, int error)
{
    server->trouble = error;
    event_after_add(server->pool->around.loop, &server->room);
}

/* Other addresses would fare no better. */
static bool is_of_ours(int error)
{
    return error == ERROR_DESCRIPTORS || error == ERROR_MEMORY;
}

/* A want of descriptors or memory may end with the datagrams that are out: that is waited for. */
static void note_unsent(struct upstream_server *server, int error)
{
    if (server->in_flight == 0 || !is_of_ours(error)) {
        note_trouble(server, error);
    }
}

static void note_silence(struct upstream_server *server, const struct address *remote, uint64_t sent_at)
{
    server->unanswered++;
    upstream_dial_missed(server, remote);
    server->suspect |= server->unanswered >= UNANSWERED_SUSPECT;
    if (server->unanswered >= UNANSWERED_FAILING && is_news(server, sent_at)) {
        upstream_server_failed(server, ERROR_TIMEOUT, NULL, "silent");
    }
}

/* An answer of its own, to the letter or not. */
static void note_life(struct upstream_server *server, const struct address *remote)
{
    server->unanswered = 0;
    upstream_dial_heard(server, remote);
    if (server->failing || server->suspect || !server->is_up || upstream_server_is_held_for_down(server)) {
        upstream_server_opened(server, NULL);
    }
}

uint64_t upstream_datagram_patience(const struct upstream_ask *ask, const struct upstream_server *server)
{
    uint64_t usual = upstream_latency_late(&server->latency), most = server->pool->options.attempt_timeout;
    if (ask->retried) {
        return most;
    }
    if (usual == UINT64_MAX || usual < RESEND_LEAST) {
        return RESEND_LEAST;
    }
    return usual < most ? usual : most;
}

/* ---- the socket ---- */

static void let_go(struct upstream_datagram *datagram)
{
    if (datagram->attempt != NULL) {
        datagram->attempt->server = NULL;
        datagram->attempt->datagram = NULL;
        datagram->attempt = NULL;
    }
}

static void close_datagram(struct upstream_datagram *datagram)
{
    struct upstream_server *server = datagram->server;
    int descriptor = datagram->watch.descriptor;
    let_go(datagram);
    list_remove(&datagram->node);
    event_timer_clear(&datagram->timer);
    event_watch_remove(&datagram->watch);
    net_close(descriptor);
    slab_give(&server->pool->datagrams, datagram);
    server->in_flight--;
    event_after_add(server->pool->around.loop, &server->room);
}

/* Of a server that is in doubt it is still of interest whether it answers: where another one is always
 * faster, it would not be known otherwise. */
void upstream_datagram_abandon(struct upstream_attempt *attempt)
{
    struct upstream_datagram *datagram = attempt->datagram;
    bool is_in_doubt = datagram->server->failing || datagram->server->unanswered > 0;
    if (is_in_doubt && event_timer_pending(&datagram->timer)) {
        let_go(datagram);
    } else {
        close_datagram(datagram);
    }
}

void upstream_datagrams_close(struct upstream_server *server)
{
    while (!list_empty(&server->datagrams)) {
        close_datagram(container_of(server->datagrams.next, struct upstream_datagram, node));
    }
}

static void on_silence(struct event_timer *timer)
{
    struct upstream_datagram *datagram = container_of(timer, struct upstream_datagram, timer);
    struct upstream_server *server = datagram->server;
    struct address remote = datagram->remote;
    uint64_t sent_at = datagram->sent_at;
    if (datagram->attempt == NULL) {
        close_datagram(datagram);
    }
    note_silence(server, &remote, sent_at);
}

static int open_socket(const struct upstream_server *server, const struct address *remote, int *descriptor)
{
    int error = ERROR_ADDRESS_IN_USE;
    for (unsigned i = 0; i < PORT_DRAWS && error == ERROR_ADDRESS_IN_USE; i++) {
        uint32_t draw = random_below(server->pool->around.random, UINT16_MAX + 1 - PORT_LEAST);
        error = net_datagram_open(remote, (uint16_t)(PORT_LEAST + draw), descriptor);
    }
    return error;
}

/* ---- the letters ---- */

static bool is_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

/* A length of a label is never a letter. */
static void mix_case(struct random *random, uint8_t *name, size_t size)
{
    uint8_t chance[DNS_QUESTION_MAX];
    random_bytes(random, chance, size);
    for (size_t i = 0; i < size; i++) {
        if (is_letter(name[i])) {
            name[i] = (uint8_t)((name[i] & ~0x20) | (chance[i] & 0x20));
        }
    }
}

static bool keeps_letters(const struct upstream_datagram *datagram, const struct dns_answer *answer)
{
    return !datagram->is_mixed || answer->question.size == 0 ||
           memcmp(answer->question.data, datagram->question, datagram->question_size) == 0;
}

/* ---- what comes back ---- */

static void on_answer(struct upstream_datagram *datagram, const struct dns_answer *answer)
{
    struct upstream_attempt *attempt = datagram->attempt;
    struct upstream_server *server = datagram->server;
    struct address remote = datagram->remote;
    uint64_t taken = event_now(server->pool->around.loop) - datagram->sent_at;
    metrics_observe(&server->metrics->duration, taken);
    upstream_server_note_latency(server, taken);
    close_datagram(datagram);
    upstream_attempt_answered(attempt, server, answer);
    note_life(server, &remote);
}

/* The right question in other letters: the server's habit, or the one thing that a forger could not guess.
 * Nobody can forge what TCP brings; and a server that always does so is believed without the letters. */
static void on_folded(struct upstream_datagram *datagram, const struct dns_answer *answer)
{
    struct upstream_attempt *attempt = datagram->attempt;
    struct upstream_server *server = datagram->server;
    if (++server->folded >= FOLDED_MOST) {
        server->folds_case = true;
        upstream_tell_folding(server);
        on_answer(datagram, answer);
        return;
    }
    upstream_count(server, METRICS_UPSTREAM_MISMATCH);
    close_datagram(datagram);
    if (!upstream_ask_in_stream(attempt->ask, server)) {
        upstream_attempt_lost(attempt, server, "mismatch");
    }
}

/* Nobody waits for it any more, but it tells that the server answers. */
static void on_late(struct upstream_datagram *datagram)
{
    struct upstream_server *server = datagram->server;
    struct address remote = datagram->remote;
    upstream_count(server, METRICS_UPSTREAM_LATE);
    upstream_server_note_latency(server, event_now(server->pool->around.loop) - datagram->sent_at);
    close_datagram(datagram);
    note_life(server, &remote);
}

/* An answer that is broken may be forged as easily as one to another question: it does not end the wait, but
 * it is told when nothing better comes. */
static void on_malformed(struct upstream_datagram *datagram)
{
    upstream_count(datagram->server, METRICS_UPSTREAM_MALFORMED);
    if (datagram->attempt != NULL) {
        datagram->attempt->ask->malformed = true;
    }
}

static bool is_about_it(const struct upstream_datagram *datagram, const struct dns_answer *answer)
{
    return dns_answer_matches(answer, span_of(datagram->question, datagram->question_size));
}

/* A signed answer has to be asked for. */
static bool is_unasked(const struct upstream_datagram *datagram, const struct dns_answer *answer)
{
    return answer->is_signed && !datagram->is_signed;
}

/* Whether the wait is over. */
static bool take_message(struct upstream_datagram *datagram, struct span message)
{
    struct dns_answer answer;
    int error = dns_answer_read(message, &answer);
    bool has_id =
        error != ERROR_SHORT && error != ERROR_INVALID && bytes_get_u16(message.data) == datagram->id;
    if (has_id && (error != 0 || is_unasked(datagram, &answer))) {
        on_malformed(datagram);
        return false;
    }
    if (!has_id || !is_about_it(datagram, &answer)) {
        upstream_count(datagram->server, METRICS_UPSTREAM_MISMATCH);
        return false;
    }
    if (datagram->is_mixed && keeps_letters(datagram, &answer)) {
        datagram->server->folded = 0;
    }
    if (datagram->attempt == NULL) {
        on_late(datagram);
    } else if (keeps_letters(datagram, &answer)) {
        on_answer(datagram, &answer);
    } else {
        on_folded(datagram, &answer);
    }
    return true;
}

/* What the network says of a datagram: nobody listens there, or no way leads there. The question has not been
 * tried. */
static void on_error(struct upstream_datagram *datagram, int error)
{
    struct upstream_attempt *attempt = datagram->attempt;
    struct upstream_server *server = datagram->server;
    const char *reason = stream_reason_word(error, NULL);
    uint64_t sent_at = datagram->sent_at;
    bool is_last = upstream_dial_missed(server, &datagram->remote);
    close_datagram(datagram);
    if (attempt != NULL) {
        attempt->ask->tries[server->index]--;
    }
    if (is_last && is_news(server, sent_at)) {
        upstream_server_failed(server, error, NULL, reason);
    }
    if (attempt != NULL) {
        upstream_attempt_lost(attempt, server, reason);
    }
}

static void on_ready(struct event_watch *watch, unsigned readiness)
{
    (void)readiness;
    struct upstream_datagram *datagram = container_of(watch, struct upstream_datagram, watch);
    const struct upstream_server *server = datagram->server;
    uint8_t *room = server->pool->received;
    for (unsigned i = 0; i < READS_A_TURN; i++) {
        int size = net_datagram_receive(watch->descriptor, &datagram->remote, room, DNS_MESSAGE_MAX);
        if (size == ERROR_AGAIN) {
            return;
        }
        if (size < 0) {
            on_error(datagram, size);
            return;
        }
        if (take_message(datagram, span_of(room, (size_t)size))) {
            return;
        }
    }
}

/* ---- sending ---- */

/* Sends the message with an id and letters of its own. Whoever sends it next finds the name in lower case; a
 * signed question stays as it is. */
static int send_mixed(struct upstream_datagram *datagram, struct upstream_ask *ask)
{
    const struct upstream_server *server = datagram->server;
    struct random *random = server->pool->around.random;
    uint8_t *name = ask->message + DNS_HEADER_SIZE;
    size_t name_size = ask->question.size - 4;
    datagram->is_signed = ask->is_signed;
    datagram->is_mixed = !ask->is_signed && !server->folds_case;
    if (datagram->is_mixed) {
        mix_case(random, name, name_size);
    }
    datagram->question_size = ask->question.size;
    memcpy(datagram->question, name, ask->question.size);
    datagram->id = random_u16(random);
    bytes_put_u16(ask->message, datagram->id);
    int error = net_datagram_send(datagram->watch.descriptor, span_of(ask->message, ask->message_size));
    if (datagram->is_mixed) {
        dns_name_to_lower(name, name_size);
    }
    return error == ERROR_AGAIN ? 0 : error; /* as good as lost on the way */
}

static int begin(struct upstream_datagram *datagram, struct upstream_ask *ask)
{
    struct event_loop *loop = datagram->server->pool->around.loop;
    int descriptor;
    int error = open_socket(datagram->server, &datagram->remote, &descriptor);
    if (error != 0) {
        return error;
    }
    datagram->watch.ready = on_ready;
    error = event_watch_add(loop, &datagram->watch, descriptor, EVENT_READ);
    if (error == 0) {
        error = send_mixed(datagram, ask);
    }
    if (error != 0) {
        event_watch_remove(&datagram->watch);
        net_close(descriptor);
    }
    return error;
}

/* At the address that is asked now, or where nothing can be sent there, at the next. */
static int begin_somewhere(struct upstream_datagram *datagram, struct upstream_ask *ask)
{
    struct upstream_server *server = datagram->server;
    bool is_last = false;
    int error = ERROR_UNREACHABLE;
    for (size_t i = 0; i < server->addresses.count && error != 0 && !is_last; i++) {
        datagram->remote = *upstream_dial_address(server, ask);
        error = begin(datagram, ask);
        is_last = error != 0 && (is_of_ours(error) || upstream_dial_missed(server, &datagram->remote));
    }
    return error;
}

static void join(struct upstream_datagram *datagram, struct upstream_ask *ask,
                 struct upstream_attempt *attempt)
{
    list_remove(&attempt->node); /* it may still be among the lost ones of a link */
    attempt->ask = ask;
    attempt->server = datagram->server;
    attempt->link = NULL;
    attempt->datagram = datagram;
    attempt->sent_at = datagram->sent_at;
    datagram->attempt = attempt;
}

bool upstream_datagram_has_room(const struct upstream_server *server)
{
    return server->trouble == 0 && server->addresses.count > 0 &&
           server->in_flight < server->pool->options.in_flight;
}

bool upstream_datagram_send(struct upstream_server *server, struct upstream_ask *ask,
                            struct upstream_attempt *attempt)
{
    struct upstream_pool *pool = server->pool;
    assert(ask->message_size <= DNS_UDP_MOST);
    upstream_dial_want(server, upstream_server_is_down(server));
    if (!upstream_datagram_has_room(server)) {
        return false;
    }
    struct upstream_datagram *datagram = slab_take(&pool->datagrams);
    uint64_t now = event_now(pool->around.loop);
    *datagram = (struct upstream_datagram){.server = server, .sent_at = now};
    int error = begin_somewhere(datagram, ask);
    if (error != 0) {
        slab_give(&pool->datagrams, datagram);
        note_unsent(server, error);
        return false;
    }
    server->in_flight++;
    server->last_attempt_at = now;
    list_append(&server->datagrams, &datagram->node);
    event_timer_init(&datagram->timer, on_silence);
    if (ask->tries[server->index] == 0) {
        event_timer_set(pool->around.loop, &datagram->timer, now + upstream_datagram_patience(ask, server));
    }
    join(datagram, ask, attempt);
    return true;
}
