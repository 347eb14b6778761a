/*
 * Queries: what a client asks, and what we ask upstream. A query that can be answered at all is read to its
 * end, so that an answer with an error still carries the question and an OPT record where the client sent
 * one.
 */
#include <assert.h>

#include "base/error.h"

#include "dns/wire.h"

enum {
    COOKIE_CLIENT = 8, /* RFC 7873: a client cookie alone, or with a server cookie of 8 to 32 bytes */
    COOKIE_LEAST = 16,
    COOKIE_MOST = 40,
};

static bool is_cookie(size_t size)
{
    return size == COOKIE_CLIENT || (size >= COOKIE_LEAST && size <= COOKIE_MOST);
}

static int read_options(struct span data, struct dns_query *out)
{
    struct bytes_reader options = bytes_reader_of(data);
    uint16_t code;
    struct span payload;
    while (dns_option_next(&options, &code, &payload)) {
        if ((code == DNS_OPTION_KEEPALIVE && payload.size != 0) ||
            (code == DNS_OPTION_COOKIE && !is_cookie(payload.size))) {
            return ERROR_MALFORMED;
        }
        if (code == DNS_OPTION_CLIENT_SUBNET && out->client_subnet.size == 0) {
            out->client_subnet = dns_option_client_subnet(payload);
        }
        out->keepalive |= code == DNS_OPTION_KEEPALIVE;
        out->padded |= code == DNS_OPTION_PADDING;
    }
    return options.failed ? ERROR_MALFORMED : 0;
}

/* The format of the options of a later version is not known to us. */
static int read_option_record(const struct dns_record *record, struct dns_query *out, unsigned *version)
{
    if (out->has_edns || record->owner_size != 1) {
        return ERROR_MALFORMED;
    }
    *version = record->ttl >> 16 & 0xff;
    out->has_edns = true;
    out->dnssec_ok = record->ttl & DNS_EDNS_DO;
    out->udp_size = record->class > DNS_UDP_LEAST ? record->class : DNS_UDP_LEAST;
    return *version == 0 ? read_options(record->data, out) : 0;
}

/* Reads on after an entry that is no more than out of place: ERROR_MALFORMED only where the bytes make no
 * sense. */
static int read_questions(struct dns_walk *walk, struct dns_query *out, bool *is_wrong)
{
    unsigned count = dns_section_count(walk->message.data, -1);
    for (unsigned i = 0; i < count; i++) {
        struct span question;
        if (dns_walk_question(walk, &question) < 0) {
            return ERROR_MALFORMED;
        }
        if (count == 1) {
            out->has_question = true;
            out->question = question;
            out->type = bytes_get_u16(question.data + question.size - 4);
            out->class = bytes_get_u16(question.data + question.size - 2);
        }
    }
    *is_wrong |= count != 1 || out->type == DNS_TYPE_OPT;
    return 0;
}

static int read_records(struct dns_walk *walk, struct dns_query *out, unsigned *version, bool *is_wrong)
{
    for (int section = 0; section < DNS_SECTIONS; section++) {
        bool is_additional = section == DNS_SECTION_ADDITIONAL;
        bool is_expected = is_additional || (section == DNS_SECTION_AUTHORITY && out->type == DNS_TYPE_IXFR);
        unsigned count = dns_section_count(walk->message.data, section);
        *is_wrong |= count > 0 && !is_expected;
        for (unsigned i = 0; i < count; i++) {
            struct dns_record record;
            if (dns_walk_record(walk, &record) < 0) {
                return ERROR_MALFORMED;
            }
            if (record.type == DNS_TYPE_OPT) {
                *is_wrong |= !is_additional || read_option_record(&record, out, version) < 0;
            } else if (dns_record_is_signature(&record)) {
                out->is_signed = is_additional && i == count - 1;
                *is_wrong |= !out->is_signed;
            }
        }
    }
    return walk->at == walk->message.size ? 0 : ERROR_MALFORMED;
}

static void judge(struct dns_query *out, bool is_wrong, unsigned version)
{
    if (out->opcode != 0) {
        out->rcode = DNS_RCODE_NOTIMP;
        out->extended = DNS_EXTENDED_NOT_SUPPORTED;
    } else if (is_wrong) {
        out->rcode = DNS_RCODE_FORMERR;
    } else if (version > 0) {
        out->rcode = DNS_RCODE_BADVERS;
    }
}

int dns_query_read(struct span message, struct dns_query *out)
{
    if (message.size < DNS_HEADER_SIZE) {
        return ERROR_SHORT;
    }
    uint16_t flags = dns_flags(message.data);
    if (flags & DNS_FLAG_QR) {
        return ERROR_INVALID;
    }
    *out = (struct dns_query){
        .message = message,
        .id = bytes_get_u16(message.data),
        .opcode = (uint8_t)dns_opcode(message.data),
        .rd = flags & DNS_FLAG_RD,
        .ad = flags & DNS_FLAG_AD,
        .cd = flags & DNS_FLAG_CD,
        .udp_size = DNS_UDP_LEAST,
        .extended = DNS_EXTENDED_NONE,
    };
    struct dns_walk walk DNS_WALK_UNFILLED;
    dns_walk_begin(&walk, message);
    bool is_wrong = false;
    unsigned version = 0;
    if (read_questions(&walk, out, &is_wrong) < 0 || read_records(&walk, out, &version, &is_wrong) < 0) {
        is_wrong = true;
    }
    judge(out, is_wrong, version);
    return 0;
}

static void write_padding(struct bytes_writer *writer, size_t block)
{
    bytes_write_u16(writer, DNS_OPTION_PADDING);
    size_t without = bytes_written(writer) + 2;
    size_t padding = (block - without % block) % block;
    bytes_write_u16(writer, (uint16_t)padding);
    bytes_write_zero(writer, padding);
}

int dns_query_write(const struct dns_question_form *form, uint8_t *out, size_t capacity, size_t *size)
{
    assert(form->question.size > 4 && form->client_subnet.size <= DNS_OPTION_CLIENT_SUBNET_MAX);
    struct bytes_writer writer = bytes_writer_of(out, capacity);
    bytes_write_u16(&writer, 0);
    bytes_write_u16(&writer,
                    (uint16_t)((form->rd ? DNS_FLAG_RD : 0) | (form->cd ? DNS_FLAG_CD : 0) | DNS_FLAG_AD));
    bytes_write_u16(&writer, 1);
    bytes_write_u32(&writer, 0);
    bytes_write_u16(&writer, 1);
    bytes_write(&writer, form->question);
    size_t record = bytes_written(&writer);
    dns_option_record_write(&writer, 0, form->dnssec_ok);
    if (form->client_subnet.size > 0) {
        dns_option_write(&writer, DNS_OPTION_CLIENT_SUBNET, form->client_subnet);
    }
    if (form->keepalive) {
        dns_option_write(&writer, DNS_OPTION_KEEPALIVE, (struct span){0});
    }
    if (form->padding_block > 0) {
        write_padding(&writer, form->padding_block);
    }
    dns_option_record_close(&writer, record);
    if (writer.failed) {
        return ERROR_SPACE;
    }
    dns_name_to_lower(out + DNS_HEADER_SIZE, form->question.size - 4);
    *size = bytes_written(&writer);
    return 0;
}
