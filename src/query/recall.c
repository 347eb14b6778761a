/*
 * What the cache is to a question: what it may be answered from, and what is kept of an answer, under which
 * key and for how long. Called by step.c and wait.c, on a question's way in, when it has waited long enough,
 * and when its answer came.
 *
 * Only answers that every client would get are kept and given: to plain questions for data with RD=1, without
 * a client's subnet; each under its own name, type, class, DO and CD. A failure has a key of its own, so that
 * it never takes the place of an answer; and so has a server's silence, which is a fact about now: it only
 * tells whether it is worth waiting before an answer is given whose time is over.
 */
#include <assert.h>

#include "base/clock.h"

#include "query/internal.h"

enum {
    SECOND = 1000,
    FAILURE_SECONDS_MOST = 300, /* RFC 9520, 3.2 */
    STALE_TTL = 30,             /* RFC 8767, 4 */
    SILENCE_SECONDS = 30,       /* RFC 8767, 5: the failure recheck timer */
    LAST_PART = 10,             /* an entry is renewed in the last tenth of its life */
};

/* The note of an entry: of an answer whether it is a denial, of a failure how many there were in a row. */
enum { NOTE_DENIAL = 1, NOTE_FAILURES_MOST = 16 };

static uint64_t now_of(const struct query_hall *hall)
{
    return CACHE_TIME_BEGIN + hall->around.boot() / CLOCK_MILLISECOND;
}

bool query_is_shared(const struct query_hall *hall, const struct dns_query *query)
{
    bool is_for_all = hall->options.strip_client_subnet || query->client_subnet.size == 0;
    return query->rd && !query->is_signed && is_for_all && dns_type_is_data(query->type);
}

/* ---- what is there ---- */

/* What is looked for, or kept. */
struct sought {
    struct query_hall *hall;
    struct span question;
    unsigned group;
    bool dnssec_ok, cd;
    uint64_t generation; /* of a question that was out */
};

static struct sought sought_by(const struct query_passage *passage)
{
    const struct dns_query *query = &passage->query;
    return (struct sought){passage->hall, query->question, passage->group, query->dnssec_ok, query->cd, 0};
}

static struct sought sought_for(const struct query *query)
{
    return (struct sought){query->hall,           query->view.question, query->group,
                           query->view.dnssec_ok, query->view.cd,       query->generation};
}

struct key {
    size_t size;
    uint8_t bytes[DNS_KEY_MAX];
};

static struct span key_of(const struct sought *sought, enum dns_key_kind kind, struct key *key)
{
    struct dns_key_form form = {.kind = kind,
                                .group = sought->hall->around.partitions[sought->group],
                                .dnssec_ok = sought->dnssec_ok,
                                .cd = sought->cd};
    key->size = dns_question_key(sought->question, &form, key->bytes);
    return span_of(key->bytes, key->size);
}

/* The value is in the hall's buffer until the next entry is looked for. */
struct entry {
    enum dns_key_kind kind;
    struct cache_found found;
    uint64_t age; /* milliseconds */
};

/* What was kept under another configuration, and came from a file, obeys this one. */
static uint32_t most_seconds(const struct query_lifetimes *lifetimes, const struct entry *entry)
{
    if (entry->kind == DNS_KEY_FAILURE) {
        return lifetimes->failure > 0 ? FAILURE_SECONDS_MOST : 0;
    }
    bool is_denial = entry->kind != DNS_KEY_SILENCE && entry->found.life.note == NOTE_DENIAL;
    return is_denial ? lifetimes->denial_most : lifetimes->most;
}

static bool find(const struct sought *sought, enum dns_key_kind kind, struct entry *entry)
{
    struct query_hall *hall = sought->hall;
    struct key key;
    struct span bytes = key_of(sought, kind, &key);
    entry->kind = kind;
    if (cache_find(hall->around.cache, bytes, hall->kept, sizeof hall->kept, &entry->found) != 0) {
        return false;
    }
    uint32_t most = most_seconds(&hall->options.lifetimes, entry) * SECOND;
    if (entry->found.life.fresh_for > most) {
        entry->found.life.fresh_for = most;
    }
    uint64_t now = now_of(hall), stored_at = entry->found.life.stored_at;
    entry->age = now > stored_at ? now - stored_at : 0; /* another thread's clock may be a little ahead */
    return true;
}

static bool is_fresh(const struct entry *entry)
{
    return entry->age < entry->found.life.fresh_for;
}

static bool find_fresh(const struct sought *sought, enum dns_key_kind kind, struct entry *entry)
{
    return find(sought, kind, entry) && is_fresh(entry);
}

static bool find_usable(const struct sought *sought, enum dns_key_kind kind, struct entry *entry)
{
    uint64_t most = (uint64_t)sought->hall->options.stale.most * SECOND;
    return find(sought, kind, entry) && entry->age < entry->found.life.fresh_for + most;
}

/* The last that was heard: an answer to the question, or that its name does not exist. Fresh, or stale where
 * that may be given. */
