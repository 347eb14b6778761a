/*
 * Answers as a cache keeps them: the records as they stand, behind a head of a few bytes, without what
 * belongs to one client or one hop. Written once for an answer; read for every client that asks for it again,
 * in one pass over a copy, so that the bytes may change under the reader or be damaged: then the reader says
 * so and has read nothing outside of them.
 *
 * The head: a byte of bits (below); the number of records in each section, a byte each or, with STORED_LONG,
 * two; with STORED_EXTENDED the extended error: its code, the size of its text in a byte, the text.
 */
#include <assert.h>

#include "base/error.h"

#include "dns/wire.h"

enum stored_bit {
    STORED_RCODE = 0x0f,
    STORED_AD = 0x10,
    STORED_EXTENDED = 0x20,
    STORED_LONG = 0x40,
    STORED_UNUSED = 0x80,
};

enum { HEAD_MAX = 1 + 2 * DNS_SECTIONS + 3 + DNS_EXTRA_TEXT_MAX, COUNT_SHORT = 0xff };

struct head {
    unsigned bits;
    uint16_t count[DNS_SECTIONS];
    struct dns_extended_error extended;
};

/* ---- writing ---- */

static void set_times(uint8_t *message, size_t at, size_t end, uint32_t ttl)
{
    while (at < end) {
        struct dns_record record = dns_record_at(message, at);
        bytes_put_u32(message + at + record.owner_size + DNS_TTL_AT, ttl);
        at += record.size;
    }
}

/* One RRset has one TTL, its lowest (RFC 2181, section 5.2); signatures have that of what they cover (RFC
 * 4034, section 3). An SOA that denies something is as old as that may get. Returns the end of the set. */
static size_t even_set(uint8_t *message, size_t start, int section, unsigned *left)
{
    uint32_t lowest = UINT32_MAX;
    size_t at = start;
    struct dns_record record;
    do {
        record = dns_record_at(message, at);
        bool is_denial = section == DNS_SECTION_AUTHORITY && record.type == DNS_TYPE_SOA;
        uint32_t ttl = is_denial ? dns_soa_negative_ttl(&record) : record.ttl;
        lowest = ttl < lowest ? ttl : lowest;
        at += record.size;
        --*left;
    } while (*left > 0 && record.type != DNS_TYPE_RRSIG && dns_records_are_one_set(message, start, at));
    set_times(message, start, at, lowest);
    return at;
}

static void even_times(uint8_t *message, size_t at, const uint16_t count[DNS_SECTIONS])
{
    for (int section = 0; section < DNS_SECTIONS; section++) {
        for (unsigned left = count[section]; left > 0;) {
            at = even_set(message, at, section, &left);
        }
    }
}

static size_t write_head(const struct dns_answer *answer, uint8_t out[HEAD_MAX])
{
    const uint16_t *count = answer->count;
    bool is_long = count[0] > COUNT_SHORT || count[1] > COUNT_SHORT || count[2] > COUNT_SHORT;
    bool has_extended = answer->extended.code != DNS_EXTENDED_NONE;
    struct bytes_writer writer = bytes_writer_of(out, HEAD_MAX);
    bytes_write_u8(&writer, (uint8_t)(answer->rcode | (answer->ad ? STORED_AD : 0u) |
                                      (has_extended ? STORED_EXTENDED : 0u) | (is_long ? STORED_LONG : 0u)));
    for (int section = 0; section < DNS_SECTIONS; section++) {
        if (is_long) {
            bytes_write_u16(&writer, count[section]);
        } else {
            bytes_write_u8(&writer, (uint8_t)count[section]);
        }
    }
    if (has_extended) {
        struct span text = dns_extended_text(&answer->extended);
        bytes_write_u16(&writer, (uint16_t)answer->extended.code);
        bytes_write_u8(&writer, (uint8_t)text.size);
        bytes_write(&writer, text);
    }
    return bytes_written(&writer);
}

int dns_stored_write(const struct dns_answer *answer, uint8_t *out, size_t capacity, size_t *size)
{
    if (answer->tc || answer->is_signed || answer->rcode > STORED_RCODE) {
        return ERROR_INVALID;
    }
    if (capacity < answer->message.size) {
        return ERROR_SPACE;
    }
    /* What a client without EDNS would get has the records as they are wanted, with the pointers right. */
    struct dns_view plain = {.question = answer->question, .limit = DNS_MESSAGE_MAX};
    size_t whole, start = DNS_HEADER_SIZE + answer->question.size;
    int error = dns_answer_write(answer, &plain, out, capacity, &whole);
    assert(error == 0);
    even_times(out, start, answer->count);
    uint8_t head[HEAD_MAX];
    size_t head_size = write_head(answer, head);
    assert(head_size + whole - start <= capacity);
    memmove(out + head_size, out + start, whole - start);
    memcpy(out, head, head_size);
    *size = head_size + whole - start;
    return 0;
}

/* ---- reading ---- */

