/*
 * What is said to a question for a name of ours, as a whole message: the records of the name, that there is
 * nothing of the type or no such name, with the SOA record that lets clients keep that (RFC 2308, RFC 6303),
 * or what is said of blocked names. Called for every question before anything else is looked up for it.
 *
 * Names in the message point into its question, since a zone is always an end of it.
 */
#include <assert.h>

#include "local/internal.h"

enum { FLAG_QR = 0x8000, FLAG_AA = 0x0400, POINTER = 0xc000 };

/* An answer being written. */
struct answer {
    const struct local *local;
    const struct local_path *path;
    struct span question;
    uint16_t type;
    struct bytes_writer writer;
    unsigned rcode;
    bool is_ours; /* we are the authority for it */
    uint16_t records, authority;
};

uint64_t local_top(const struct local_path *path)
{
    const uint8_t *label = path->name + path->start[path->depth - 1];
    return UINT64_C(1) << ((label[1] * 7u + label[label[0]] * 3u + label[0]) & 63);
}

static bool wants(const struct answer *answer, uint16_t type)
{
    return answer->type == type || answer->type == DNS_TYPE_ANY;
}

static void write_name(struct answer *answer, unsigned label)
{
    bytes_write_u16(&answer->writer, (uint16_t)(POINTER | (DNS_HEADER_SIZE + answer->path->start[label])));
}

static void write_record(struct answer *answer, unsigned label, uint16_t type, uint32_t ttl, struct span data)
{
    write_name(answer, label);
    bytes_write_u16(&answer->writer, type);
    bytes_write_u16(&answer->writer, DNS_CLASS_IN);
    bytes_write_u32(&answer->writer, ttl);
    bytes_write_u16(&answer->writer, (uint16_t)data.size);
    bytes_write(&answer->writer, data);
}

/* RFC 6303, section 3: the zone itself as its server, and nobody.invalid. */
static void write_soa(struct answer *answer, unsigned label, uint32_t ttl)
{
    static const char mailbox[] = "\6nobody\7invalid";
    static const uint32_t numbers[] = {1, 3600, 1200, 604800};
    uint8_t data[2 + sizeof mailbox + sizeof numbers + 4];
    struct bytes_writer writer = bytes_writer_of(data, sizeof data);
    bytes_write_u16(&writer, (uint16_t)(POINTER | (DNS_HEADER_SIZE + answer->path->start[label])));
    bytes_write(&writer, span_of(mailbox, sizeof mailbox));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        bytes_write_u32(&writer, numbers[i]);
    }
    bytes_write_u32(&writer, ttl);
    assert(!writer.failed);
    write_record(answer, label, DNS_TYPE_SOA, ttl, span_of(data, sizeof data));
}

static void deny(struct answer *answer, unsigned label, uint32_t ttl)
{
    write_soa(answer, label, ttl);
    answer->authority++;
}

/* ---- records of one's own ---- */

static const uint8_t *next_record(const struct local_table *records, const uint8_t *rest)
{
    uint32_t next = bytes_get_u32(rest + LOCAL_NEXT_AT);
    return next == 0 ? NULL : records->names + next;
}

/* One set has one TTL (RFC 2181, section 5.2). */
static uint32_t lowest_ttl(const struct local_table *records, const uint8_t *first, uint16_t type)
{
    uint32_t lowest = UINT32_MAX;
    for (const uint8_t *rest = first; rest != NULL; rest = next_record(records, rest)) {
        uint32_t ttl = bytes_get_u32(rest + LOCAL_TTL_AT);
        bool counts = bytes_get_u16(rest + LOCAL_TYPE_AT) == type && ttl < lowest;
        lowest = counts ? ttl : lowest;
    }
    return lowest;
}

static void write_records(struct answer *answer, size_t offset)
{
    const struct local_table *records = &answer->local->records;
    const uint8_t *first = records->names + offset + answer->path->size;
    for (const uint8_t *rest = first; rest != NULL; rest = next_record(records, rest)) {
        uint16_t type = bytes_get_u16(rest + LOCAL_TYPE_AT);
        if (wants(answer, type)) {
            struct span data = span_of(rest + LOCAL_DATA_AT, bytes_get_u16(rest + LOCAL_SIZE_AT));
            write_record(answer, 0, type, lowest_ttl(records, first, type), data);
            answer->records++;
        }
    }
}

/* ---- special use ---- */

static bool is_localhost(const struct answer *answer, unsigned label)
{
    static const uint8_t name[] = "\11localhost";
    size_t start = answer->path->start[label];
    return answer->path->size - start == sizeof name &&
           memcmp(answer->path->name + start, name, sizeof name) == 0;
}

static void write_loopback(struct answer *answer)
{
    static const uint8_t ipv4[] = {127, 0, 0, 1}, ipv6[16] = {[15] = 1};
    if (wants(answer, DNS_TYPE_A)) {
        write_record(answer, 0, DNS_TYPE_A, LOCAL_ZONE_TTL, span_of(ipv4, sizeof ipv4));
        answer->records++;
    }
    if (wants(answer, DNS_TYPE_AAAA)) {
        write_record(answer, 0, DNS_TYPE_AAAA, LOCAL_ZONE_TTL, span_of(ipv6, sizeof ipv6));
        answer->records++;
    }
}

