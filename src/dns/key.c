/*
 * What an answer is looked up by: all that two questions must have in common to get the same answer, in as
 * few bytes as that takes. The name, the group and a class other than IN come first; the last three bytes say
 * the rest, so that a cache may keep side by side what it knows of a name.
 */
#include <assert.h>

#include "base/error.h"

#include "dns/wire.h"

enum key_bit { KEY_DNSSEC_OK = 1, KEY_CD = 2, KEY_KIND_SHIFT = 2 };

enum { HAS_CLASS = 0x80, GROUP_SIZE = 1, CLASS_SIZE = 2 };

size_t dns_question_key(struct span question, const struct dns_key_form *form, uint8_t out[DNS_KEY_MAX])
{
    assert(form->group <= DNS_KEY_GROUP_MAX);
    size_t at = question.size - 4;
    uint16_t type = form->kind == DNS_KEY_NAME ? 0 : bytes_get_u16(question.data + at);
    uint16_t class = bytes_get_u16(question.data + at + 2);
    memcpy(out, question.data, at);
    dns_name_to_lower(out, at);
    out[at++] = (uint8_t)(form->group | (class != DNS_CLASS_IN ? HAS_CLASS : 0));
    if (class != DNS_CLASS_IN) {
        bytes_put_u16(out + at, class);
        at += CLASS_SIZE;
    }
    out[at] = (uint8_t)((form->dnssec_ok ? KEY_DNSSEC_OK : 0u) | (form->cd ? KEY_CD : 0u) |
                        (unsigned)form->kind << KEY_KIND_SHIFT);
    bytes_put_u16(out + at + 1, type);
    return at + DNS_KEY_TAIL;
}

int dns_key_name(struct span key, struct span *name)
{
    size_t size;
    if (dns_name_size(key, &size) != 0 || size == key.size) {
        return ERROR_MALFORMED;
    }
    size_t rest = GROUP_SIZE + ((key.data[size] & HAS_CLASS) != 0 ? CLASS_SIZE : 0u) + DNS_KEY_TAIL;
    if (key.size != size + rest) {
        return ERROR_MALFORMED;
    }
    *name = span_of(key.data, size);
    return 0;
}

uint8_t dns_key_group(struct span key)
{
    struct span name;
    int error = dns_key_name(key, &name);
    assert(error == 0);
    return key.data[name.size] & (uint8_t)~HAS_CLASS;
}
