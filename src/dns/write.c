/*
 * Messages to clients: an upstream's answer seen by one of them, or an answer of our own. Called once for
 * every client that waits for an answer, so that records are copied as they stand in one or two pieces; then
 * a single walk over the copy sees to the TTLs and, where an OPT record was taken out from between others, to
 * the pointers.
 */
#include <assert.h>

#include "base/error.h"

#include "dns/wire.h"

enum { TTL_SIGN = 0x80 };

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

static struct dns_part fitting_part(const struct dns_answer *answer, size_t room)
{
    if (answer->message.size - answer->records - answer->option_record_size > room) {
        return dns_answer_cut(answer, room);
    }
    const uint16_t *count = answer->count;
    return (struct dns_part){.end = answer->message.size, .count = {count[0], count[1], count[2]}};
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
        if (message[fixed + DNS_TTL_AT] & TTL_SIGN) {
            bytes_put_u32(message + fixed + DNS_TTL_AT, 0);
        }
        at = fixed + DNS_RECORD_FIXED_SIZE + bytes_get_u16(message + fixed + DNS_DATA_SIZE_AT);
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
        dns_view_head_write(writer, &plain, answer_flags(answer, &plain, true),
                            (const uint16_t[DNS_SECTIONS]){0});
    }
    return writer->failed ? ERROR_SPACE : 0;
}

static int write_records(const struct dns_answer *answer, const struct dns_view *view,
                         struct bytes_writer *writer)
{
    size_t capacity = (size_t)(writer->end - writer->start);
    size_t least = DNS_HEADER_SIZE + view->question.size + dns_view_option_size(view, NULL);
    if (capacity < least) {
        return ERROR_SPACE;
    }
    size_t limit = view->limit < capacity ? view->limit : capacity;
    struct dns_part part = fitting_part(answer, limit > least ? limit - least : 0);
    bool is_cut = dns_part_is_truncated(&part, answer->count);
    dns_view_head_write(writer, view, answer_flags(answer, view, is_cut), part.count);
    size_t start = bytes_written(writer);
    copy_records(writer, answer, part.end);
    correct_records(writer->start, start, bytes_written(writer), answer);
    dns_view_option_write(writer, view, answer->rcode, NULL);
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
    dns_view_head_write(&writer, view, rcode & 0xf, (const uint16_t[DNS_SECTIONS]){0});
    dns_view_option_write(&writer, view, rcode, NULL);
    if (writer.failed) {
        return ERROR_SPACE;
    }
    *size = bytes_written(&writer);
    return 0;
}