static void write_apex(struct answer *answer)
{
    if (wants(answer, DNS_TYPE_SOA)) {
        write_soa(answer, 0, LOCAL_ZONE_TTL);
        answer->records++;
    }
    if (wants(answer, DNS_TYPE_NS)) {
        uint8_t data[2];
        bytes_put_u16(data, POINTER | DNS_HEADER_SIZE);
        write_record(answer, 0, DNS_TYPE_NS, LOCAL_ZONE_TTL, span_of(data, sizeof data));
        answer->records++;
    }
}

/* `exists`: the name has records, or a name below it. */
static void answer_zone(struct answer *answer, unsigned label, bool exists, bool has_own)
{
    bool is_loopback = is_localhost(answer, label);
    if (is_loopback && !has_own) {
        write_loopback(answer);
    }
    if (label == 0) {
        write_apex(answer);
    }
    if (answer->records == 0) {
        answer->rcode = exists || is_loopback || label == 0 ? DNS_RCODE_NOERROR : DNS_RCODE_NXDOMAIN;
        deny(answer, label, LOCAL_ZONE_TTL);
    }
}

/* That a zone under arpa is not signed is the parent's to prove, to clients that validate (RFC 8375, section
 * 4). */
static bool is_of_parent(const struct answer *answer, unsigned label)
{
    static const uint8_t arpa[] = "\4arpa";
    const struct local_path *path = answer->path;
    return answer->type == LOCAL_TYPE_DS && label == 0 &&
           memcmp(path->name + path->start[path->depth - 1], arpa, sizeof arpa) == 0;
}

static bool find_zone(const struct local *local, const struct local_path *path, struct local_match *out)
{
    return (local->tops & local_top(path)) != 0 &&
           local_table_find(&local->zones, path, LOCAL_KINDS, LOCAL_KINDS, out) &&
           (out->kinds & LOCAL_BELOW) == 0;
}

/* ---- blocks ---- */

static void answer_blocked(struct answer *answer, unsigned label)
{
    static const uint8_t nobody[16];
    if (answer->local->block_answer == LOCAL_BLOCK_REFUSED) {
        answer->rcode = DNS_RCODE_REFUSED;
        return;
    }
    if (answer->local->block_answer == LOCAL_BLOCK_NULL) {
        if (wants(answer, DNS_TYPE_A)) {
            write_record(answer, 0, DNS_TYPE_A, LOCAL_RECORD_TTL, span_of(nobody, 4));
            answer->records++;
        }
        if (wants(answer, DNS_TYPE_AAAA)) {
            write_record(answer, 0, DNS_TYPE_AAAA, LOCAL_RECORD_TTL, span_of(nobody, sizeof nobody));
            answer->records++;
        }
    } else {
        answer->rcode = DNS_RCODE_NXDOMAIN;
    }
    if (answer->records == 0) {
        deny(answer, label, LOCAL_RECORD_TTL);
    }
}

/* ---- the whole ---- */

/* Only once it is known that there is something to say. */
static void begin(struct answer *answer)
{
    bytes_write_zero(&answer->writer, DNS_HEADER_SIZE);
    bytes_write(&answer->writer, answer->question);
}

/* What is known of the name, put into the answer. */
static enum local_verdict decide(struct answer *answer)
{
    const struct local *local = answer->local;
    const struct local_path *path = answer->path;
    struct local_match own, block, zone;
    bool exists = local_table_find(&local->records, path, LOCAL_KINDS, 0, &own);
    bool has_own = exists && own.kinds == LOCAL_HERE;
    if (!has_own && local_table_find(&local->blocks, path, LOCAL_KINDS, LOCAL_BELOW, &block)) {
        begin(answer);
        answer_blocked(answer, block.label);
        return LOCAL_BLOCKED;
    }
    bool is_special = find_zone(local, path, &zone);
    if (!(has_own || is_special) || (is_special && is_of_parent(answer, zone.label))) {
        return LOCAL_UNKNOWN;
    }
    answer->is_ours = true;
    begin(answer);
    if (has_own) {
        write_records(answer, own.offset);
    }
    if (is_special && (answer->records == 0 || answer->type == DNS_TYPE_ANY)) {
        answer_zone(answer, zone.label, exists, has_own);
    } else if (answer->records == 0) {
        deny(answer, 0, LOCAL_RECORD_TTL);
    }
    return LOCAL_KNOWN;
}

static void write_head(const struct answer *answer, uint8_t out[DNS_HEADER_SIZE])
{
    struct bytes_writer head = bytes_writer_of(out, DNS_HEADER_SIZE);
    bytes_write_u16(&head, 0);
    bytes_write_u16(&head, (uint16_t)(FLAG_QR | (answer->is_ours ? FLAG_AA : 0u) | answer->rcode));
    bytes_write_u16(&head, 1);
    bytes_write_u16(&head, answer->records);
    bytes_write_u16(&head, answer->authority);
    bytes_write_u16(&head, 0);
}

enum local_verdict local_answer(const struct local *local, struct span question, uint8_t *out,
                                size_t capacity, size_t *size)
{
    size_t name = question.size - 4;
    if (bytes_get_u16(question.data + name + 2) != DNS_CLASS_IN || name == 1) {
        return LOCAL_UNKNOWN;
    }
    struct local_path path LOCAL_UNFILLED;
    local_path_of(span_of(question.data, name), &path);
    struct answer answer = {.local = local, .path = &path, .type = bytes_get_u16(question.data + name)};
    answer.writer = bytes_writer_of(out, capacity);
    answer.question = question;
    enum local_verdict verdict = decide(&answer);
    if (verdict != LOCAL_UNKNOWN) {
        assert(!answer.writer.failed);
        write_head(&answer, out);
        *size = bytes_written(&answer.writer);
    }
    return verdict;
}
