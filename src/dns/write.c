/*
 * Messages to clients: an upstream's answer seen by one of them, or an answer of our own. Called once for
 * every client that waits for an answer, so that records are copied as they stand in one or two pieces; then
 * a single walk over the copy sees to the TTLs and, where an OPT record was taken out from between others, to
 * the pointers.
 */
#include <assert.h>

#include "base/error.h"

#include "dns/wire.h"

enum {
    KEEPALIVE_SIZE = 2,
    EXTENDED_CODE_SIZE = 2,
    TTL_AT = 4, /* within the fixed part of a record */
    DATA_SIZE_AT = 8,
    TTL_SIGN = 0x80,
    HOPS_MAX = 128, /* two names that differ in pointers alone beyond this count as different */
};

/* The leading part of an answer's records that a client gets. */
struct part {
    size_t end; /* an offset in the answer's message */
    uint16_t count[DNS_SECTIONS];
};

static bool writes_extended(const struct dns_view *view)
{
    return view->extended.code != DNS_EXTENDED_NONE;
}

/* Text is UTF-8 (RFC 8914, section 2) and is not cut within a character. */
static struct span extended_text(const struct dns_view *view)
{
    struct span text = view->extended.text;
    if (text.size > DNS_EXTRA_TEXT_MAX) {
        text.size = DNS_EXTRA_TEXT_MAX;
        while (text.size > 0 && (text.data[text.size] & 0xc0) == 0x80) {
            text.size--;
        }
    }
    return text;
}

static size_t option_record_size(const struct dns_view *view)
{
    if (!view->has_edns) {
        return 0;
    }
    size_t size = DNS_OPTION_RECORD_SIZE;
    if (view->keepalive >= 0) {
        size += DNS_OPTION_HEAD_SIZE + KEEPALIVE_SIZE;
    }
    if (view->client_subnet.size > 0) {
        size += DNS_OPTION_HEAD_SIZE + view->client_subnet.size;
    }
    if (writes_extended(view)) {
        size += DNS_OPTION_HEAD_SIZE + EXTENDED_CODE_SIZE + extended_text(view).size;
    }
    return size;
}

static void write_option_record(struct bytes_writer *writer, const struct dns_view *view, unsigned rcode)
{
    if (!view->has_edns) {
        return;
    }
    size_t record = bytes_written(writer);
    dns_option_record_write(writer, rcode, view->dnssec_ok);
    if (view->keepalive >= 0) {
        bytes_write_u16(writer, DNS_OPTION_KEEPALIVE);
        bytes_write_u16(writer, KEEPALIVE_SIZE);
        bytes_write_u16(writer, (uint16_t)view->keepalive);
    }
    if (view->client_subnet.size > 0) {
        dns_option_write(writer, DNS_OPTION_CLIENT_SUBNET, view->client_subnet);
    }
    if (writes_extended(view)) {
        struct span text = extended_text(view);
        bytes_write_u16(writer, DNS_OPTION_EXTENDED_ERROR);
        bytes_write_u16(writer, (uint16_t)(EXTENDED_CODE_SIZE + text.size));
        bytes_write_u16(writer, (uint16_t)view->extended.code);
        bytes_write(writer, text);
    }
    dns_option_record_close(writer, record);
}

/* Header and question; `flags` and the response code on top of what the client sees in every message. */
static void write_head(struct bytes_writer *writer, const struct dns_view *view, unsigned flags,
                       const uint16_t count[DNS_SECTIONS])
{
    flags |= (unsigned)view->opcode << DNS_OPCODE_SHIFT | DNS_FLAG_QR | DNS_FLAG_RA |
             (view->rd ? DNS_FLAG_RD : 0u) | (view->cd ? DNS_FLAG_CD : 0u);
    bytes_write_u16(writer, view->id);
    bytes_write_u16(writer, (uint16_t)flags);
    bytes_write_u16(writer, view->question.size > 0);
    bytes_write_u16(writer, count[DNS_SECTION_ANSWER]);
    bytes_write_u16(writer, count[DNS_SECTION_AUTHORITY]);
    bytes_write_u16(writer, (uint16_t)(count[DNS_SECTION_ADDITIONAL] + view->has_edns));
    bytes_write(writer, view->question);
}