static int read_head(struct bytes_reader *reader, struct head *out)
{
    *out = (struct head){.bits = bytes_read_u8(reader), .extended.code = DNS_EXTENDED_NONE};
    for (int section = 0; section < DNS_SECTIONS; section++) {
        out->count[section] = out->bits & STORED_LONG ? bytes_read_u16(reader) : bytes_read_u8(reader);
    }
    if (out->bits & STORED_EXTENDED) {
        out->extended.code = bytes_read_u16(reader);
        out->extended.text = bytes_read(reader, bytes_read_u8(reader));
    }
    bool is_broken = out->bits & STORED_UNUSED || out->extended.text.size > DNS_EXTRA_TEXT_MAX;
    return reader->failed || is_broken ? ERROR_MALFORMED : 0;
}

int dns_stored_rcode(struct span bytes)
{
    return bytes.size > 0 ? bytes.data[0] & STORED_RCODE : ERROR_MALFORMED;
}

static uint32_t shown_ttl(uint32_t ttl, const struct dns_stored *stored)
{
    ttl = ttl > stored->least ? ttl : stored->least;
    ttl = ttl < stored->most ? ttl : stored->most;
    if (stored->stale > 0) {
        ttl = ttl < stored->stale ? ttl : stored->stale;
        return ttl > 0 ? ttl : 1; /* RFC 8767, section 5.2 */
    }
    return ttl > stored->age ? ttl - stored->age : 0;
}

/* The offset behind a name that nobody has looked at, beyond `end` where it does not end before. */
static size_t name_end(const uint8_t *message, size_t at, size_t end)
{
    while (at < end && message[at] != 0) {
        if (message[at] > DNS_LABEL_MAX) {
            return message[at] >= DNS_POINTER ? at + DNS_POINTER_SIZE : end;
        }
        at += message[at] + 1u;
    }
    return at + 1;
}

/* Walks the copy from its first record to its last byte. */
static int age_records(struct bytes_writer *copy, size_t at, const struct head *head,
                       const struct dns_stored *stored)
{
    uint8_t *message = copy->start;
    size_t end = bytes_written(copy);
    for (unsigned left = (unsigned)head->count[0] + head->count[1] + head->count[2]; left > 0; left--) {
        size_t fixed = name_end(message, at, end);
        at = fixed + DNS_RECORD_FIXED_SIZE;
        if (at > end || bytes_get_u16(message + fixed) == DNS_TYPE_OPT) {
            return ERROR_MALFORMED;
        }
        uint8_t *ttl = message + fixed + DNS_TTL_AT;
        bytes_put_u32(ttl, shown_ttl(bytes_get_u32(ttl), stored));
        at += bytes_get_u16(message + fixed + DNS_DATA_SIZE_AT);
    }
    return at == end ? 0 : ERROR_MALFORMED;
}

static unsigned flags_of(const struct head *head, const struct dns_view *view)
{
    return (head->bits & STORED_RCODE) | (head->bits & STORED_AD && view->show_ad ? DNS_FLAG_AD : 0u);
}

/* Cuts the message in place to whole RRsets of `room` bytes. Names are followed now, so that the message has
 * to be walked like a stranger's. */
static int cut_records(struct bytes_writer *writer, const struct dns_view *view, const struct head *head,
                       size_t room)
{
    struct dns_view plain = *view;
    plain.has_edns = false;
    struct bytes_writer top = bytes_writer_of(writer->start, bytes_written(writer));
    dns_view_head_write(&top, &plain, flags_of(head, view), head->count);
    struct dns_answer answer;
    if (dns_answer_read(span_of(writer->start, bytes_written(writer)), &answer) < 0) {
        return ERROR_MALFORMED;
    }
    struct dns_part part = dns_answer_cut(&answer, room);
    unsigned tc = dns_part_is_truncated(&part, head->count) ? DNS_FLAG_TC : 0;
    top = bytes_writer_of(writer->start, bytes_written(writer));
    dns_view_head_write(&top, view, flags_of(head, view) | tc, part.count);
    writer->at = writer->start + part.end;
    return 0;
}

int dns_stored_answer(const struct dns_stored *stored, const struct dns_view *view, uint8_t *out,
                      size_t capacity, size_t *size)
{
    assert(view->question.size > 0 && view->opcode == 0);
    assert(view->client_subnet.size <= DNS_OPTION_CLIENT_SUBNET_MAX);
    struct head head;
    struct bytes_reader reader = bytes_reader_of(stored->bytes);
    if (read_head(&reader, &head) < 0) {
        return ERROR_MALFORMED;
    }
    bool is_told = head.extended.code == view->extended.code;
    const struct dns_extended_error *kept = is_told ? NULL : &head.extended;
    size_t start = DNS_HEADER_SIZE + view->question.size, records = bytes_left(&reader);
    size_t least = start + dns_view_option_size(view, kept);
    if (capacity < least || capacity - start < records) {
        return ERROR_SPACE;
    }
    struct bytes_writer writer = bytes_writer_of(out, capacity);
    dns_view_head_write(&writer, view, flags_of(&head, view), head.count);
    bytes_write(&writer, bytes_read(&reader, records));
    if (age_records(&writer, start, &head, stored) < 0) {
        return ERROR_MALFORMED;
    }
    size_t limit = view->limit < capacity ? view->limit : capacity;
    size_t room = limit > least ? limit - least : 0;
    if (records > room && cut_records(&writer, view, &head, room) < 0) {
        return ERROR_MALFORMED;
    }
    dns_view_option_write(&writer, view, head.bits & STORED_RCODE, kept);
    *size = bytes_written(&writer);
    return 0;
}
