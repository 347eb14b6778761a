/*
 * Which of several servers that are equally fit: what the group's policy says. Called by choose.c, which
 * knows who is fit; a set of servers is a word with a bit for each.
 */
#include <assert.h>

#include "base/clock.h"
#include "base/hash.h"

#include "upstream/internal.h"

/* With the fastest server leading, one of the others gets a question now and then, over a link that is open
 * by then: with a chance of 3 in 100, and when none has answered it for so long. Between two such questions
 * come at least so many others: together that is a fiftieth. */
enum { LOOK_DISTANCE = 16, LOOK_PERCENT = 3, LOOK_JITTER_PERCENT = 25 };

#define LOOK_PATIENCE (20 * CLOCK_SECOND)

/* Another server leads when it is faster by this and by a fifth, and by chance up to two fifths; then it
 * leads for 2 to 6 s at least. Chance keeps instances that see the same servers out of step. */
#define LEAD_LEAST      (2 * CLOCK_MILLISECOND)
#define LEAD_HELD       (4 * CLOCK_SECOND)
#define LEAD_UNFAMILIAR UINT64_MAX
enum { LEAD_PERCENT = 120, LEAD_PERCENT_BY_CHANCE = 20, LEAD_HELD_JITTER_PERCENT = 50 };

static bool is_in(uint32_t set, size_t index)
{
    return (set >> index & 1) != 0;
}

static struct upstream_server *first_of(struct upstream_pool *pool, uint32_t set)
{
    return &pool->server[__builtin_ctz(set)];
}

/* ---- by weight ---- */

/* Each gains its weight with every turn, and whoever has gained most pays for all: the turns of a heavy
 * server lie evenly between those of the others. */
static struct upstream_server *pick_in_turn(struct upstream_pool *pool, uint32_t set)
{
    struct upstream_server *best = NULL;
    int total = 0;
    for (size_t i = 0; i < pool->server_count; i++) {
        struct upstream_server *server = &pool->server[i];
        if (is_in(set, i)) {
            total += (int)server->options.weight;
            server->turns += (int)server->options.weight;
            best = best == NULL || server->turns > best->turns ? server : best;
        }
    }
    assert(best != NULL); /* the set is never empty */
    best->turns -= total;
    return best;
}

static struct upstream_server *pick_by_chance(struct upstream_pool *pool, uint32_t set)
{
    uint32_t total = 0;
    for (size_t i = 0; i < pool->server_count; i++) {
        total += is_in(set, i) ? pool->server[i].options.weight : 0;
    }
    uint32_t drawn = random_below(pool->around.random, total);
    size_t i = 0;
    for (;; i++) {
        uint32_t weight = is_in(set, i) ? pool->server[i].options.weight : 0;
        if (drawn < weight) {
            return &pool->server[i];
        }
        drawn -= weight;
    }
}

/* ---- by name ---- */

/* The same for every instance, on every day: the key is no secret. Letter case does not count; a length is
 * no letter. */
static uint64_t hash_name(struct span question)
{
    uint8_t folded[DNS_NAME_MAX];
    size_t size = question.size - 4; /* type and class */
    assert(question.size >= 4 && size <= sizeof folded);
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = question.data[i];
        folded[i] = byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
    }
    return hash_bytes(&(struct hash_key){{0}}, span_of(folded, size));
}

/* Spreads what differs in a few bits over all of them (the end of SplitMix64). */
static uint64_t mix(uint64_t number)
{
    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
    return number ^ number >> 31;
}

/* Highest random weight: each server draws for the name, as often as it weighs, and the highest draw has it.
 * When a server goes, its names alone find others. */
static struct upstream_server *pick_by_name(struct upstream_pool *pool, uint32_t set, struct span question)
{
    struct upstream_server *best = NULL;
    uint64_t name = hash_name(question), highest = 0;
    for (size_t i = 0; i < pool->server_count; i++) {
        struct upstream_server *server = &pool->server[i];
        for (unsigned k = 0; is_in(set, i) && k < server->options.weight; k++) {
            uint64_t drawn = mix(name ^ mix(server->label_hash + k));
            if (best == NULL || drawn > highest) {
                best = server;
                highest = drawn;
            }
        }
    }
    return best;
}

/* ---- by latency ---- */

/* What other workers have found out counts where nothing is known here, or only what is old. */
static void hear_of(struct upstream_server *server)
{
    uint64_t measured_at;
    uint64_t mean = upstream_fact_latency(server->fact, &measured_at);
    if (measured_at > server->latency.measured_at + CLOCK_SECOND) {
        upstream_latency_adopt(&server->latency, mean, measured_at);
    }
}

static uint64_t mean_of(const struct upstream_server *server)
{
    return server->latency.samples > 0 ? server->latency.mean : LEAD_UNFAMILIAR;
}

static struct upstream_server *find_quickest(struct upstream_pool *pool, uint32_t set)
{
    struct upstream_server *best = first_of(pool, set);
    for (size_t i = best->index + 1; i < pool->server_count; i++) {
        if (is_in(set, i) && mean_of(&pool->server[i]) < mean_of(best)) {
            best = &pool->server[i];
        }
    }
    return best;
}

