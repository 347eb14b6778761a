/* Messages for the tests of the dns room; see dns_messages.h. */
#include "dns_messages.h"

#include "../support/dns_records.h"

void draft_bytes(struct draft *draft, const void *bytes, size_t size)
{
    assert_true(draft->size + size <= sizeof draft->bytes);
    if (size > 0) {
        memcpy(draft->bytes + draft->size, bytes, size);
    }
    draft->size += size;
}

void draft_u16(struct draft *draft, unsigned value)
{
    uint8_t bytes[2];
    bytes_put_u16(bytes, (uint16_t)value);
    draft_bytes(draft, bytes, sizeof bytes);
}

void draft_begin(struct draft *draft, unsigned flags, unsigned questions, unsigned answers,
                 unsigned authority, unsigned additional)
{
    draft->size = 0;
    draft_u16(draft, 0xbeef);
    draft_u16(draft, flags);
    draft_u16(draft, questions);
    draft_u16(draft, answers);
    draft_u16(draft, authority);
    draft_u16(draft, additional);
}

void draft_name(struct draft *draft, const char *name)
{
    while (*name != '\0' && *name != '.') {
        size_t size = strcspn(name, ".");
        draft_bytes(draft, &(uint8_t){(uint8_t)size}, 1);
        draft_bytes(draft, name, size);
        name += size + 1;
    }
    draft_bytes(draft, "", 1);
}

void draft_pointer(struct draft *draft, size_t target)
{
    draft_u16(draft, (unsigned)(0xc000 | target));
}

void draft_question(struct draft *draft, const char *name, unsigned type)
{
    draft_name(draft, name);
    draft_u16(draft, type);
    draft_u16(draft, DNS_CLASS_IN);
}

void draft_fixed(struct draft *draft, unsigned type, uint32_t ttl, size_t data_size)
{
    draft_u16(draft, type);
    draft_u16(draft, DNS_CLASS_IN);
    draft_u16(draft, ttl >> 16);
    draft_u16(draft, ttl & 0xffff);
    draft_u16(draft, (unsigned)data_size);
}

void draft_record(struct draft *draft, size_t target, unsigned type, uint32_t ttl, size_t data_size)
{
    draft_pointer(draft, target);
    draft_fixed(draft, type, ttl, data_size);
    for (size_t i = 0; i < data_size; i++) {
        draft_bytes(draft, "\xc1", 1);
    }
}

size_t draft_alias(struct draft *draft, size_t target, uint32_t ttl, const char *name)
{
    draft_pointer(draft, target);
    draft_fixed(draft, DNS_TYPE_CNAME, ttl, strlen(name) + 1);
    size_t data = draft->size;
    draft_name(draft, name);
    return data;
}

void draft_soa(struct draft *draft, size_t target, uint32_t ttl, uint32_t minimum)
{
    draft_pointer(draft, target);
    draft_fixed(draft, DNS_TYPE_SOA, ttl, 1 + 1 + 20);
    draft_bytes(draft, "\0\0\0\0\0\1\0\0\x0e\x10\0\0\x0e\x10\0\0\x0e\x10", 18);
    draft_u16(draft, minimum >> 16);
    draft_u16(draft, minimum & 0xffff);
}

void draft_option_record(struct draft *draft, unsigned udp_size, uint32_t ttl, const void *options,
                         size_t size)
{
    draft_name(draft, ".");
    draft_u16(draft, DNS_TYPE_OPT);
    draft_u16(draft, udp_size);
    draft_u16(draft, ttl >> 16);
    draft_u16(draft, ttl & 0xffff);
    draft_u16(draft, (unsigned)size);
    draft_bytes(draft, options, size);
}

void draft_signature(struct draft *draft)
{
    draft_name(draft, "key.");
    draft_fixed(draft, DNS_TYPE_TSIG, 0, 29);
    draft_name(draft, "hmac-sha256.");
    draft_bytes(draft, "\0\0\0\0\0\0\1\x2c\0\0\0\0\0\0\0\0", 16);
}

struct span exact_copy(const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    return span_of(copy, size);
}

int read_query(const struct draft *draft, struct dns_query *out)
{
    struct span copy = exact_copy(draft->bytes, draft->size);
    int error = dns_query_read(copy, out);
    free((void *)copy.data);
    return error < 0 ? error : dns_query_read(span_of(draft->bytes, draft->size), out);
}

int read_answer(const struct draft *draft, struct dns_answer *out)
{
    struct span copy = exact_copy(draft->bytes, draft->size);
    int error = dns_answer_read(copy, out);
    free((void *)copy.data);
    return error < 0 ? error : dns_answer_read(span_of(draft->bytes, draft->size), out);
}

struct dns_view plain_client(size_t limit)
{
    return (struct dns_view){.id = 0x1234,
                             .question = span_of("\3WWW\7exAmple\0\0\1\0\1", 17),
                             .rd = true,
                             .limit = limit,
                             .keepalive = -1,
                             .extended.code = DNS_EXTENDED_NONE};
}

unsigned assert_same_records(struct span whole, struct span part)
{
    static struct plain_record expected, written;
    struct plain_reader all, some;
    plain_begin(&all, whole);
    plain_begin(&some, part);
    unsigned count = 0;
    while (plain_next_but_option(&some, &written)) {
        assert_true(plain_next_but_option(&all, &expected));
        assert_true(plain_equal(&expected, &written));
        count++;
    }
    return count;
}