static bool find_answer(const struct sought *sought, struct entry *entry)
{
    bool has_answer = find_usable(sought, DNS_KEY_ANSWER, entry);
    if (has_answer && is_fresh(entry)) {
        return true;
    }
    uint64_t heard_at = has_answer ? entry->found.life.stored_at : 0;
    if (find_usable(sought, DNS_KEY_NAME, entry) && (!has_answer || entry->found.life.stored_at > heard_at)) {
        return true;
    }
    return has_answer && find_usable(sought, DNS_KEY_ANSWER, entry);
}

static struct dns_stored stored_in(const struct query_hall *hall, const struct entry *entry)
{
    const struct query_lifetimes *lifetimes = &hall->options.lifetimes;
    bool is_denial = entry->kind != DNS_KEY_FAILURE && entry->found.life.note == NOTE_DENIAL;
    return (struct dns_stored){
        .bytes = entry->found.value,
        .age = (uint32_t)(entry->age / SECOND),
        .least = is_denial ? 0 : lifetimes->least,
        .most = is_denial ? lifetimes->denial_most : lifetimes->most,
        .stale = is_fresh(entry) ? 0 : STALE_TTL,
    };
}

static int extended_of(const struct entry *entry)
{
    if (entry->kind == DNS_KEY_FAILURE) {
        return DNS_EXTENDED_CACHED_ERROR;
    }
    if (is_fresh(entry)) {
        return DNS_EXTENDED_NONE;
    }
    bool is_name = dns_stored_rcode(entry->found.value) == DNS_RCODE_NXDOMAIN;
    return is_name ? DNS_EXTENDED_STALE_NXDOMAIN : DNS_EXTENDED_STALE_ANSWER;
}

/* ---- on the way in ---- */

static bool reply(const struct query_passage *passage, const struct entry *entry)
{
    struct dns_stored stored = stored_in(passage->hall, entry);
    return query_reply_stored(passage, &stored, extended_of(entry));
}

/* Whether this worker is to ask for the entry anew: one does at a time. */
static bool claim(const struct sought *sought, const struct entry *entry)
{
    struct query_hall *hall = sought->hall;
    struct key key;
    struct span bytes = key_of(sought, entry->kind, &key);
    uint64_t now = now_of(hall);
    return cache_claim(hall->around.cache, bytes, now, now + hall->options.query_timeout / CLOCK_MILLISECOND);
}

static bool is_worth_renewing(const struct query_hall *hall, const struct entry *entry)
{
    return hall->options.prefetch && entry->found.asked_before &&
           (entry->found.life.fresh_for - entry->age) * LAST_PART < entry->found.life.fresh_for;
}

static enum query_recalled recall_fresh(const struct query_passage *passage, const struct sought *sought,
                                        const struct entry *entry)
{
    if (!reply(passage, entry)) {
        return QUERY_UNKNOWN;
    }
    return is_worth_renewing(passage->hall, entry) && claim(sought, entry) ? QUERY_RENEW : QUERY_ANSWERED;
}

bool query_recall_at_once(const struct query_passage *passage)
{
    struct sought sought = sought_by(passage);
    struct entry entry;
    return find_answer(&sought, &entry) && reply(passage, &entry);
}

/* What servers answer with a failure is not asked for again while that is believed; what they are silent
 * about is, one question at a time. */
static enum query_recalled recall_stale(const struct query_passage *passage, const struct sought *sought,
                                        bool has_failed)
{
    struct entry entry;
    bool may_wait = !has_failed && passage->hall->options.stale.client_timeout > 0;
    if (may_wait && !find_fresh(sought, DNS_KEY_SILENCE, &entry)) {
        return QUERY_UNKNOWN;
    }
    if (!find_answer(sought, &entry) || !reply(passage, &entry)) {
        return QUERY_UNKNOWN;
    }
    return !has_failed && claim(sought, &entry) ? QUERY_RENEW : QUERY_ANSWERED;
}

static enum query_recalled recall(struct query_passage *passage)
{
    struct sought sought = sought_by(passage);
    struct entry entry;
    if (find_answer(&sought, &entry)) {
        if (is_fresh(&entry)) {
            return recall_fresh(passage, &sought, &entry);
        }
        passage->has_stale = true;
    }
    bool has_failed = find_fresh(&sought, DNS_KEY_FAILURE, &entry);
    if (passage->has_stale) {
        return recall_stale(passage, &sought, has_failed);
    }
    return has_failed && reply(passage, &entry) ? QUERY_ANSWERED : QUERY_UNKNOWN;
}

enum query_recalled query_recall(struct query_passage *passage)
{
    const struct query_hall *hall = passage->hall;
    if (!passage->is_shared || hall->around.cache == NULL) {
        return QUERY_UNKNOWN;
    }
    enum query_recalled recalled = recall(passage);
    bool is_hit = recalled != QUERY_UNKNOWN;
    metrics_add(&hall->around.metrics->meter[is_hit ? METRICS_CACHE_HIT : METRICS_CACHE_MISS], 1);
    return recalled;
}

/* ---- keeping ---- */