/* The fastest but for the leader, whatever its state. */
static struct upstream_server *find_second(struct upstream_pool *pool)
{
    uint32_t all = (uint32_t)((UINT64_C(1) << pool->server_count) - 1);
    return find_quickest(pool, all & ~(UINT32_C(1) << pool->race.leader));
}

static bool is_clearly_faster(uint64_t mean, uint64_t than, unsigned percent)
{
    return mean + LEAD_LEAST < than && mean / 100 * percent < than;
}

static void settle_lead(struct upstream_pool *pool, uint32_t set, uint64_t now)
{
    struct upstream_race *race = &pool->race;
    struct upstream_server *best = find_quickest(pool, set);
    uint64_t mean = mean_of(&pool->server[race->leader]);
    bool falls = mean != LEAD_UNFAMILIAR && now >= race->held_until &&
                 is_clearly_faster(mean_of(best), mean, race->percent);
    bool is_lost = !is_in(set, race->leader) && !upstream_server_hesitates(&pool->server[race->leader]);
    if (is_lost || falls) {
        race->leader = best->index;
        race->percent = LEAD_PERCENT + random_below(pool->around.random, LEAD_PERCENT_BY_CHANCE + 1);
        race->held_until = now + random_jitter(pool->around.random, LEAD_HELD, LEAD_HELD_JITTER_PERCENT);
    }
}

static uint64_t looked_at(const struct upstream_server *server)
{
    uint64_t measured_at = server->latency.measured_at;
    return measured_at > server->looked_at ? measured_at : server->looked_at;
}

/* How long nothing was heard of it. Those behind the second have half the haste. */
static uint64_t unheard_for(struct upstream_pool *pool, const struct upstream_server *server, uint64_t now)
{
    if (looked_at(server) == 0) {
        return UINT64_MAX;
    }
    uint64_t span = clock_since(looked_at(server), now);
    return server == find_second(pool) ? span : span / 2;
}

/* Of the others, the one to look at next. */
static struct upstream_server *find_forgotten(struct upstream_pool *pool, uint32_t set, uint64_t now)
{
    struct upstream_server *found = NULL;
    uint64_t longest = 0;
    for (size_t i = 0; i < pool->server_count; i++) {
        uint64_t span = unheard_for(pool, &pool->server[i], now);
        if (is_in(set, i) && i != pool->race.leader && (found == NULL || span > longest)) {
            found = &pool->server[i];
            longest = span;
        }
    }
    return found;
}

static bool is_due(struct upstream_pool *pool, const struct upstream_server *server, uint64_t now)
{
    struct upstream_race *race = &pool->race;
    uint64_t span = unheard_for(pool, server, now);
    if (span == UINT64_MAX) {
        return true;
    }
    if (++race->since < LOOK_DISTANCE) {
        return false;
    }
    return span >= race->patience || random_below(pool->around.random, 100) < LOOK_PERCENT;
}

/* The server that this question is to find out about, or NULL. */
static struct upstream_server *find_unsure(struct upstream_pool *pool, uint32_t set, uint64_t now)
{
    struct upstream_server *server = find_forgotten(pool, set, now);
    if (server == NULL || !is_due(pool, server, now)) {
        return NULL;
    }
    if (!upstream_server_has_room(server)) {
        upstream_server_connect(server, UPSTREAM_RETRY_WITH_TRAFFIC);
        return NULL;
    }
    pool->race.since = 0;
    pool->race.patience = random_jitter(pool->around.random, LOOK_PATIENCE, LOOK_JITTER_PERCENT);
    server->looked_at = now;
    return server;
}

static struct upstream_server *pick_fastest(struct upstream_pool *pool, uint32_t set,
                                            const struct upstream_ask *ask, uint64_t now)
{
    for (size_t i = 0; i < pool->server_count; i++) {
        hear_of(&pool->server[i]);
    }
    struct upstream_server *unsure = NULL;
    if (!ask->retried && !ask->needs_stream) {
        settle_lead(pool, set, now);
        unsure = find_unsure(pool, set, now);
    }
    if (unsure != NULL) {
        return unsure;
    }
    return is_in(set, pool->race.leader) ? &pool->server[pool->race.leader] : find_quickest(pool, set);
}

struct upstream_server *upstream_policy_pick(struct upstream_pool *pool, uint32_t set,
                                             const struct upstream_ask *ask, uint64_t now)
{
    if ((set & (set - 1)) == 0) {
        return first_of(pool, set);
    }
    switch (pool->options.policy) {
    case UPSTREAM_FASTEST:
        return pick_fastest(pool, set, ask, now);
    case UPSTREAM_ROUND_ROBIN:
        return pick_in_turn(pool, set);
    case UPSTREAM_RANDOM:
        return pick_by_chance(pool, set);
    case UPSTREAM_HASH:
        return pick_by_name(pool, set, ask->question);
    case UPSTREAM_ORDERED:
        break;
    }
    return first_of(pool, set);
}

bool upstream_policy_keeps(struct upstream_server *server)
{
    struct upstream_pool *pool = server->pool;
    return pool->options.policy != UPSTREAM_FASTEST || pool->server_count <= 2 ||
           server->index == pool->race.leader || server->index == find_second(pool)->index;
}
