/*
 * What an answer is looked up by: all that two questions must have in common to get the same answer, in as
 * few bytes as that takes. The keys of two kinds, or of two lengths of the fields before the name, differ in
 * their second byte, so that the name may simply be the rest.
 */
#include "base/error.h"

#include "dns/wire.h"

enum key_bit {
    KEY_DNSSEC_OK = 1,
    KEY_CD = 2,
    KEY_LONG = 4, /* a class other than IN, or a type that does not fit into a byte */
    KEY_KIND_SHIFT = 3,
};

/* Group and bits; then type, or type and class. */
enum { BEFORE_NAME = 2 + 1, BEFORE_NAME_LONG = 2 + 4 };

size_t dns_question_key(struct span question, const struct dns_key_form *form, uint8_t out[DNS_KEY_MAX])
{
    size_t name_size = question.size - 4;
    uint16_t type = form->kind == DNS_KEY_NAME ? 0 : bytes_get_u16(question.data + name_size);
    uint16_t class = bytes_get_u16(question.data + name_size + 2);
    bool is_long = type > 0xff || class != DNS_CLASS_IN;
    out[0] = form->group;
    out[1] = (uint8_t)((form->dnssec_ok ? KEY_DNSSEC_OK : 0u) | (form->cd ? KEY_CD : 0u) |
                       (is_long ? KEY_LONG : 0u) | (unsigned)form->kind << KEY_KIND_SHIFT);
    size_t at = 2;
    if (is_long) {
        bytes_put_u16(out + at, type);
        bytes_put_u16(out + at + 2, class);
        at += 4;
    } else {
        out[at++] = (uint8_t)type;
    }
    memcpy(out + at, question.data, name_size);
    dns_name_to_lower(out + at, name_size);
    return at + name_size;
}

int dns_key_name(struct span key, struct span *name)
{
    size_t before = key.size > 1 && (key.data[1] & KEY_LONG) != 0 ? BEFORE_NAME_LONG : BEFORE_NAME;
    if (key.size <= before) {
        return ERROR_MALFORMED;
    }
    struct span rest = span_of(key.data + before, key.size - before);
    size_t size;
    if (dns_name_size(rest, &size) != 0 || size != rest.size) {
        return ERROR_MALFORMED;
    }
    *name = rest;
    return 0;
}
