/* Queries: every rule of dns_query_read and dns_query_write, from both sides. */
#include "dns_messages.h"

static struct draft draft;

static void begin(unsigned flags, unsigned authority, unsigned additional)
{
    draft_begin(&draft, flags, 1, 0, authority, additional);
    draft_question(&draft, "wWw.exAmple.", DNS_TYPE_A);
}

static struct dns_query read_it(void)
{
    struct dns_query query;
    assert_int_equal(read_query(&draft, &query), 0);
    return query;
}

static void assert_rcode(unsigned rcode)
{
    struct dns_query query = read_it();
    assert_int_equal(query.rcode, rcode);
    assert_int_equal(query.extended,
                     rcode == DNS_RCODE_NOTIMP ? DNS_EXTENDED_NOT_SUPPORTED : DNS_EXTENDED_NONE);
}

static struct dns_query with_options(const void *options, size_t size)
{
    begin(0x0100, 0, 1);
    draft_option_record(&draft, 1232, 0, options, size);
    return read_it();
}

static void plain_query(void **state)
{
    (void)state;
    begin(0x0100, 0, 0);
    struct dns_query query = read_it();
    assert_int_equal(query.rcode, 0);
    assert_int_equal(query.id, 0xbeef);
    assert_true(query.rd && !query.ad && !query.cd);
    assert_true(query.has_question && !query.has_edns && !query.is_signed && !query.dnssec_ok);
    assert_ptr_equal(query.question.data, draft.bytes + 12);
    assert_int_equal(query.question.size, 17);
    assert_int_equal(query.type, DNS_TYPE_A);
    assert_int_equal(query.class, DNS_CLASS_IN);
    assert_int_equal(query.udp_size, 512);
    assert_int_equal(query.message.size, draft.size);
}

/* Shows: RFC5625-4.1, RFC5625-4.3 */
static void unknown_flags_and_types_are_served(void **state)
{
    (void)state;
    begin(0x0670 | 0x0080, 0, 0);
    struct dns_query query = read_it();
    assert_int_equal(query.rcode, 0);
    assert_true(!query.rd && query.ad && query.cd);
    draft_begin(&draft, 0, 1, 0, 0, 0);
    draft_name(&draft, "x.");
    draft_u16(&draft, 65285);
    draft_u16(&draft, 65000);
    query = read_it();
    assert_int_equal(query.rcode, 0);
    assert_int_equal(query.type, 65285);
    assert_int_equal(query.class, 65000);
}

/* Shows: RFC1035-4.1.1, W01, W02 */
static void what_is_never_answered(void **state)
{
    (void)state;
    struct dns_query query;
    begin(0x0100, 0, 0);
    for (draft.size = 0; draft.size < 12; draft.size++) {
        assert_int_equal(read_query(&draft, &query), ERROR_SHORT);
    }
    begin(0x8100, 0, 0);
    assert_int_equal(read_query(&draft, &query), ERROR_INVALID);
    begin(0xf800, 0, 0);
    assert_int_equal(read_query(&draft, &query), ERROR_INVALID);
}

/* Shows: RFC9619, W03 */
static void exactly_one_question(void **state)
{
    (void)state;
    draft_begin(&draft, 0, 0, 0, 0, 0);
    assert_false(read_it().has_question);
    assert_rcode(DNS_RCODE_FORMERR);
    draft_begin(&draft, 0, 2, 0, 0, 1);
    draft_question(&draft, "a.", 1);
    draft_question(&draft, "a.", 1);
    draft_option_record(&draft, 1232, 0, "", 0);
    assert_rcode(DNS_RCODE_FORMERR);
    assert_false(read_it().has_question);
    assert_true(read_it().has_edns);
    draft_begin(&draft, 0, 65535, 0, 0, 0);
    draft_question(&draft, "a.", 1);
    assert_rcode(DNS_RCODE_FORMERR);
    assert_false(read_it().has_question);
}

/* Shows: RFC1035-3.1, RFC1035-4.1.4, W7 */
static void broken_question_names(void **state)
{
    (void)state;
    static const char *const names[] = {"\xc0\x0c", "\1a\xc0\x0c", "\x40", "\x80", "\xc0\0", "\1a\xc0\xff"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        draft_begin(&draft, 0, 1, 0, 0, 0);
        draft_bytes(&draft, names[i], strlen(names[i]) + 1);
        draft_bytes(&draft, "\0\1\0\1", 4);
        assert_rcode(DNS_RCODE_FORMERR);
        assert_false(read_it().has_question);
    }
}

