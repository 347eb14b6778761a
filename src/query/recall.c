/*
 * What the cache is to a question: what it may be answered from, and what is kept of an answer, under which
 * key and for how long. Called by step.c, on a question's way in and when its answer came.
 *
 * Only answers that every client would get are kept and given: to plain questions with RD=1, without a
 * client's subnet; each under its own name, type, class, DO and CD. A failure has a key of its own, so that
 * it never takes the place of an answer.
 */
#include <assert.h>

#include "base/clock.h"

#include "query/internal.h"

/* RFC 9520, 3.2: a failure is believed for five minutes at most. */
enum { FAILURE_SECONDS_MOST = 300, SECOND = 1000 };

/* The note of an entry: of an answer whether it is a denial, of a failure how many there were in a row. */
enum { NOTE_DENIAL = 1, NOTE_FAILURES_MOST = 16 };

static uint64_t now_of(const struct query_hall *hall)
{
    return hall->around.boot() / CLOCK_MILLISECOND;
}

bool query_is_shared(const struct query_hall *hall, const struct dns_query *query)
{
    bool is_for_all = hall->options.strip_client_subnet || query->client_subnet.size == 0;
    return hall->around.cache != NULL && query->rd && !query->is_signed && is_for_all;
}

/* ---- on the way in ---- */

/* Milliseconds; another thread's clock may be a little ahead. */
static uint64_t age_of(const struct query_hall *hall, const struct cache_life *life)
{
    uint64_t now = now_of(hall);
    return now > life->stored_at ? now - life->stored_at : 0;
}

static bool recall(const struct query_passage *passage, enum dns_key_kind kind)
{
    struct query_hall *hall = passage->hall;
    struct dns_key_form form = {.kind = kind, .dnssec_ok = passage->query.dnssec_ok, .cd = passage->query.cd};
    uint8_t key[DNS_KEY_MAX];
    size_t size = dns_question_key(passage->query.question, &form, key);
    struct cache_found found;
    if (cache_find(hall->around.cache, span_of(key, size), hall->kept, sizeof hall->kept, &found) != 0) {
        return false;
    }
    uint64_t age = age_of(hall, &found.life);
    if (age >= found.life.fresh_for) {
        return false;
    }
    const struct query_lifetimes *lifetimes = &hall->options.lifetimes;
    bool is_denial = kind != DNS_KEY_FAILURE && found.life.note == NOTE_DENIAL;
    struct dns_stored stored = {
        .bytes = found.value,
        .age = (uint32_t)(age / SECOND),
        .least = is_denial ? 0 : lifetimes->least,
        .most = is_denial ? lifetimes->denial_most : lifetimes->most,
    };
    return query_reply_stored(passage, &stored,
                              kind == DNS_KEY_FAILURE ? DNS_EXTENDED_CACHED_ERROR : DNS_EXTENDED_NONE);
}

bool query_recall(const struct query_passage *passage)
{
    if (!query_is_shared(passage->hall, &passage->query)) {
        return false;
    }
    bool is_known =
        recall(passage, DNS_KEY_ANSWER) || recall(passage, DNS_KEY_NAME) || recall(passage, DNS_KEY_FAILURE);
    metrics_add(&passage->hall->around.metrics->meter[is_known ? METRICS_CACHE_HIT : METRICS_CACHE_MISS], 1);
    return is_known;
}

/* ---- when the answer came ---- */

struct keeping {
    struct query_hall *hall;
    uint8_t key[DNS_KEY_MAX];
    size_t key_size;
};

static struct keeping keeping_of(const struct query *query, enum dns_key_kind kind)
{
    struct keeping keeping = {.hall = query->hall};
    struct dns_key_form form = {.kind = kind, .dnssec_ok = query->view.dnssec_ok, .cd = query->view.cd};
    keeping.key_size = dns_question_key(query->ask.question, &form, keeping.key);
    return keeping;
}

static void keep(struct keeping *keeping, const struct dns_answer *answer, uint32_t seconds, uint16_t note)
{
    struct query_hall *hall = keeping->hall;
    size_t size;
    if (seconds == 0 || dns_stored_write(answer, hall->kept, sizeof hall->kept, &size) != 0) {
        return;
    }
    struct cache_life life = {.stored_at = now_of(hall), .fresh_for = seconds * SECOND, .note = note};
    cache_store(hall->around.cache, span_of(keeping->key, keeping->key_size), span_of(hall->kept, size),
                &life);
}

/* Twice as long for each failure that comes not long after the one before it was forgotten. */
static void keep_failure(const struct query *query, const struct dns_answer *answer)
{
    struct query_hall *hall = query->hall;
    struct keeping keeping = keeping_of(query, DNS_KEY_FAILURE);
    struct cache_found before;
    unsigned failures = 0;
    if (cache_find(hall->around.cache, span_of(keeping.key, keeping.key_size), hall->kept, sizeof hall->kept,
                   &before) == 0 &&
        age_of(hall, &before.life) < 2 * (uint64_t)before.life.fresh_for) {
        failures = before.life.note < NOTE_FAILURES_MOST ? before.life.note + 1U : NOTE_FAILURES_MOST;
    }
    uint64_t seconds = (uint64_t)hall->options.lifetimes.failure << failures;
    keep(&keeping, answer, seconds < FAILURE_SECONDS_MOST ? (uint32_t)seconds : FAILURE_SECONDS_MOST,
         (uint16_t)failures);
}

static uint32_t clamp(uint32_t seconds, uint32_t least, uint32_t most)
{
    seconds = seconds > least ? seconds : least;
    return seconds < most ? seconds : most;
}

static void keep_answer(const struct query *query, const struct dns_answer *answer)
{
    const struct query_lifetimes *lifetimes = &query->hall->options.lifetimes;
    struct dns_lifetime lifetime = dns_answer_lifetime(answer);
    struct keeping keeping = keeping_of(query, lifetime.covers_name ? DNS_KEY_NAME : DNS_KEY_ANSWER);
    if (lifetime.kind == DNS_LIFETIME_POSITIVE) {
        keep(&keeping, answer, clamp(lifetime.seconds, lifetimes->least, lifetimes->most), 0);
    } else if (lifetime.kind == DNS_LIFETIME_NEGATIVE) {
        keep(&keeping, answer, clamp(lifetime.seconds, 0, lifetimes->denial_most), NOTE_DENIAL);
    } else if (lifetime.kind == DNS_LIFETIME_FAILURE) {
        keep_failure(query, answer);
    }
}

/* A failure that a server answered with, and no other server had better: written down as the answer that it
 * was. */
static void keep_told_failure(const struct query *query, int extended)
{
    struct query_hall *hall = query->hall;
    struct dns_view view = query->view;
    view.has_edns = true;
    view.extended = (struct dns_extended_error){.code = extended};
    size_t size;
    struct dns_answer answer;
    int error = dns_error_write(&view, DNS_RCODE_SERVFAIL, hall->reply, sizeof hall->reply, &size);
    assert(error == 0);
    error = dns_answer_read(span_of(hall->reply, size), &answer);
    assert(error == 0);
    keep_failure(query, &answer);
}

void query_keep(const struct query *query, const struct upstream_result *result)
{
    if (!query->is_shared) {
        return;
    }
    if (result->error == 0) {
        keep_answer(query, result->answer);
    } else if (result->failure_rcode == DNS_RCODE_SERVFAIL) {
        keep_told_failure(query, result->failure_extended);
    }
}