/* What the first four bits of a response code mean without the others is something else (RFC 6891, 6.1.3). */
static unsigned visible_rcode(const struct dns_view *view, unsigned rcode)
{
    return rcode > 0xf && !view->has_edns ? DNS_RCODE_SERVFAIL : rcode;
}

static unsigned answer_flags(const struct dns_answer *answer, const struct dns_view *view, bool is_cut)
{
    return (answer->aa ? DNS_FLAG_AA : 0u) | (answer->tc || is_cut ? DNS_FLAG_TC : 0u) |
           (answer->ad && view->show_ad ? DNS_FLAG_AD : 0u) | (visible_rcode(view, answer->rcode) & 0xf);
}

static size_t follow_pointers(const uint8_t *message, size_t at, unsigned *hops)
{
    while (message[at] >= DNS_POINTER && *hops < HOPS_MAX) {
        at = dns_pointer_target(message + at);
        ++*hops;
    }
    return at;
}

static bool is_same_name(const uint8_t *message, size_t a, size_t b)
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

static bool is_same_set(const uint8_t *message, size_t a, size_t b)
{
    return bytes_get_u32(message + dns_name_end(message, a)) ==
               bytes_get_u32(message + dns_name_end(message, b)) &&
           is_same_name(message, a, b);
}

static size_t record_end(const uint8_t *message, size_t start)
{
    size_t fixed = dns_name_end(message, start);
    return fixed + DNS_RECORD_FIXED_SIZE + bytes_get_u16(message + fixed + DATA_SIZE_AT);
}

