/*
 * The walk through a message that a stranger sent. The readers of queries and of answers call it record by
 * record and judge what they get; here it is made sure that every name ends, points backwards and stays
 * inside of what can hold a name, and that every record stays inside the message.
 */
#include <string.h>

#include "base/error.h"

#include "dns/wire.h"

struct dns_data_form dns_data_form(uint16_t type)
{
    static const struct dns_data_form forms[16] = {
        [2] = {.names = 1},               /* NS */
        [3] = {.names = 1},               /* MD */
        [4] = {.names = 1},               /* MF */
        [5] = {.names = 1},               /* CNAME */
        [6] = {.names = 2, .behind = 20}, /* SOA */
        [7] = {.names = 1},               /* MB */
        [8] = {.names = 1},               /* MG */
        [9] = {.names = 1},               /* MR */
        [12] = {.names = 1},              /* PTR */
        [14] = {.names = 2},              /* MINFO */
        [15] = {.before = 2, .names = 1}, /* MX */
    };
    return type < 16 ? forms[type] : (struct dns_data_form){0};
}

static size_t table_size(const struct dns_walk *walk)
{
    return walk->message.size < DNS_WALK_TABLE ? walk->message.size : DNS_WALK_TABLE;
}

/* Notes the sizes of a name of `size` bytes at `at` for those who will point at it or into it: at every label
 * of its own, at the end, and at the pointer. Stops where the walk has been before. */
static void remember_name(struct dns_walk *walk, size_t at, size_t size, uint8_t unless)
{
    const uint8_t *data = walk->message.data;
    while (at < DNS_WALK_TABLE && walk->places[at] == unless) {
        walk->places[at] = (uint8_t)size;
        if (data[at] == 0) {
            return;
        }
        if (data[at] >= DNS_POINTER) {
            if (unless != DNS_PLACE_OPAQUE) {
                return;
            }
            at = dns_pointer_target(data + at);
            continue;
        }
        size -= data[at] + 1u;
        at += data[at] + 1u;
    }
}

/* The size of a name that somebody points at within data of unknown format, 0 where there is none. A run of
 * labels is walked to its end even where it meets a name that was walked before: the pointer there has to go
 * before this run, too. No pointer in such data is ever corrected, so that none may go behind an OPT record,
 * which is going to be removed. */
static size_t opaque_name_size(const struct dns_walk *walk, size_t start)
{
    const uint8_t *data = walk->message.data, *places = walk->places;
    size_t end = table_size(walk), size = 1, run = start, at = start;
    while (at < end && size <= DNS_NAME_MAX) {
        uint8_t label = data[at];
        if (label > 0 && label <= DNS_LABEL_MAX) {
            size += label + 1u;
            at += label + 1u;
            continue;
        }
        size_t step = label == 0 ? 1 : DNS_POINTER_SIZE;
        if ((label > 0 && label < DNS_POINTER) || step > end - at ||
            memchr(places + run, 0, at + step - run) != NULL) {
            return 0;
        }
        if (label == 0) {
            return size;
        }
        size_t target = dns_pointer_target(data + at);
        if (target >= run || target >= walk->option_record) {
            return 0;
        }
        if (places[target] != DNS_PLACE_OPAQUE) {
            size += places[target] - 1u;
            return places[target] > 0 && size <= DNS_NAME_MAX ? size : 0;
        }
        run = at = target;
    }
    return 0;
}

/* The size of the name that a pointer behind `before` points at, 0 where there is none. */
static size_t target_size(struct dns_walk *walk, size_t target, size_t before)
{
    if (target >= before) {
        return 0;
    }
    if (walk->places[target] != DNS_PLACE_OPAQUE) {
        return walk->places[target];
    }
    size_t size = opaque_name_size(walk, target);
    if (size > 0) {
        remember_name(walk, target, size, DNS_PLACE_OPAQUE);
    }
    return size;
}

