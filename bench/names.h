/*
 * Which name is asked next: always another one (misses), or one of a fixed set, each equally likely or by
 * Zipf's law. A name is a number in digits, a label of its run and the same end for all, so that every query
 * has one length.
 */
#ifndef BENCH_NAMES_H
#define BENCH_NAMES_H

#include <stddef.h>
#include <stdint.h>

enum { NAMES_DIGITS = 8, NAMES_SEQUENCE = 1 << 20 };

struct names {
    uint64_t asked;
    uint32_t set;       /* how many names; 0: each is new */
    uint32_t *sequence; /* which ones, over and over; NULL without a set */
    size_t size;        /* of a name in wire format */
    uint8_t pattern[64];
};

/* `run` tells the names of one run from those of others, at most 20 characters; `exponent` 0 is uniform. */
void names_open(struct names *names, const char *run, uint32_t set, double exponent);

uint32_t names_next(struct names *names);

/* In wire format, `size` bytes. */
void names_write(const struct names *names, uint32_t number, uint8_t *name);

#endif
