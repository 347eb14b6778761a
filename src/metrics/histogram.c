/* Durations sorted into buckets of about a factor of two. */
#include "metrics/buckets.h"

static const uint64_t bounds[METRICS_BUCKETS - 1] = {
#define X(microseconds, text) microseconds *CLOCK_MICROSECOND,
    METRICS_BOUNDS(X)
#undef X
};

void metrics_observe(struct metrics_histogram *histogram, uint64_t nanoseconds)
{
    size_t bucket = 0;
    while (bucket < METRICS_BUCKETS - 1 && nanoseconds > bounds[bucket]) {
        bucket++;
    }
    metrics_add(&histogram->bucket[bucket], 1);
    metrics_add(&histogram->sum, nanoseconds);
}