/* Moves on by one name whose own bytes end before the offset `end`. */
static int walk_name(struct dns_walk *walk, size_t end)
{
    const uint8_t *data = walk->message.data;
    size_t start = walk->at, at = start, size;
    for (;;) {
        if (at >= end || at - start >= DNS_NAME_MAX) {
            return ERROR_MALFORMED;
        }
        uint8_t label = data[at];
        if (label == 0) {
            size = ++at - start;
            break;
        }
        if (label >= DNS_POINTER) {
            if (end - at < DNS_POINTER_SIZE) {
                return ERROR_MALFORMED;
            }
            size_t rest = target_size(walk, dns_pointer_target(data + at), start);
            size = at - start + rest;
            at += DNS_POINTER_SIZE;
            if (rest == 0 || size > DNS_NAME_MAX) {
                return ERROR_MALFORMED;
            }
            break;
        }
        if (label > DNS_LABEL_MAX) {
            return ERROR_MALFORMED;
        }
        at += label + 1u;
    }
    remember_name(walk, start, size, 0);
    walk->at = at;
    return 0;
}

/* The data of a record up to `end`, where the walk then stands. */
static int walk_data(struct dns_walk *walk, uint16_t type, size_t end)
{
    struct dns_data_form form = dns_data_form(type);
    if (form.names == 0) {
        if (type != DNS_TYPE_OPT && walk->at < DNS_WALK_TABLE) {
            size_t within = end < DNS_WALK_TABLE ? end : DNS_WALK_TABLE;
            memset(walk->places + walk->at, DNS_PLACE_OPAQUE, within - walk->at);
        }
        walk->at = end;
        return 0;
    }
    walk->at += form.before;
    for (unsigned i = 0; i < form.names; i++) {
        if (walk_name(walk, end) < 0) {
            return ERROR_MALFORMED;
        }
    }
    walk->at += form.behind;
    return walk->at == end ? 0 : ERROR_MALFORMED;
}

void dns_walk_begin(struct dns_walk *walk, struct span message)
{
    walk->message = message;
    walk->at = DNS_HEADER_SIZE;
    walk->option_record = message.size;
    memset(walk->places, 0, table_size(walk));
}

int dns_walk_question(struct dns_walk *walk, struct span *question)
{
    size_t start = walk->at, end = walk->message.size;
    if (walk_name(walk, end) < 0 || end - walk->at < 4) {
        return ERROR_MALFORMED;
    }
    walk->at += 4;
    *question = span_of(walk->message.data + start, walk->at - start);
    return 0;
}

int dns_walk_record(struct dns_walk *walk, struct dns_record *record)
{
    size_t start = walk->at, end = walk->message.size;
    if (walk_name(walk, end) < 0 || end - walk->at < DNS_RECORD_FIXED_SIZE) {
        return ERROR_MALFORMED;
    }
    const uint8_t *fixed = walk->message.data + walk->at;
    size_t data_size = bytes_get_u16(fixed + 8);
    *record = (struct dns_record){
        .start = start,
        .owner_size = walk->at - start,
        .type = bytes_get_u16(fixed),
        .class = bytes_get_u16(fixed + 2),
        .ttl = bytes_get_u32(fixed + 4),
        .data = span_of(fixed + DNS_RECORD_FIXED_SIZE, data_size),
    };
    walk->at += DNS_RECORD_FIXED_SIZE;
    if (data_size > end - walk->at || walk_data(walk, record->type, walk->at + data_size) < 0) {
        return ERROR_MALFORMED;
    }
    record->size = walk->at - start;
    if (record->type == DNS_TYPE_OPT) {
        walk->option_record = start;
        if (start < DNS_WALK_TABLE) {
            walk->places[start] = 0;
        }
    }
    return 0;
}

bool dns_record_is_signature(const struct dns_record *record)
{
    return record->type == DNS_TYPE_TSIG ||
           (record->type == DNS_TYPE_SIG && record->data.size >= 2 && bytes_get_u16(record->data.data) == 0);
}
