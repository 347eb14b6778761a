/*
 * How fast a server answers: a smoothed mean, which the choice of a server goes by, and a histogram, which
 * tells when an answer is late. Pure functions of what they are given; of one worker.
 */
#include "base/clock.h"

#include "upstream/internal.h"

/* Weights in parts of 1024. Answers that come fast after each other count for a sixteenth, one after a pause
 * for more the longer the pause was, up to a half: one lucky answer is not the truth about a server. */
enum { WEIGHT_ONE = 1024, WEIGHT_LEAST = WEIGHT_ONE / 16, WEIGHT_MOST = WEIGHT_ONE / 2 };

#define PAUSE_OF_HALF (4 * CLOCK_SECOND)

/* The histogram forgets: when it has seen so many, all its numbers are halved. */
enum { HISTOGRAM_FULL = 512 };

/* Four buckets for each doubling, the first of them for all up to a quarter of a millisecond. */
enum { BUCKETS_PER_DOUBLING = 4 };

#define BUCKET_FIRST (CLOCK_MILLISECOND / 4)

static uint64_t weight_of(const struct upstream_latency *latency, uint64_t now)
{
    uint64_t pause = clock_since(latency->measured_at, now);
    uint64_t weight =
        WEIGHT_ONE * (pause / CLOCK_MICROSECOND) / ((pause + PAUSE_OF_HALF) / CLOCK_MICROSECOND);
    uint64_t first = WEIGHT_ONE / (latency->samples + UINT64_C(1));
    weight = weight < WEIGHT_MOST ? weight : WEIGHT_MOST;
    weight = weight > WEIGHT_LEAST ? weight : WEIGHT_LEAST;
    return weight > first ? weight : first;
}

static void smooth(struct upstream_latency *latency, uint64_t now, uint64_t taken)
{
    int64_t distance = (int64_t)taken - (int64_t)latency->mean;
    latency->mean += (uint64_t)(distance / WEIGHT_ONE * (int64_t)weight_of(latency, now));
    latency->measured_at = now;
    latency->samples = (uint16_t)(latency->samples + (latency->samples < UINT16_MAX));
}

/* The upper end of a bucket: quarters between one doubling and the next. */
static uint64_t bucket_end(unsigned bucket)
{
    uint64_t doubling = BUCKET_FIRST << (bucket / BUCKETS_PER_DOUBLING);
    return doubling + doubling / BUCKETS_PER_DOUBLING * (bucket % BUCKETS_PER_DOUBLING);
}

static unsigned bucket_of(uint64_t taken)
{
    unsigned bucket = 0;
    while (bucket < UPSTREAM_LATENCY_BUCKETS - 1 && bucket_end(bucket) < taken) {
        bucket++;
    }
    return bucket;
}

static void forget_half(struct upstream_latency *latency)
{
    latency->counted = 0;
    for (unsigned i = 0; i < UPSTREAM_LATENCY_BUCKETS; i++) {
        latency->bucket[i] /= 2;
        latency->counted = (uint16_t)(latency->counted + latency->bucket[i]);
    }
}

void upstream_latency_note(struct upstream_latency *latency, uint64_t now, uint64_t taken)
{
    smooth(latency, now, taken);
    latency->bucket[bucket_of(taken)]++;
    if (++latency->counted == HISTOGRAM_FULL) {
        forget_half(latency);
    }
}

void upstream_latency_note_least(struct upstream_latency *latency, uint64_t now, uint64_t taken)
{
    if (taken > latency->mean) {
        smooth(latency, now, taken);
    }
}

void upstream_latency_adopt(struct upstream_latency *latency, uint64_t mean, uint64_t measured_at)
{
    latency->mean = mean;
    latency->measured_at = measured_at;
    latency->samples = (uint16_t)(latency->samples + (latency->samples == 0));
}

uint64_t upstream_latency_late(const struct upstream_latency *latency)
{
    unsigned beyond = latency->counted / 20, bucket = UPSTREAM_LATENCY_BUCKETS;
    if (latency->counted == 0) {
        return UINT64_MAX;
    }
    for (unsigned seen = 0; bucket > 1 && seen <= beyond;) {
        seen += latency->bucket[--bucket];
    }
    return bucket_end(bucket);
}
