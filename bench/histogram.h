/*
 * Latencies in buckets of a thousandth of their value: fixed memory, any range.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_FINE = 1024, HISTOGRAM_BUCKETS = 64 * HISTOGRAM_FINE };

struct histogram {
    uint64_t count, most;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);

/* The lower edge of the bucket in which the given share (0 to 1) of all values is reached; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
