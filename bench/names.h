/*
 * Which name is asked next: always another one (misses), or one of a fixed set, each equally likely or by
 * Zipf's law, with as many new ones between two of the set as is wanted. The set may be asked for once from
 * end to end before. A name is a number in digits, a label of its run and the same end for all, so that every
 * query has one length.
 */
#ifndef BENCH_NAMES_H
#define BENCH_NAMES_H

#include <stddef.h>
#include <stdint.h>

enum { NAMES_DIGITS = 8, NAMES_MOST = 100000000, NAMES_SEQUENCE = 1 << 20 };

struct names_wish {
    const char *run; /* tells the names of one run from those of others, at most 20 characters */
    uint32_t set;    /* how many names; 0: each is new */
    double exponent; /* 0 is uniform */
    uint32_t flood;  /* new names for each of the set */
    uint32_t first;  /* of the new ones, which are not in the set in any case */
};

struct names {
    struct names_wish wish;
    uint64_t asked;      /* but for those that only fill */
    uint64_t from_set;   /* of these */
    uint32_t to_fill;    /* how many of the set are still asked for in a row */
    uint32_t *sequence;  /* which ones, over and over; NULL without a set */
    uint32_t *addresses; /* of the set */
    size_t size;         /* of a name in wire format */
    uint8_t pattern[64];
};

void names_open(struct names *names, const struct names_wish *wish);

/* The next names are the set, each once. */
void names_fill(struct names *names);

uint32_t names_next(struct names *names);

/* The right address of a name, given as number and in wire format. */
uint32_t names_address(const struct names *names, uint32_t number, const uint8_t *name);

/* In wire format, `size` bytes. */
void names_write(const struct names *names, uint32_t number, uint8_t *name);

#endif