static void keep(const struct sought *sought, enum dns_key_kind kind, struct span value,
                 const struct cache_life *life)
{
    struct key key;
    cache_store(sought->hall->around.cache, sought->generation, key_of(sought, kind, &key), value, life);
}

static void keep_message(const struct sought *sought, enum dns_key_kind kind, const struct dns_answer *answer,
                         struct cache_life life)
{
    struct query_hall *hall = sought->hall;
    size_t size;
    if (life.fresh_for > 0 && dns_stored_write(answer, hall->kept, sizeof hall->kept, &size) == 0) {
        keep(sought, kind, span_of(hall->kept, size), &life);
    }
}

static struct cache_life life_of(const struct sought *sought, uint32_t seconds, uint16_t note)
{
    return (struct cache_life){
        .stored_at = now_of(sought->hall), .fresh_for = seconds * SECOND, .note = note};
}

/* Twice as long for each failure that comes not long after the one before it was forgotten. */
static void keep_failure(const struct sought *sought, const struct dns_answer *answer)
{
    struct entry before;
    unsigned failures = 0;
    if (find(sought, DNS_KEY_FAILURE, &before) && before.age < 2 * (uint64_t)before.found.life.fresh_for) {
        unsigned note = before.found.life.note;
        failures = note < NOTE_FAILURES_MOST ? note + 1U : NOTE_FAILURES_MOST;
    }
    uint64_t seconds = (uint64_t)sought->hall->options.lifetimes.failure << failures;
    seconds = seconds < FAILURE_SECONDS_MOST ? seconds : FAILURE_SECONDS_MOST;
    keep_message(sought, DNS_KEY_FAILURE, answer, life_of(sought, (uint32_t)seconds, (uint16_t)failures));
}

static uint32_t clamp(uint32_t seconds, uint32_t least, uint32_t most)
{
    seconds = seconds > least ? seconds : least;
    return seconds < most ? seconds : most;
}

static void keep_answer(const struct sought *sought, const struct dns_answer *answer)
{
    const struct query_lifetimes *lifetimes = &sought->hall->options.lifetimes;
    struct dns_lifetime lifetime = dns_answer_lifetime(answer);
    enum dns_key_kind kind = lifetime.covers_name ? DNS_KEY_NAME : DNS_KEY_ANSWER;
    if (lifetime.kind == DNS_LIFETIME_POSITIVE) {
        uint32_t seconds = clamp(lifetime.seconds, lifetimes->least, lifetimes->most);
        keep_message(sought, kind, answer, life_of(sought, seconds, 0));
    } else if (lifetime.kind == DNS_LIFETIME_NEGATIVE) {
        uint32_t seconds = clamp(lifetime.seconds, 0, lifetimes->denial_most);
        keep_message(sought, kind, answer, life_of(sought, seconds, NOTE_DENIAL));
    } else if (lifetime.kind == DNS_LIFETIME_FAILURE) {
        keep_failure(sought, answer);
    }
}

/* A failure that a server answered with, and no other server had better: written down as the answer that it
 * was. */
static void keep_told_failure(const struct query *query, int extended)
{
    struct query_hall *hall = query->hall;
    struct sought sought = sought_for(query);
    struct dns_view view = query->view;
    view.has_edns = true;
    view.extended = (struct dns_extended_error){.code = extended};
    size_t size;
    struct dns_answer answer;
    int error = dns_error_write(&view, DNS_RCODE_SERVFAIL, hall->reply, sizeof hall->reply, &size);
    assert(error == 0);
    error = dns_answer_read(span_of(hall->reply, size), &answer);
    assert(error == 0);
    keep_failure(&sought, &answer);
}

static void keep_silence(const struct sought *sought)
{
    struct cache_life life = life_of(sought, SILENCE_SECONDS, 0);
    keep(sought, DNS_KEY_SILENCE, (struct span){0}, &life);
}

static void forget_silence(const struct sought *sought)
{
    struct key key;
    cache_remove(sought->hall->around.cache, key_of(sought, DNS_KEY_SILENCE, &key));
}

uint64_t query_generation(const struct query_hall *hall)
{
    return hall->around.cache != NULL ? cache_generation(hall->around.cache) : 0;
}

void query_keep(const struct query *query, const struct upstream_result *result)
{
    if (!query->is_shared || query->hall->around.cache == NULL) {
        return;
    }
    struct sought sought = sought_for(query);
    if (result->error == 0) {
        keep_answer(&sought, result->answer);
        if (query->has_stale) {
            forget_silence(&sought);
        }
    } else if (result->failure_rcode == DNS_RCODE_SERVFAIL) {
        keep_told_failure(query, result->failure_extended);
    } else if (query->has_stale) {
        keep_silence(&sought);
    }
}

/* ---- when it has waited long enough ---- */

bool query_recall_stale(struct query *query)
{
    struct sought sought = sought_for(query);
    struct entry entry;
    if (!find_answer(&sought, &entry)) {
        return false;
    }
    struct dns_stored stored = stored_in(query->hall, &entry);
    if (!query_reply_late(query, &stored, extended_of(&entry))) {
        return false;
    }
    keep_silence(&sought);
    return true;
}
