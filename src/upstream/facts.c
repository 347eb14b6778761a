/*
 * What the workers know of the servers together: whether one is up, how fast it answers, how long it keeps an
 * idle connection. One mapping for all workers of all engines, without pointers; opened by the process that
 * supervises them, so that an engine that takes the place of another begins with what that one knew.
 *
 * Every fact is one word that stands for itself: no order between two of them is relied on, and whoever reads
 * an old one is only as wrong as a moment ago. Hence all accesses are relaxed. Moments are of the monotonic
 * clock, which all processes of a machine share, in milliseconds.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"

#include "upstream/internal.h"

enum { FACTS_VERSION = 1 };

struct upstream_facts {
    uint32_t version;
    uint32_t size;
    struct upstream_fact server[METRICS_UPSTREAMS_MAX], half[METRICS_UPSTREAMS_MAX];
};

/* A word holds a moment above a number of so many bits. */
enum { HEALTH_BITS = 2, LATENCY_BITS = 24 };

#define LATENCY_MOST ((UINT64_C(1) << LATENCY_BITS) - 1) /* microseconds: 16 s */

static uint64_t load(const upstream_word *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static bool exchange(upstream_word *word, uint64_t *expected, uint64_t desired)
{
    return atomic_compare_exchange_strong_explicit(word, expected, desired, memory_order_relaxed,
                                                   memory_order_relaxed);
}

static uint64_t pack(uint64_t moment, unsigned bits, uint64_t number)
{
    return (moment / CLOCK_MILLISECOND) << bits | number;
}

static uint64_t moment_of(uint64_t word, unsigned bits)
{
    return (word >> bits) * CLOCK_MILLISECOND;
}

/* ---- up and down ---- */

enum upstream_health upstream_fact_health(const struct upstream_fact *fact, uint64_t *since)
{
    uint64_t word = load(&fact->health);
    *since = moment_of(word, HEALTH_BITS);
    return (enum upstream_health)(word & ((1U << HEALTH_BITS) - 1));
}

bool upstream_fact_turn(struct upstream_fact *fact, enum upstream_health health, uint64_t now)
{
    uint64_t word = load(&fact->health), wanted = pack(now, HEALTH_BITS, health);
    while (!exchange(&fact->health, &word, wanted)) {}
    return (word & ((1U << HEALTH_BITS) - 1)) != (uint64_t)health;
}

/* ---- one that does it for all ---- */

static bool claim(upstream_word *word, uint64_t now, uint64_t distance)
{
    uint64_t last = load(word);
    return (last == 0 || clock_since(last, now) >= distance) && exchange(word, &last, now);
}

bool upstream_fact_claim_probe(struct upstream_fact *fact, uint64_t now, uint64_t distance)
{
    return claim(&fact->probed_at, now, distance);
}

bool upstream_fact_claim_connect(struct upstream_fact *fact, uint64_t now, uint64_t distance)
{
    return claim(&fact->connected_at, now, distance);
}

bool upstream_fact_claim_telling(struct upstream_fact *fact, const char *reason, uint64_t now, bool anew)
{
    uint64_t word = (uint32_t)hash_bytes(&(struct hash_key){{0}}, span_text(reason));
    uint64_t last = load(&fact->told_at);
    uint64_t distance = load(&fact->told_reason) == word ? UPSTREAM_LOG_REPEAT : UPSTREAM_LOG_DISTANCE;
    bool claimed = (anew || clock_since(last, now) >= distance) && exchange(&fact->told_at, &last, now);
    if (!claimed && !anew) {
        return false;
    }
    atomic_store_explicit(&fact->told_reason, word, memory_order_relaxed);
    return true;
}

/* ---- numbers ---- */

uint64_t upstream_fact_latency(const struct upstream_fact *fact, uint64_t *measured_at)
{
    uint64_t word = load(&fact->latency);
    *measured_at = moment_of(word, LATENCY_BITS);
    return (word & LATENCY_MOST) * CLOCK_MICROSECOND;
}

void upstream_fact_set_latency(struct upstream_fact *fact, uint64_t latency, uint64_t now)
{
    uint64_t microseconds = latency / CLOCK_MICROSECOND;
    atomic_store_explicit(&fact->latency,
                          pack(now, LATENCY_BITS, microseconds < LATENCY_MOST ? microseconds : LATENCY_MOST),
                          memory_order_relaxed);
}

uint64_t upstream_fact_idle_limit(const struct upstream_fact *fact)
{
    return load(&fact->idle_limit);
}

void upstream_fact_set_idle_limit(struct upstream_fact *fact, uint64_t limit)
{
    atomic_store_explicit(&fact->idle_limit, limit, memory_order_relaxed);
}

/* ---- the mapping ---- */

static void copy_word(upstream_word *to, const upstream_word *from)
{
    atomic_store_explicit(to, load(from), memory_order_relaxed);
}

static void copy(struct upstream_fact *to, const struct upstream_fact *from)
{
    copy_word(&to->health, &from->health);
    copy_word(&to->latency, &from->latency);
    copy_word(&to->idle_limit, &from->idle_limit);
    copy_word(&to->probed_at, &from->probed_at);
    copy_word(&to->connected_at, &from->connected_at);
    copy_word(&to->told_at, &from->told_at);
    copy_word(&to->told_reason, &from->told_reason);
}

void upstream_facts_copy(struct upstream_facts *to, size_t page, const struct upstream_facts *from,
                         size_t page_before)
{
    copy(&to->server[page], &from->server[page_before]);
    copy(&to->half[page], &from->half[page_before]);
}

struct upstream_fact *upstream_facts_of(struct upstream_facts *facts, size_t page, bool of_half)
{
    return of_half ? &facts->half[page] : &facts->server[page];
}

int upstream_facts_open(struct upstream_facts **out, int *descriptor)
{
    void *memory;
    int error = memory_share(sizeof(struct upstream_facts), "dnseal-facts", &memory, descriptor);
    if (error != 0) {
        return error;
    }
    struct upstream_facts *facts = memory;
    facts->version = FACTS_VERSION;
    facts->size = sizeof *facts;
    *out = facts;
    return 0;
}

void upstream_facts_close(struct upstream_facts *facts, int descriptor)
{
    memory_close(facts, sizeof *facts);
    memory_close_shared(descriptor);
}

bool upstream_facts_is_down(const struct upstream_facts *facts, size_t page)
{
    uint64_t since;
    return upstream_fact_health(&facts->server[page], &since) == UPSTREAM_DOWN;
}
