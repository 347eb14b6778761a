/*
 * The queries of one socket that wait for their answers, and the judgement of each answer: id, question,
 * rcode, address and TTL. What was asked and what came is counted in one tally for all sockets.
 */
#ifndef BENCH_EXCHANGE_H
#define BENCH_EXCHANGE_H

#include <stdbool.h>
#include <stdio.h>

#include "common.h"
#include "histogram.h"
#include "names.h"

struct tally {
    uint64_t sent, answered, lost;
    uint64_t wrong;      /* another question, address or TTL, no answer section, no DNS at all */
    uint64_t failed;     /* an rcode other than NOERROR */
    uint64_t unexpected; /* an id that nobody waits for: late, twice, or never asked */
    struct histogram latency;
};

/* What holds for all sockets of a run. */
struct exchange_rules {
    struct names names;
    struct tally tally;
    uint64_t timeout;
    uint64_t begun;
    uint32_t most_age; /* seconds that an answer may have waited in a cache */
    bool echo;         /* the answer is the query with QR set */
    FILE *log;         /* a line for every query: when asked, after how long, rcode; NULL for none */
};

struct exchange_slot {
    uint64_t asked_at; /* 0 when free */
    uint32_t name;
    uint16_t id;
};

struct exchange {
    struct exchange_rules *rules;
    struct exchange_slot *slots; /* a ring in the order of asking */
    uint32_t mask, first, next, outstanding;
};

/* Room for at least `most` queries at a time. */
void exchange_open(struct exchange *exchange, struct exchange_rules *rules, uint32_t most);

/* Writes the next query as asked at `at`; its size, 0 when there is no room. */
size_t exchange_ask(struct exchange *exchange, uint64_t at, uint8_t *query);

void exchange_hear(struct exchange *exchange, const uint8_t *answer, size_t size, uint64_t now);

/* Gives up what waits too long, or everything. */
void exchange_expire(struct exchange *exchange, uint64_t now, bool everything);

/* Begins to count anew, but forgives nothing that was wrong. What is out now is counted when its answer
 * comes. */
void exchange_restart(struct exchange_rules *rules);

#endif
