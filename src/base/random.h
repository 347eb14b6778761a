/*
 * Unpredictable numbers, drawn from the kernel in pages so that most calls are no system call. One per
 * thread.
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random {
    uint8_t pool[1024];
    size_t left;     /* unused bytes at the end of the pool */
    bool repeatable; /* filled from `seed` instead of the kernel: tests and nothing else */
    uint64_t seed, counter;
};

/* From the kernel. Never fails: where the kernel has no entropy source the process aborts. */
void random_init(struct random *random);

/* A repeatable sequence for tests. */
void random_init_repeatable(struct random *random, uint64_t seed);

void random_bytes(struct random *random, void *out, size_t size);
uint16_t random_u16(struct random *random);
uint64_t random_u64(struct random *random);

/* Evenly distributed over 0 .. bound - 1; bound must not be 0. */
uint32_t random_below(struct random *random, uint32_t bound);

/* `value` changed by up to `percent` per cent in either direction, evenly. percent is 0 to 100. */
uint64_t random_jitter(struct random *random, uint64_t value, unsigned percent);

#endif
