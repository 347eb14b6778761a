/*
 * See histogram.h. Small values have a bucket each; above, each power of two has HISTOGRAM_FINE buckets. The
 * load generator adds every answer.
 */
#include "histogram.h"

#include <math.h>

enum { FINE_BITS = 10 };

static unsigned bucket_of(uint64_t value)
{
    if (value < HISTOGRAM_FINE) {
        return (unsigned)value;
    }
    unsigned shift = 63U - (unsigned)__builtin_clzll(value) - FINE_BITS;
    return (shift + 1) * HISTOGRAM_FINE + ((unsigned)(value >> shift) & (HISTOGRAM_FINE - 1));
}

static uint64_t edge_of(unsigned bucket)
{
    if (bucket < HISTOGRAM_FINE) {
        return bucket;
    }
    unsigned shift = bucket / HISTOGRAM_FINE - 1;
    return (uint64_t)(HISTOGRAM_FINE + bucket % HISTOGRAM_FINE) << shift;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    histogram->most = value > histogram->most ? value : histogram->most;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)ceil((double)histogram->count * share);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > 0 && seen >= wanted) {
            return edge_of(i);
        }
    }
    return 0;
}
