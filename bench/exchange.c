/*
 * See exchange.h. An id is the low half of a running number, and names the slot in the ring: no search, and
 * an id is not used again before 65,536 others. The load generator calls this for every query and every
 * answer.
 */
#include "exchange.h"

#include <stdlib.h>
#include <string.h>

enum { RECORD_FIXED = 10, NAME_POINTER = 2, MOST_SLOTS = 65536 };

void exchange_open(struct exchange *exchange, struct exchange_rules *rules, uint32_t most)
{
    uint32_t size = 4;
    while (size < most * 2 && size < MOST_SLOTS) {
        size *= 2;
    }
    *exchange = (struct exchange){.rules = rules, .mask = size - 1};
    exchange->slots = calloc(size, sizeof *exchange->slots);
    if (exchange->slots == NULL) {
        bench_fail("memory");
    }
}

static void release(struct exchange *exchange, struct exchange_slot *slot)
{
    slot->asked_at = 0;
    exchange->outstanding--;
}

static void skip_answered(struct exchange *exchange)
{
    while (exchange->first != exchange->next &&
           exchange->slots[exchange->first & exchange->mask].asked_at == 0) {
        exchange->first++;
    }
}

static void log_query(const struct exchange_rules *rules, uint64_t asked_at, double milliseconds, int rcode)
{
    if (rules->log != NULL) {
        (void)fprintf(rules->log, "%.3f %.3f %d\n",
                      (double)(int64_t)(asked_at - rules->begun) / BENCH_MILLISECOND, milliseconds, rcode);
    }
}

/* ---- asking ---- */

size_t exchange_ask(struct exchange *exchange, uint64_t at, uint8_t *query)
{
    skip_answered(exchange);
    if (exchange->next - exchange->first > exchange->mask) {
        return 0;
    }
    struct exchange_rules *rules = exchange->rules;
    struct exchange_slot *slot = &exchange->slots[exchange->next & exchange->mask];
    *slot = (struct exchange_slot){
        .asked_at = at, .name = names_next(&rules->names), .id = (uint16_t)exchange->next};
    exchange->next++;
    exchange->outstanding++;
    rules->tally.sent++;
    memset(query, 0, BENCH_HEADER_SIZE);
    bench_put16(query, slot->id);
    query[2] = 1; /* RD */
    bench_put16(query + 4, 1);
    names_write(&rules->names, slot->name, query + BENCH_HEADER_SIZE);
    size_t end = BENCH_HEADER_SIZE + rules->names.size;
    bench_put16(query + end, 1);
    bench_put16(query + end + 2, 1);
    return end + 4;
}

/* ---- hearing ---- */

static bool is_right_record(const struct exchange_rules *rules, uint32_t number, const uint8_t *name,
                            const uint8_t *record, size_t size)
{
    if (size >= rules->names.size + RECORD_FIXED && memcmp(record, name, rules->names.size) == 0) {
        record += rules->names.size; /* a name that is not compressed is right as well */
        size -= rules->names.size;
    } else if (size >= NAME_POINTER && bench_get16(record) == (0xc000 | BENCH_HEADER_SIZE)) {
        record += NAME_POINTER;
        size -= NAME_POINTER;
    } else {
        return false;
    }
    if (size < RECORD_FIXED + 4 || bench_get32(record) != 0x00010001 || bench_get16(record + 8) != 4) {
        return false;
    }
    uint32_t ttl = bench_get32(record + 4);
    return ttl <= BENCH_TTL && ttl + rules->most_age >= BENCH_TTL &&
           bench_get32(record + RECORD_FIXED) == names_address(&rules->names, number, name);
}

static bool is_right(const struct exchange_rules *rules, const struct exchange_slot *slot,
                     const uint8_t *answer, size_t size)
{
    uint8_t question[BENCH_QUERY_MAX];
    size_t name_size = rules->names.size;
    names_write(&rules->names, slot->name, question);
    bench_put32(question + name_size, 0x00010001); /* A, IN */
    size_t end = BENCH_HEADER_SIZE + name_size + 4;
    if (size < end || bench_get16(answer + 4) != 1 ||
        memcmp(answer + BENCH_HEADER_SIZE, question, name_size + 4) != 0) {
        return false;
    }
    if (rules->echo) {
        return size == end;
    }
    return (answer[3] & 0x0f) != 0 ||
           (bench_get16(answer + 6) == 1 &&
            is_right_record(rules, slot->name, question, answer + end, size - end));
}

void exchange_hear(struct exchange *exchange, const uint8_t *answer, size_t size, uint64_t now)
{
    struct exchange_rules *rules = exchange->rules;
    if (size < BENCH_HEADER_SIZE || (answer[2] & 0x80) == 0) {
        rules->tally.wrong++;
        return;
    }
    uint16_t id = bench_get16(answer);
    struct exchange_slot *slot = &exchange->slots[id & exchange->mask];
    if (slot->asked_at == 0 || slot->id != id) {
        rules->tally.unexpected++;
        return;
    }
    int rcode = answer[3] & 0x0f;
    rules->tally.wrong += !is_right(rules, slot, answer, size);
    rules->tally.failed += rcode != 0;
    rules->tally.answered++;
    uint64_t latency = now > slot->asked_at ? now - slot->asked_at : 0;
    histogram_add(&rules->tally.latency, latency);
    log_query(rules, slot->asked_at, (double)latency / BENCH_MILLISECOND, rcode);
    release(exchange, slot);
}

void exchange_expire(struct exchange *exchange, uint64_t now, bool everything)
{
    struct exchange_rules *rules = exchange->rules;
    while (exchange->first != exchange->next) {
        struct exchange_slot *slot = &exchange->slots[exchange->first & exchange->mask];
        if (slot->asked_at != 0) {
            if (!everything && now < slot->asked_at + rules->timeout) {
                return;
            }
            rules->tally.lost++;
            log_query(rules, slot->asked_at, -1, -1);
            release(exchange, slot);
        }
        exchange->first++;
    }
}

void exchange_restart(struct exchange_rules *rules)
{
    uint64_t wrong = rules->tally.wrong;
    memset(&rules->tally, 0, sizeof rules->tally);
    rules->tally.wrong = wrong;
}