/* Shows: RFC1035-3.1 */
static void longest_question(void **state)
{
    (void)state;
    for (unsigned last = 61; last <= 62; last++) {
        draft_begin(&draft, 0, 1, 0, 0, 0);
        for (int i = 0; i < 4; i++) {
            uint8_t label[64];
            memset(label, 'a', sizeof label);
            label[0] = (uint8_t)(i < 3 ? 63 : last);
            draft_bytes(&draft, label, label[0] + 1u);
        }
        draft_bytes(&draft, "\0\0\1\0\1", 5);
        assert_rcode(last == 61 ? 0 : DNS_RCODE_FORMERR);
        assert_int_equal(read_it().question.size, last == 61 ? DNS_QUESTION_MAX : 0);
    }
}

static void records_out_of_place(void **state)
{
    (void)state;
    draft_begin(&draft, 0, 1, 1, 0, 1);
    draft_question(&draft, "a.", 1);
    draft_record(&draft, 12, 1, 0, 4);
    draft_option_record(&draft, 1232, 0x8000, "", 0);
    assert_rcode(DNS_RCODE_FORMERR);
    assert_true(read_it().has_question && read_it().has_edns);
    begin(0, 1, 0);
    draft_record(&draft, 12, 1, 0, 4);
    assert_rcode(DNS_RCODE_FORMERR);
}

