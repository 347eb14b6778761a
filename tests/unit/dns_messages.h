/*
 * Messages for the tests of the dns room, built byte by byte, and kept in heap memory of exactly their size
 * so that AddressSanitizer sees every read behind the end.
 */
#ifndef UNIT_DNS_MESSAGES_H
#define UNIT_DNS_MESSAGES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* cmocka wants the headers above before itself. */
/* clang-format off */
#include <cmocka.h>

#include "base/bytes.h"
#include "base/error.h"
#include "dns/dns.h"
/* clang-format on */

/* A message under construction. */
struct draft {
    uint8_t bytes[DNS_MESSAGE_MAX + 1024];
    size_t size;
};

/* An empty message: id 0xbeef, the flags, and a count for every section. */
void draft_begin(struct draft *draft, unsigned flags, unsigned questions, unsigned answers,
                 unsigned authority, unsigned additional);

void draft_bytes(struct draft *draft, const void *bytes, size_t size);
void draft_u16(struct draft *draft, unsigned value);

/* "www.example." without escapes; "." is the root. */
void draft_name(struct draft *draft, const char *name);
void draft_pointer(struct draft *draft, size_t target);

void draft_question(struct draft *draft, const char *name, unsigned type);

/* What follows the owner name. */
void draft_fixed(struct draft *draft, unsigned type, uint32_t ttl, size_t data_size);

/* A record of the owner at `target` with `data_size` bytes of 0xc1. */
void draft_record(struct draft *draft, size_t target, unsigned type, uint32_t ttl, size_t data_size);

/* A CNAME of the owner at `target`. Returns the offset of the name that it leads to. */
size_t draft_alias(struct draft *draft, size_t target, uint32_t ttl, const char *name);

/* An SOA of the zone at `target`. */
void draft_soa(struct draft *draft, size_t target, uint32_t ttl, uint32_t minimum);

/* An OPT record with these bytes as options. */
void draft_option_record(struct draft *draft, unsigned udp_size, uint32_t ttl, const void *options,
                         size_t size);

/* A TSIG record as the last one. */
void draft_signature(struct draft *draft);

/* A copy that ends where its memory ends; the caller frees .data. */
struct span exact_copy(const void *bytes, size_t size);

/* Readers on an exact copy; the spans of `out` point into the draft. */
int read_query(const struct draft *draft, struct dns_query *out);
int read_answer(const struct draft *draft, struct dns_answer *out);

/* A client without EDNS that asked for "WWW.exAmple." A. */
struct dns_view plain_client(size_t limit);

/* Every record but OPT is the same in both, as far as `part` goes. Returns how many there were in `part`. */
unsigned assert_same_records(struct span whole, struct span part);

/* The tests of the other files of this program. */
extern const struct CMUnitTest query_tests[], answer_tests[], match_tests[], write_tests[], error_tests[],
    ttl_tests[], asked_tests[], stored_tests[], equal_tests[], key_tests[];
extern const size_t query_tests_count, answer_tests_count, match_tests_count, write_tests_count,
    error_tests_count, ttl_tests_count, asked_tests_count, stored_tests_count, equal_tests_count,
    key_tests_count;

#endif
