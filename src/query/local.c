/*
 * Questions that are never forwarded: about the server itself, which would be answered by the upstream in our
 * name, and zone transfers, whose many messages have no place on a shared link.
 */
#include "query/internal.h"

/* version.bind, id.server and their kin (RFC 4892), lower case, wire form. */
static const struct {
    uint8_t size;
    const char *name;
} identity_names[] = {
    {14, "\7version\4bind"},   {16, "\10hostname\4bind"}, {11, "\2id\6server"},
    {16, "\7version\6server"}, {14, "\7authors\4bind"},
};

static bool is_identity(const struct dns_query *query)
{
    if (query->class != DNS_CLASS_CHAOS) {
        return false;
    }
    size_t size = query->question.size - 4;
    for (size_t i = 0; i < sizeof identity_names / sizeof identity_names[0]; i++) {
        if (identity_names[i].size == size &&
            dns_name_equal(query->question.data, (const uint8_t *)identity_names[i].name, size)) {
            return true;
        }
    }
    return false;
}

int query_local_rcode(const struct dns_query *query, int *extended)
{
    if (is_identity(query)) {
        *extended = DNS_EXTENDED_PROHIBITED;
        return DNS_RCODE_REFUSED;
    }
    if (query->type == DNS_TYPE_AXFR || query->type == DNS_TYPE_IXFR) {
        *extended = DNS_EXTENDED_NOT_SUPPORTED;
        return DNS_RCODE_REFUSED;
    }
    return -1;
}
