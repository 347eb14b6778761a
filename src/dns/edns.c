/*
 * EDNS (RFC 6891): reading the options of an OPT record that somebody sent, and writing the OPT record that
 * is ours. The upstream's or the client's OPT record is never passed on.
 */
#include "dns/wire.h"

enum {
    CLIENT_SUBNET_LEAST = 4, /* RFC 7871: family and two prefix lengths, without an address */
};

bool dns_option_next(struct bytes_reader *options, uint16_t *code, struct span *payload)
{
    if (bytes_left(options) == 0) {
        return false;
    }
    *code = bytes_read_u16(options);
    *payload = bytes_read(options, bytes_read_u16(options));
    return !options->failed;
}

struct span dns_option_client_subnet(struct span payload)
{
    bool is_possible = payload.size >= CLIENT_SUBNET_LEAST && payload.size <= DNS_OPTION_CLIENT_SUBNET_MAX;
    return is_possible ? payload : (struct span){0};
}

void dns_option_write(struct bytes_writer *writer, uint16_t code, struct span payload)
{
    bytes_write_u16(writer, code);
    bytes_write_u16(writer, (uint16_t)payload.size);
    bytes_write(writer, payload);
}

void dns_option_record_write(struct bytes_writer *writer, unsigned rcode, bool dnssec_ok)
{
    bytes_write_u8(writer, 0);
    bytes_write_u16(writer, DNS_TYPE_OPT);
    bytes_write_u16(writer, DNS_UDP_MOST);
    bytes_write_u8(writer, (uint8_t)(rcode >> 4));
    bytes_write_u8(writer, 0);
    bytes_write_u16(writer, dnssec_ok ? DNS_EDNS_DO : 0);
    bytes_write_u16(writer, 0);
}

void dns_option_record_close(struct bytes_writer *writer, size_t record)
{
    if (!writer->failed) {
        size_t data = record + DNS_OPTION_RECORD_SIZE;
        bytes_put_u16(writer->start + data - 2, (uint16_t)(bytes_written(writer) - data));
    }
}
