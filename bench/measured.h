/*
 * What the load generator measured, and how it is told.
 */
#ifndef BENCH_MEASURED_H
#define BENCH_MEASURED_H

#include <stdint.h>

#include "exchange.h"

struct measured {
    uint64_t nanoseconds, processor_time, answered, asked, from_set;
    uint64_t closed; /* streams that the other side closed */
    uint64_t filled; /* names of the set that were answered once before all else */
};

/* Prints one JSON object on standard output. */
void measured_print(const struct measured *measured, const struct exchange_rules *rules);

#endif