static void transfer_has_its_serial(void **state)
{
    (void)state;
    draft_begin(&draft, 0, 1, 0, 1, 0);
    draft_question(&draft, "a.", DNS_TYPE_IXFR);
    draft_pointer(&draft, 12);
    draft_fixed(&draft, DNS_TYPE_SOA, 0, 24);
    draft_bytes(&draft, "\xc0\x0c\xc0\x0c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
    assert_rcode(0);
}

/* Shows: RFC5625-4.5, RFC5625-4.4.2 */
static void additional_records_pass(void **state)
{
    (void)state;
    begin(0, 0, 2);
    draft_record(&draft, 12, DNS_TYPE_TKEY, 0, 30);
    draft_option_record(&draft, 1232, 0, "", 0);
    assert_rcode(0);
    assert_true(read_it().has_edns);
}

/* Shows: RFC5625-4.5 */
static void signatures(void **state)
{
    (void)state;
    begin(0, 0, 2);
    draft_option_record(&draft, 1232, 0, "", 0);
    draft_signature(&draft);
    assert_rcode(0);
    assert_true(read_it().is_signed);
    begin(0, 0, 2);
    draft_signature(&draft);
    draft_option_record(&draft, 1232, 0, "", 0);
    assert_rcode(DNS_RCODE_FORMERR);
    begin(0, 0, 1);
    draft_name(&draft, ".");
    draft_fixed(&draft, DNS_TYPE_SIG, 0, 20);
    draft_bytes(&draft, (uint8_t[20]){0}, 20);
    assert_rcode(0);
    assert_true(read_it().is_signed);
    draft.bytes[draft.size - 19] = 1;
    assert_rcode(0);
    assert_false(read_it().is_signed);
}

/* Shows: RFC6891-6.2.3, RFC6891-6.1.4, RFC5625-4.4.2 */
static void edns_of_a_client(void **state)
{
    (void)state;
    static const unsigned sizes[][2] = {{0, 512},   {100, 512},   {511, 512},   {512, 512},
                                        {513, 513}, {1232, 1232}, {4096, 4096}, {65535, 65535}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        begin(0, 0, 1);
        draft_option_record(&draft, sizes[i][0], 0x8000, "", 0);
        struct dns_query query = read_it();
        assert_int_equal(query.rcode, 0);
        assert_int_equal(query.udp_size, sizes[i][1]);
        assert_true(query.has_edns && query.dnssec_ok && !query.padded && !query.keepalive);
    }
    begin(0, 0, 1);
    draft_option_record(&draft, 1232, 0x7fff, "", 0);
    assert_rcode(0);
    assert_false(read_it().dnssec_ok);
}

/* Shows: RFC6891-6.1.1, RFC6891-6.1.2, W06, regression 17 */
static void misplaced_option_records(void **state)
{
    (void)state;
    begin(0, 0, 2);
    draft_option_record(&draft, 1232, 0, "", 0);
    draft_option_record(&draft, 1232, 0, "", 0);
    assert_rcode(DNS_RCODE_FORMERR);
    assert_true(read_it().has_edns);
    begin(0, 1, 0);
    draft_option_record(&draft, 1232, 0, "", 0);
    assert_rcode(DNS_RCODE_FORMERR);
    begin(0, 0, 1);
    draft_record(&draft, 12, DNS_TYPE_OPT, 0, 0);
    assert_rcode(DNS_RCODE_FORMERR);
    draft_begin(&draft, 0, 1, 1, 0, 0);
    draft_question(&draft, "a.", 1);
    draft_option_record(&draft, 1232, 0, "", 0);
    assert_rcode(DNS_RCODE_FORMERR);
    draft_begin(&draft, 0, 1, 0, 0, 0);
    draft_question(&draft, "a.", DNS_TYPE_OPT);
    assert_rcode(DNS_RCODE_FORMERR);
    assert_true(read_it().has_question);
}

/* Shows: RFC6891-6.1.3, RFC8906 */
static void later_versions_of_edns(void **state)
{
    (void)state;
    static const uint32_t versions[] = {1, 100, 255};
    for (size_t i = 0; i < 3; i++) {
        begin(0, 0, 1);
        draft_option_record(&draft, 1232, versions[i] << 16 | 0x8000, "\0\x64\0\0", 4);
        assert_rcode(DNS_RCODE_BADVERS);
        assert_true(read_it().has_edns && read_it().has_question && read_it().dnssec_ok);
        draft_bytes(&draft, "x", 1);
        assert_rcode(DNS_RCODE_FORMERR);
    }
    begin(0, 0, 1);
    draft_option_record(&draft, 1232, 0x10000, "what later versions have", 24);
    assert_rcode(DNS_RCODE_BADVERS);
    begin(0, 0, 1);
    draft_option_record(&draft, 1232, 0xff000000, "", 0);
    assert_rcode(0);
}

/* Shows: RFC6891-6.1.2, RFC7828, RFC7871, RFC8906 */
static void options(void **state)
{
    (void)state;
    assert_int_equal(with_options("\0\x64\0\3abc", 7).rcode, 0);
    assert_int_equal(with_options("\0\x64\0\0\0\x64\0\0", 8).rcode, 0);
    assert_true(with_options("\0\x0b\0\0", 4).keepalive);
    assert_int_equal(with_options("\0\x0b\0\2\0\1", 6).rcode, DNS_RCODE_FORMERR);
    assert_true(with_options("\0\x0c\0\2\0\0", 6).padded);
    assert_true(with_options("\0\x0c\0\0", 4).padded);
    struct span subnet = with_options("\0\x08\0\7\0\1\x18\0\xc0\0\2", 11).client_subnet;
    assert_int_equal(subnet.size, 7);
    assert_memory_equal(subnet.data, "\0\1\x18\0\xc0\0\2", 7);
    uint8_t longer[4 + 21] = {0, 8, 0, 21};
    assert_int_equal(with_options(longer, sizeof longer).client_subnet.size, 0);
    assert_int_equal(with_options("\0\x08\0\3\0\1\0", 7).client_subnet.size, 0);
}

/* Shows: RFC6891-6.1.2, regression 17 */
static void options_that_do_not_fill_their_space(void **state)
{
    (void)state;
    static const char bytes[] = "\0\x64\0\3ab";
    for (size_t size = 1; size < sizeof bytes - 1 + 1; size++) {
        struct dns_query query = with_options(bytes, size);
        assert_int_equal(query.rcode, DNS_RCODE_FORMERR);
        assert_true(query.has_edns && query.has_question);
        assert_int_equal(query.udp_size, 1232);
    }
}

/* Shows: RFC7873-5.2.2 */
static void cookie_sizes(void **state)
{
    (void)state;
    for (uint8_t size = 0; size < 60; size++) {
        uint8_t option[64] = {0, 10, 0, size};
        bool is_right = size == 8 || (size >= 16 && size <= 40);
        assert_int_equal(with_options(option, 4u + size).rcode, is_right ? 0 : DNS_RCODE_FORMERR);
    }
}

/* Shows: RFC8906, W06 */
static void other_opcodes(void **state)
{
    (void)state;
    for (unsigned opcode = 1; opcode < 16; opcode++) {
        begin(opcode << 11, 0, 1);
        draft_option_record(&draft, 1232, 0x10000, "", 0);
        assert_rcode(DNS_RCODE_NOTIMP);
        assert_true(read_it().has_question && read_it().has_edns);
        draft_begin(&draft, opcode << 11, 0, 0, 0, 0);
        assert_rcode(DNS_RCODE_NOTIMP);
        draft_begin(&draft, opcode << 11, 9, 9, 9, 9);
        assert_rcode(DNS_RCODE_NOTIMP);
        assert_false(read_it().has_question);
    }
}

/* Shows: RFC5625-6.3, regression 17 */
static void bytes_behind_the_end(void **state)
{
    (void)state;
    begin(0, 0, 0);
    draft_bytes(&draft, "", 1);
    assert_rcode(DNS_RCODE_FORMERR);
    assert_true(read_it().has_question);
    begin(0, 0, 1);
    draft_option_record(&draft, 1232, 0, "", 0);
    draft_bytes(&draft, "\0", 1);
    assert_rcode(DNS_RCODE_FORMERR);
}

/* Shows: RFC5625-6.3, W7 */
static void every_prefix_is_refused(void **state)
{
    (void)state;
    begin(0, 0, 3);
    draft_record(&draft, 12, DNS_TYPE_TKEY, 0, 30);
    draft_option_record(&draft, 1232, 0, "\0\x0a\0\x08xxxxxxxx\0\x0c\0\0", 16);
    draft_signature(&draft);
    assert_rcode(0);
    size_t whole = draft.size;
    for (draft.size = 12; draft.size < whole; draft.size++) {
        assert_rcode(DNS_RCODE_FORMERR);
        assert_int_equal(read_it().has_question, draft.size >= 12 + 17);
    }
}

/* Shows: W7 */
static void every_broken_byte_is_harmless(void **state)
{
    (void)state;
    begin(0, 0, 2);
    draft_option_record(&draft, 1232, 0, "\0\x0a\0\x08xxxxxxxx\0\x0c\0\0", 16);
    draft_signature(&draft);
    static struct draft again;
    for (size_t at = 2; at < draft.size; at++) {
        uint8_t before = draft.bytes[at];
        for (unsigned value = 0; value < 256; value++) {
            draft.bytes[at] = (uint8_t)value;
            struct dns_query query, other;
            if (read_query(&draft, &query) < 0 || query.rcode != 0) {
                continue;
            }
            struct dns_question_form form = {.question = query.question, .padding_block = 128};
            assert_int_equal(dns_query_write(&form, again.bytes, DNS_QUERY_MAX, &again.size), 0);
            assert_int_equal(read_query(&again, &other), 0);
            assert_int_equal(other.rcode, 0);
            assert_true(dns_name_equal(other.question.data, query.question.data, query.question.size - 4));
            assert_int_equal(other.type, query.type);
        }
        draft.bytes[at] = before;
    }
}

/* Shows: RFC6891-6.1.1, RFC6891-6.1.4, RFC4035-3.2.2, RFC7871 */
static void written_query(void **state)
{
    (void)state;
    static const uint8_t subnet[7] = {0, 1, 24, 0, 192, 0, 2};
    begin(0, 0, 0);
    struct dns_question_form form = {.question = span_of(draft.bytes + 12, 17),
                                     .rd = true,
                                     .cd = true,
                                     .dnssec_ok = true,
                                     .client_subnet = span_of(subnet, 7)};
    struct draft out = {.size = 0};
    assert_int_equal(dns_query_write(&form, out.bytes, 51, &out.size), 0);
    static const char expected[] =
        "\0\0\1\x30\0\1\0\0\0\0\0\1\3www\7example\0\0\1\0\1\0\0\x29\4\xd0\0\0\x80\0\0\x0b"
        "\0\x08\0\7\0\1\x18\0\xc0\0\2";
    assert_int_equal(out.size, sizeof expected - 1);
    assert_memory_equal(out.bytes, expected, out.size);
}

/* HTTPS is type 65, the letter A. */
/* Shows: RFC4343, RFC5625-4.3 */
static void written_type_keeps_its_bytes(void **state)
{
    (void)state;
    draft_begin(&draft, 0, 1, 0, 0, 0);
    draft_name(&draft, "A.");
    draft_u16(&draft, 0x4141);
    draft_u16(&draft, 0x4243);
    struct dns_question_form form = {.question = span_of(draft.bytes + 12, 7)};
    struct draft out = {.size = 0};
    assert_int_equal(dns_query_write(&form, out.bytes, DNS_QUERY_MAX, &out.size), 0);
    assert_memory_equal(out.bytes + 12, "\1a\0AABC", 7);
    assert_memory_equal(out.bytes, "\0\0\0\x20", 4);
}

/* Sizes and space: all lengths of names, exact capacity, one byte less. */
/* Shows: V02, RFC8467-4.1 */
static void padded_query_is_a_multiple(void **state)
{
    (void)state;
    static const size_t blocks[] = {0, 1, 128, 468};
    for (size_t length = 1; length <= 255; length += length == 1 ? 2 : 1) {
        uint8_t question[DNS_QUESTION_MAX] = {0};
        for (size_t at = 0; at + 1 < length;) {
            size_t left = length - at - 1, label = left > 64 ? 63 : left - 1;
            label -= left - label - 1 == 1;
            question[at] = (uint8_t)label;
            memset(question + at + 1, 'a', label);
            at += label + 1;
        }
        for (size_t i = 0; i < 4; i++) {
            struct dns_question_form form = {.question = span_of(question, length + 4),
                                             .padding_block = blocks[i]};
            uint8_t out[1024];
            size_t size, same;
            assert_int_equal(dns_query_write(&form, out, sizeof out, &size), 0);
            assert_int_equal(blocks[i] == 0 ? 0 : size % blocks[i], 0);
            assert_int_equal(dns_query_write(&form, out, size - 1, &same), ERROR_SPACE);
            assert_int_equal(dns_query_write(&form, out, size, &same), 0);
            assert_int_equal(same, size);
            struct dns_query query;
            assert_int_equal(dns_query_read(span_of(out, size), &query), 0);
            assert_int_equal(query.rcode, 0);
            assert_int_equal(query.padded, blocks[i] != 0);
            assert_true(blocks[i] != 128 || size <= DNS_QUERY_MAX);
        }
    }
}

/* Shows: RFC7828 */
static void written_query_asks_for_the_idle_limit(void **state)
{
    (void)state;
    static const uint8_t question[] = "\1a\0\0\1\0";
    struct dns_question_form form = {.question = span_of(question, 7), .padding_block = 128};
    for (int asked = 0; asked < 2; asked++) {
        form.keepalive = asked;
        uint8_t out[DNS_QUERY_MAX];
        size_t size;
        struct dns_query query;
        assert_int_equal(dns_query_write(&form, out, sizeof out, &size), 0);
        assert_int_equal(size, 128);
        assert_int_equal(dns_query_read(span_of(out, size), &query), 0);
        assert_int_equal(query.keepalive, asked);
    }
}

const struct CMUnitTest query_tests[] = {
    cmocka_unit_test(plain_query),
    cmocka_unit_test(unknown_flags_and_types_are_served),
    cmocka_unit_test(what_is_never_answered),
    cmocka_unit_test(exactly_one_question),
    cmocka_unit_test(broken_question_names),
    cmocka_unit_test(longest_question),
    cmocka_unit_test(records_out_of_place),
    cmocka_unit_test(transfer_has_its_serial),
    cmocka_unit_test(additional_records_pass),
    cmocka_unit_test(signatures),
    cmocka_unit_test(edns_of_a_client),
    cmocka_unit_test(misplaced_option_records),
    cmocka_unit_test(later_versions_of_edns),
    cmocka_unit_test(options),
    cmocka_unit_test(options_that_do_not_fill_their_space),
    cmocka_unit_test(cookie_sizes),
    cmocka_unit_test(other_opcodes),
    cmocka_unit_test(bytes_behind_the_end),
    cmocka_unit_test(every_prefix_is_refused),
    cmocka_unit_test(every_broken_byte_is_harmless),
    cmocka_unit_test(written_query),
    cmocka_unit_test(written_type_keeps_its_bytes),
    cmocka_unit_test(padded_query_is_a_multiple),
    cmocka_unit_test(written_query_asks_for_the_idle_limit),
};
const size_t query_tests_count = sizeof query_tests / sizeof query_tests[0];
