/*
 * Records and names of a message that was walked (dns_answer_read), where nothing has to be checked again:
 * which records are one RRset, which names are the same, and where to cut a message that is too long.
 */
#include "dns/wire.h"

enum { HOPS_MAX = 128 }; /* two names that differ in pointers alone beyond this count as different */

static size_t follow_pointers(const uint8_t *message, size_t at, unsigned *hops)
{
    while (message[at] >= DNS_POINTER && *hops < HOPS_MAX) {
        at = dns_pointer_target(message + at);
        ++*hops;
    }
    return at;
}

bool dns_names_are_same(const uint8_t *message, size_t a, size_t b)
{
    for (unsigned hops = 0; hops < HOPS_MAX;) {
        a = follow_pointers(message, a, &hops);
        b = follow_pointers(message, b, &hops);
        if (a == b) {
            return true;
        }
        if (message[a] != message[b] || message[a] >= DNS_POINTER ||
            !dns_name_equal(message + a + 1, message + b + 1, message[a])) {
            return false;
        }
        if (message[a] == 0) {
            return true;
        }
        a += message[a] + 1u;
        b += message[b] + 1u;
    }
    return false;
}

/* Negative where there are too many pointers in the name. */
static int count_labels(const uint8_t *message, size_t at)
{
    unsigned hops = 0;
    for (int labels = 0;; labels++) {
        at = follow_pointers(message, at, &hops);
        if (message[at] >= DNS_POINTER) {
            return -1;
        }
        if (message[at] == 0) {
            return labels;
        }
        at += message[at] + 1u;
    }
}

bool dns_name_is_within(const uint8_t *message, size_t name, size_t zone)
{
    int labels = count_labels(message, name), above = count_labels(message, zone);
    if (above < 0 || labels < above) {
        return false;
    }
    for (unsigned hops = 0; labels > above; labels--) {
        name = follow_pointers(message, name, &hops);
        name += message[name] + 1u;
    }
    return dns_names_are_same(message, name, zone);
}

struct dns_record dns_record_at(const uint8_t *message, size_t start)
{
    size_t fixed = dns_name_end(message, start);
    size_t data_size = bytes_get_u16(message + fixed + DNS_DATA_SIZE_AT);
    return (struct dns_record){
        .start = start,
        .size = fixed - start + DNS_RECORD_FIXED_SIZE + data_size,
        .owner_size = fixed - start,
        .type = bytes_get_u16(message + fixed),
        .class = bytes_get_u16(message + fixed + 2),
        .ttl = bytes_get_u32(message + fixed + DNS_TTL_AT),
        .data = span_of(message + fixed + DNS_RECORD_FIXED_SIZE, data_size),
    };
}

bool dns_records_are_one_set(const uint8_t *message, size_t a, size_t b)
{
    return bytes_get_u32(message + dns_name_end(message, a)) ==
               bytes_get_u32(message + dns_name_end(message, b)) &&
           dns_names_are_same(message, a, b);
}

static size_t record_end(const uint8_t *message, size_t start)
{
    size_t fixed = dns_name_end(message, start);
    return fixed + DNS_RECORD_FIXED_SIZE + bytes_get_u16(message + fixed + DNS_DATA_SIZE_AT);
}

struct dns_part dns_answer_cut(const struct dns_answer *answer, size_t room)
{
    const uint8_t *message = answer->message.data;
    size_t at = answer->records, used = 0;
    struct dns_part kept = {.end = at}, seen = kept;
    for (int section = 0; section < DNS_SECTIONS; section++) {
        size_t previous = 0;
        while (seen.count[section] < answer->count[section]) {
            if (at == answer->option_record) {
                at += answer->option_record_size;
            }
            if (previous == 0 || !dns_records_are_one_set(message, previous, at)) {
                kept = seen;
            }
            previous = at;
            at = record_end(message, at);
            used += at - previous;
            if (used > room) {
                return kept;
            }
            seen.count[section]++;
            seen.end = at;
        }
    }
    return seen;
}

bool dns_part_is_truncated(const struct dns_part *part, const uint16_t count[DNS_SECTIONS])
{
    return part->count[DNS_SECTION_ANSWER] < count[DNS_SECTION_ANSWER] ||
           part->count[DNS_SECTION_AUTHORITY] < count[DNS_SECTION_AUTHORITY];
}