/* As many whole RRsets from the start as fit into `room` bytes. */
static struct part cut(const struct dns_answer *answer, size_t room)
{
    const uint8_t *message = answer->message.data;
    size_t at = answer->records, used = 0;
    struct part kept = {.end = at}, seen = kept;
    for (int section = 0; section < DNS_SECTIONS; section++) {
        size_t previous = 0;
        while (seen.count[section] < answer->count[section]) {
            if (at == answer->option_record) {
                at += answer->option_record_size;
            }
            if (previous == 0 || !is_same_set(message, previous, at)) {
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

static struct part fitting_part(const struct dns_answer *answer, size_t room)
{
    if (answer->message.size - answer->records - answer->option_record_size > room) {
        return cut(answer, room);
    }
    const uint16_t *count = answer->count;
    return (struct part){.end = answer->message.size, .count = {count[0], count[1], count[2]}};
}

/* Copies records without the OPT record. */
static void copy_records(struct bytes_writer *writer, const struct dns_answer *answer, size_t end)
{
    const uint8_t *message = answer->message.data;
    if (answer->option_record == 0 || end <= answer->option_record) {
        bytes_write(writer, span_of(message + answer->records, end - answer->records));
        return;
    }
    size_t behind = answer->option_record + answer->option_record_size;
    bytes_write(writer, span_of(message + answer->records, answer->option_record - answer->records));
    bytes_write(writer, span_of(message + behind, end - behind));
}

/* Corrects the pointer of a name, where it has one that goes behind the removed OPT record; returns the
 * name's end. */
static size_t correct_name(uint8_t *message, size_t at, const struct dns_answer *answer)
{
    size_t tail = dns_name_tail(message, at);
    if (message[tail] == 0) {
        return tail + 1;
    }
    size_t target = dns_pointer_target(message + tail);
    if (target > answer->option_record) {
        bytes_put_u16(message + tail, (uint16_t)(DNS_POINTER << 8 | (target - answer->option_record_size)));
    }
    return tail + DNS_POINTER_SIZE;
}

static void correct_names(uint8_t *message, size_t start, const struct dns_answer *answer)
{
    size_t at = correct_name(message, start, answer);
    struct dns_data_form form = dns_data_form(bytes_get_u16(message + at));
    at += DNS_RECORD_FIXED_SIZE + form.before;
    for (unsigned i = 0; i < form.names; i++) {
        at = correct_name(message, at, answer);
    }
}

/* A TTL with the highest bit set means 0 (RFC 2181, section 8). */
static void correct_records(uint8_t *message, size_t at, size_t end, const struct dns_answer *answer)
{
    size_t moved = answer->option_record != 0 ? answer->option_record : end;
    while (at < end) {
        if (at >= moved) {
            correct_names(message, at, answer);
        }
        size_t fixed = dns_name_end(message, at);
        if (message[fixed + TTL_AT] & TTL_SIGN) {
            bytes_put_u32(message + fixed + TTL_AT, 0);
        }
        at = fixed + DNS_RECORD_FIXED_SIZE + bytes_get_u16(message + fixed + DATA_SIZE_AT);
    }
}

static int write_signed(const struct dns_answer *answer, const struct dns_view *view,
                        struct bytes_writer *writer)
{
    if (answer->message.size <= view->limit &&
        answer->message.size <= (size_t)(writer->end - writer->start)) {
        bytes_write_u16(writer, view->id);
        bytes_write(writer, span_of(answer->message.data + 2, answer->message.size - 2));
    } else {
        struct dns_view plain = *view;
        plain.has_edns = false;
        write_head(writer, &plain, answer_flags(answer, &plain, true), (const uint16_t[DNS_SECTIONS]){0});
    }
    return writer->failed ? ERROR_SPACE : 0;
}

static int write_records(const struct dns_answer *answer, const struct dns_view *view,
                         struct bytes_writer *writer)
{
    size_t capacity = (size_t)(writer->end - writer->start);
    size_t least = DNS_HEADER_SIZE + view->question.size + option_record_size(view);
    if (capacity < least) {
        return ERROR_SPACE;
    }
    size_t limit = view->limit < capacity ? view->limit : capacity;
    struct part part = fitting_part(answer, limit > least ? limit - least : 0);
    bool is_cut = part.count[DNS_SECTION_ANSWER] < answer->count[DNS_SECTION_ANSWER] ||
                  part.count[DNS_SECTION_AUTHORITY] < answer->count[DNS_SECTION_AUTHORITY];
    write_head(writer, view, answer_flags(answer, view, is_cut), part.count);
    size_t start = bytes_written(writer);
    copy_records(writer, answer, part.end);
    correct_records(writer->start, start, bytes_written(writer), answer);
    write_option_record(writer, view, answer->rcode);
    return 0;
}

int dns_answer_write(const struct dns_answer *answer, const struct dns_view *view, uint8_t *out,
                     size_t capacity, size_t *size)
{
    bool is_empty = answer->count[0] + answer->count[1] + answer->count[2] == 0;
    assert(view->question.size == answer->question.size || (answer->question.size == 0 && is_empty));
    assert(view->client_subnet.size <= DNS_OPTION_CLIENT_SUBNET_MAX);
    struct bytes_writer writer = bytes_writer_of(out, capacity);
    int error =
        answer->is_signed ? write_signed(answer, view, &writer) : write_records(answer, view, &writer);
    if (error == 0) {
        *size = bytes_written(&writer);
    }
    return error;
}

int dns_error_write(const struct dns_view *view, unsigned rcode, uint8_t *out, size_t capacity, size_t *size)
{
    assert(rcode <= 0xfff && (rcode <= 0xf || view->has_edns));
    assert(view->client_subnet.size <= DNS_OPTION_CLIENT_SUBNET_MAX);
    struct bytes_writer writer = bytes_writer_of(out, capacity);
    write_head(&writer, view, rcode & 0xf, (const uint16_t[DNS_SECTIONS]){0});
    write_option_record(&writer, view, rcode);
    if (writer.failed) {
        return ERROR_SPACE;
    }
    *size = bytes_written(&writer);
    return 0;
}
