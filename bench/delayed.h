/*
 * Answers that wait for their time, first in, first out: every one waits equally long, so no order has to be
 * made.
 */
#ifndef BENCH_DELAYED_H
#define BENCH_DELAYED_H

#include "common.h"

enum { DELAYED_MAX = 32768, DELAYED_SIZE = BENCH_QUERY_MAX + 32 };

struct delayed_answer {
    uint64_t due;
    uint64_t generation; /* of the connection, so that a successor does not get it */
    uint32_t connection;
    uint16_t size;
    uint8_t bytes[DELAYED_SIZE];
};

struct delayed {
    size_t first, count;
    struct delayed_answer answers[DELAYED_MAX];
};

/* A place at the end, NULL when all are taken. */
struct delayed_answer *delayed_push(struct delayed *delayed);

/* The first, when it is due, else NULL; it stays the first until it is dropped. */
const struct delayed_answer *delayed_due(const struct delayed *delayed, uint64_t now);
void delayed_drop(struct delayed *delayed);

/* Nanoseconds until the first is due, INT64_MAX when none waits. */
int64_t delayed_wait(const struct delayed *delayed, uint64_t now);

#endif
