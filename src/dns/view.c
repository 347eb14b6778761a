/*
 * What every message to a client has, whoever answered: the head with the client's own id, bits and question,
 * and the OPT record that is ours. For those who write to clients (write.c, stored.c).
 */
#include "dns/wire.h"

enum { KEEPALIVE_SIZE = 2, EXTENDED_CODE_SIZE = 2 };

struct span dns_extended_text(const struct dns_extended_error *error)
{
    struct span text = error->text;
    if (text.size > DNS_EXTRA_TEXT_MAX) {
        text.size = DNS_EXTRA_TEXT_MAX;
        while (text.size > 0 && (text.data[text.size] & 0xc0) == 0x80) {
            text.size--;
        }
    }
    return text;
}

static size_t extended_size(const struct dns_extended_error *error)
{
    if (error == NULL || error->code == DNS_EXTENDED_NONE) {
        return 0;
    }
    return DNS_OPTION_HEAD_SIZE + EXTENDED_CODE_SIZE + dns_extended_text(error).size;
}

static void write_extended(struct bytes_writer *writer, const struct dns_extended_error *error)
{
    if (error == NULL || error->code == DNS_EXTENDED_NONE) {
        return;
    }
    struct span text = dns_extended_text(error);
    bytes_write_u16(writer, DNS_OPTION_EXTENDED_ERROR);
    bytes_write_u16(writer, (uint16_t)(EXTENDED_CODE_SIZE + text.size));
    bytes_write_u16(writer, (uint16_t)error->code);
    bytes_write(writer, text);
}

size_t dns_view_option_size(const struct dns_view *view, const struct dns_extended_error *kept)
{
    if (!view->has_edns) {
        return 0;
    }
    size_t size = DNS_OPTION_RECORD_SIZE + extended_size(&view->extended) + extended_size(kept);
    if (view->keepalive >= 0) {
        size += DNS_OPTION_HEAD_SIZE + KEEPALIVE_SIZE;
    }
    if (view->client_subnet.size > 0) {
        size += DNS_OPTION_HEAD_SIZE + view->client_subnet.size;
    }
    return size;
}

void dns_view_option_write(struct bytes_writer *writer, const struct dns_view *view, unsigned rcode,
                           const struct dns_extended_error *kept)
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
    write_extended(writer, &view->extended);
    write_extended(writer, kept);
    dns_option_record_close(writer, record);
}

void dns_view_head_write(struct bytes_writer *writer, const struct dns_view *view, unsigned flags,
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
