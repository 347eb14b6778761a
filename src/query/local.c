/*
 * Questions that are never forwarded: about the server itself, which would be answered by the upstream in our
 * name; zone transfers, whose many messages have no place on a shared link; and names of our own, of special
 * use, or blocked, which the room `local` knows.
 */
#include "query/internal.h"

/* A name in wire form; the terminator is the root label. */
#define NAME(text) span_of(text, sizeof(text))

/* version.bind, id.server and their kin (RFC 4892). */
static bool is_identity(const struct dns_query *query)
{
    if (query->class != DNS_CLASS_CHAOS) {
        return false;
    }
    const struct span names[] = {NAME("\7version\4bind"), NAME("\10hostname\4bind"), NAME("\2id\6server"),
                                 NAME("\7version\6server"), NAME("\7authors\4bind")};
    size_t size = query->question.size - 4;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].size == size && dns_name_equal(query->question.data, names[i].data, size)) {
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

bool query_local(const struct query_passage *passage)
{
    struct query_hall *hall = passage->hall;
    size_t size;
    if (hall->around.local == NULL) {
        return false;
    }
    enum local_verdict verdict =
        local_answer(hall->around.local, passage->query.question, hall->kept, sizeof hall->kept, &size);
    if (verdict != LOCAL_UNKNOWN) {
        bool is_blocked = verdict == LOCAL_BLOCKED;
        query_reply_local(passage, span_of(hall->kept, size),
                          is_blocked ? DNS_EXTENDED_BLOCKED : DNS_EXTENDED_NONE);
    }
    return verdict != LOCAL_UNKNOWN;
}
