/*
 * Answers as the upstream sent them, read from the first to the last byte and compared with the question.
 * What passes here may be rewritten for clients (write.c) and stored without another look.
 */
#include "base/error.h"

#include "dns/wire.h"

enum { EXTENDED_CODE_SIZE = 2, KEEPALIVE_SIZE = 2 };

/* Several may come, in any order (RFC 8914, 2). */
static void read_extended(struct span payload, struct dns_extended_error *out)
{
    if (payload.size < EXTENDED_CODE_SIZE) {
        return;
    }
    int code = bytes_get_u16(payload.data);
    if (out->code == DNS_EXTENDED_NONE ||
        (dns_extended_is_verdict(code) && !dns_extended_is_verdict(out->code))) {
        out->code = code;
        out->text = span_of(payload.data + EXTENDED_CODE_SIZE, payload.size - EXTENDED_CODE_SIZE);
    }
}

static void read_option(uint16_t code, struct span payload, struct dns_answer *out)
{
    out->padded |= code == DNS_OPTION_PADDING;
    if (code == DNS_OPTION_CLIENT_SUBNET && out->client_subnet.size == 0) {
        out->client_subnet = dns_option_client_subnet(payload);
    }
    if (code == DNS_OPTION_KEEPALIVE && payload.size == KEEPALIVE_SIZE) {
        out->keepalive = bytes_get_u16(payload.data);
    }
    if (code == DNS_OPTION_EXTENDED_ERROR) {
        read_extended(payload, &out->extended);
    }
}

static int read_option_record(const struct dns_record *record, struct dns_answer *out)
{
    if (out->option_record != 0 || record->owner_size != 1) {
        return ERROR_MALFORMED;
    }
    out->option_record = record->start;
    out->option_record_size = record->size;
    out->rcode |= record->ttl >> 24 << 4;
    struct bytes_reader options = bytes_reader_of(record->data);
    uint16_t code;
    struct span payload;
    while (dns_option_next(&options, &code, &payload)) {
        read_option(code, payload, out);
    }
    return options.failed ? ERROR_MALFORMED : 0;
}

static int read_section(struct dns_walk *walk, int section, struct dns_answer *out)
{
    uint16_t count = dns_section_count(walk->message.data, section);
    out->count[section] = count;
    for (unsigned i = 0; i < count; i++) {
        struct dns_record record;
        if (dns_walk_record(walk, &record) < 0) {
            return ERROR_MALFORMED;
        }
        if (record.type == DNS_TYPE_OPT) {
            if (section != DNS_SECTION_ADDITIONAL || read_option_record(&record, out) < 0) {
                return ERROR_MALFORMED;
            }
            out->count[section]--;
        } else if (dns_record_is_signature(&record)) {
            out->is_signed = true;
            if (section != DNS_SECTION_ADDITIONAL || i != count - 1u) {
                return ERROR_MALFORMED;
            }
        }
    }
    return 0;
}

static struct dns_answer read_header(struct span message)
{
    uint16_t flags = dns_flags(message.data);
    return (struct dns_answer){
        .message = message,
        .id = bytes_get_u16(message.data),
        .aa = flags & DNS_FLAG_AA,
        .tc = flags & DNS_FLAG_TC,
        .rd = flags & DNS_FLAG_RD,
        .ra = flags & DNS_FLAG_RA,
        .ad = flags & DNS_FLAG_AD,
        .cd = flags & DNS_FLAG_CD,
        .rcode = flags & 0xf,
        .extended.code = DNS_EXTENDED_NONE,
        .keepalive = -1,
    };
}

int dns_answer_read(struct span message, struct dns_answer *out)
{
    if (message.size < DNS_HEADER_SIZE) {
        return ERROR_SHORT;
    }
    if (!(dns_flags(message.data) & DNS_FLAG_QR) || dns_opcode(message.data) != 0) {
        return ERROR_INVALID;
    }
    *out = read_header(message);
    struct dns_walk walk DNS_WALK_UNFILLED;
    dns_walk_begin(&walk, message);
    uint16_t questions = dns_section_count(message.data, -1);
    if (questions > 1 || (questions == 1 && dns_walk_question(&walk, &out->question) < 0)) {
        return ERROR_MALFORMED;
    }
    out->records = walk.at;
    for (int section = 0; section < DNS_SECTIONS; section++) {
        if (read_section(&walk, section, out) < 0) {
            return ERROR_MALFORMED;
        }
    }
    return walk.at == message.size ? 0 : ERROR_MALFORMED;
}

bool dns_answer_matches(const struct dns_answer *answer, struct span question)
{
    if (answer->question.size == 0) {
        bool is_empty = answer->count[0] + answer->count[1] + answer->count[2] == 0;
        return is_empty && answer->rcode != DNS_RCODE_NOERROR && answer->rcode != DNS_RCODE_NXDOMAIN;
    }
    if (answer->question.size != question.size) {
        return false;
    }
    size_t name = question.size - 4;
    return dns_name_equal(answer->question.data, question.data, name) &&
           bytes_get_u32(answer->question.data + name) == bytes_get_u32(question.data + name);
}
