/*
 * Uncompressed names: their size, their letter case, whether two are the same. Every message passes here, and
 * the question of every query is compared here.
 */
#include "base/error.h"

#include "dns/dns.h"

static uint8_t to_lower(uint8_t byte)
{
    return (uint8_t)(byte | ((uint8_t)(byte - 'A') < 26) << 5);
}

int dns_name_size(struct span bytes, size_t *size)
{
    for (size_t at = 0; at < bytes.size;) {
        uint8_t label = bytes.data[at];
        if (label > DNS_LABEL_MAX || at + label >= DNS_NAME_MAX) {
            return ERROR_MALFORMED;
        }
        at += label + 1u;
        if (label == 0) {
            *size = at;
            return 0;
        }
    }
    return ERROR_SHORT;
}

void dns_name_to_lower(uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = to_lower(bytes[i]);
    }
}

bool dns_name_equal(const uint8_t *a, const uint8_t *b, size_t size)
{
    uint8_t difference = 0;
    for (size_t i = 0; i < size; i++) {
        difference |= to_lower(a[i]) ^ to_lower(b[i]);
    }
    return difference == 0;
}
