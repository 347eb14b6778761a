/* What clients get: every rule of dns_answer_write, from both sides. */
#include "dns_messages.h"

static struct draft draft;
static uint8_t out[DNS_MESSAGE_MAX + DNS_ANSWER_GROWTH];

enum { QUESTION_AT = 12, FIRST_AT = 12 + 13 + 4 };

static void begin(unsigned flags, unsigned answers, unsigned authority, unsigned additional)
{
    draft_begin(&draft, flags, 1, answers, authority, additional);
    draft_question(&draft, "www.example.", DNS_TYPE_A);
}

static void records(unsigned count, unsigned type, size_t data_size)
{
    for (unsigned i = 0; i < count; i++) {
        draft_record(&draft, QUESTION_AT, type, 300, data_size);
    }
}

/* Writes for the view, reads it again; whatever was written says what the draft says. */
static struct dns_answer rewrite(const struct dns_view *view, size_t *size)
{
    struct dns_answer answer, again;
    assert_int_equal(read_answer(&draft, &answer), 0);
    size_t capacity = draft.size + DNS_ANSWER_GROWTH;
    uint8_t *exact = malloc(capacity);
    assert_non_null(exact);
    assert_int_equal(dns_answer_write(&answer, view, exact, capacity, size), 0);
    memcpy(out, exact, *size);
    free(exact);
    assert_int_equal(dns_answer_read(span_of(out, *size), &again), 0);
    unsigned count = assert_same_records(span_of(draft.bytes, draft.size), span_of(out, *size));
    assert_int_equal(count, again.count[0] + again.count[1] + again.count[2]);
    size_t twice;
    static uint8_t second[sizeof out];
    assert_int_equal(dns_answer_write(&again, view, second, sizeof second, &twice), 0);
    assert_int_equal(twice, *size);
    assert_memory_equal(second, out, twice);
    return again;
}

/* Shows: RFC6891-6.1.1, RFC7830-6, RFC5625-3, pain 20, regression 13 */
static void answer_for_a_plain_client(void **state)
{
    (void)state;
    begin(0x8180, 1, 0, 1);
    records(1, DNS_TYPE_A, 4);
    draft_option_record(&draft, 1232, 0x8000, "\0\x0c\0\2\0\0", 6);
    struct dns_view view = plain_client(512);
    size_t size;
    rewrite(&view, &size);
    static const char expected[] = "\x12\x34\x81\x80\0\1\0\1\0\0\0\0\3WWW\7exAmple\0\0\1\0\1"
                                   "\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\xc1\xc1\xc1\xc1";
    assert_int_equal(size, sizeof expected - 1);
    assert_memory_equal(out, expected, size);
}

/* Shows: RFC6891-6.1.1, RFC6891-6.2.3, RFC7828, RFC8914 */
static void answer_for_an_edns_client(void **state)
{
    (void)state;
    static const char expected[] =
        "\0\0\x29\4\xd0\0\0\x80\0\0\x18\0\x0b\0\2\0\x64\0\x08\0\4\0\1\0\0\0\x0f\0\x06\0\x16"
        "away";
    begin(0x8180, 1, 0, 0);
    records(1, DNS_TYPE_A, 4);
    struct dns_view view = plain_client(512);
    view.has_edns = view.dnssec_ok = true;
    view.keepalive = 100;
    view.client_subnet = span_of("\0\1\0\0", 4);
    view.extended = (struct dns_extended_error){.code = 22, .text = span_text("away")};
    size_t size;
    struct dns_answer again = rewrite(&view, &size);
    assert_int_equal(size, FIRST_AT + 16 + sizeof expected - 1);
    assert_memory_equal(out + FIRST_AT + 16, expected, sizeof expected - 1);
    assert_int_equal(again.count[2], 0);
    assert_int_equal(out[11], 1);
}

/* What the client sees of every bit that the upstream sent, for every client. */
/* Shows: RFC6840-5.7, RFC4035-3.2.2, RFC5625-4.4 */
static void bits_of_the_header(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 128; bits++) {
        begin(0x8000 | bits << 4, 0, 0, 0);
        for (unsigned asked = 0; asked < 8; asked++) {
            struct dns_view view = plain_client(512);
            view.rd = asked & 1;
            view.cd = asked & 2;
            view.show_ad = asked & 4;
            size_t size;
            rewrite(&view, &size);
            unsigned expected = 0x8080 | (bits << 4 & 0x0600) | (view.rd ? 0x0100 : 0) |
                                (view.cd ? 0x10 : 0) | (view.show_ad ? bits << 4 & 0x20 : 0);
            assert_int_equal(bytes_get_u16(out + 2), expected);
        }
    }
}

static void rcodes(void **state)
{
    (void)state;
    for (unsigned rcode = 0; rcode < 4096; rcode += rcode < 40 ? 1 : 97) {
        begin(0x8180 | (rcode & 15), 0, 0, 1);
        draft_option_record(&draft, 1232, rcode >> 4 << 24, "", 0);
        struct dns_view view = plain_client(512);
        size_t size;
        assert_int_equal(rewrite(&view, &size).rcode, rcode > 15 ? DNS_RCODE_SERVFAIL : rcode);
        view.has_edns = true;
        assert_int_equal(rewrite(&view, &size).rcode, rcode);
    }
}

static void failure_without_a_question_gets_the_clients(void **state)
{
    (void)state;
    draft_begin(&draft, 0x8182, 0, 0, 0, 1);
    draft_option_record(&draft, 1232, 0, "", 0);
    struct dns_view view = plain_client(512);
    size_t size;
    struct dns_answer again = rewrite(&view, &size);
    assert_int_equal(size, FIRST_AT);
    assert_int_equal(again.rcode, DNS_RCODE_SERVFAIL);
    assert_memory_equal(again.question.data, view.question.data, 17);
}

/* Shows: RFC2181-8 */
static void negative_times_to_live_are_zero(void **state)
{
    (void)state;
    static const uint32_t times[][2] = {
        {0, 0}, {300, 300}, {0x7fffffff, 0x7fffffff}, {0x80000000, 0}, {0xffffffff, 0}};
    for (size_t i = 0; i < 5; i++) {
        begin(0x8180, 1, 1, 1);
        for (int section = 0; section < 3; section++) {
            draft_record(&draft, QUESTION_AT, DNS_TYPE_A, times[i][0], 4);
        }
        struct dns_view view = plain_client(512);
        size_t size;
        rewrite(&view, &size);
        for (size_t section = 0; section < 3; section++) {
            assert_int_equal(bytes_get_u32(out + FIRST_AT + 16 * section + 6), times[i][1]);
        }
    }
}

/* 3000 bytes: 20 addresses, 20 texts, 10 name servers in authority, 40 addresses in additional. */
static void large_answer(void)
{
    begin(0x8180, 40, 10, 41);
    records(20, DNS_TYPE_A, 4);
    records(20, DNS_TYPE_TXT, 40);
    records(10, 65280, 30);
    records(40, DNS_TYPE_AAAA, 16);
    draft_option_record(&draft, 1232, 0, "", 0);
}

static void assert_limit(size_t limit, bool has_edns, unsigned answers, unsigned authority,
                         unsigned additional)
{
    struct dns_view view = plain_client(limit);
    view.has_edns = has_edns;
    size_t size, least = FIRST_AT + (has_edns ? 11 : 0);
    struct dns_answer again = rewrite(&view, &size);
    assert_true(size <= (limit > least ? limit : least));
    assert_int_equal(again.count[0], answers);
    assert_int_equal(again.count[1], authority);
    assert_int_equal(again.count[2], additional);
    assert_int_equal(again.tc, answers < 40 || authority < 10);
    assert_int_equal(again.option_record != 0, has_edns);
    assert_memory_equal(again.question.data, view.question.data, 17);
}

/* Shows: W08, RFC5625-4.4, RFC2181-9, pain 21 */
static void whole_sets_are_cut(void **state)
{
    (void)state;
    large_answer();
    size_t first = FIRST_AT + 20 * 16, second = first + 20 * 52, third = second + 10 * 42,
           whole = third + 40 * 28;
    assert_limit(0, true, 0, 0, 0);
    assert_limit(100, true, 0, 0, 0);
    assert_limit(511, true, 20, 0, 0);
    assert_limit(512, true, 20, 0, 0);
    assert_limit(1232, true, 20, 0, 0);
    assert_limit(4096, true, 40, 10, 40);
    assert_limit(65535, true, 40, 10, 40);
    for (size_t option = 0; option <= 11; option += 11) {
        assert_limit(first + option - 1, option, 0, 0, 0);
        assert_limit(first + option, option, 20, 0, 0);
        assert_limit(second + option - 1, option, 20, 0, 0);
        assert_limit(second + option, option, 40, 0, 0);
        assert_limit(third + option - 1, option, 40, 0, 0);
        assert_limit(third + option, option, 40, 10, 0);
        assert_limit(whole + option - 1, option, 40, 10, 0);
        assert_limit(whole + option, option, 40, 10, 40);
    }
}

/* Shows: W08, regression 13 */
static void every_limit_is_respected(void **state)
{
    (void)state;
    large_answer();
    struct dns_answer answer, again;
    assert_int_equal(read_answer(&draft, &answer), 0);
    for (size_t limit = 0; limit < 3200; limit++) {
        struct dns_view view = plain_client(limit);
        size_t size;
        assert_int_equal(dns_answer_write(&answer, &view, out, sizeof out, &size), 0);
        assert_true(size <= (limit > FIRST_AT ? limit : FIRST_AT));
        assert_int_equal(dns_answer_read(span_of(out, size), &again), 0);
        assert_int_equal(again.count[0] % 20 + again.count[1] % 10 + again.count[2] % 40, 0);
        /* Capacity is a limit, too. */
        view.limit = 65535;
        size_t same;
        assert_int_equal(dns_answer_write(&answer, &view, out, limit, &same),
                         limit < FIRST_AT ? ERROR_SPACE : 0);
        assert_true(limit < FIRST_AT || same == size);
    }
}

/* One set: the same owner in another letter case, compressed in another way. */
static void owners_of_one_set(void **state)
{
    (void)state;
    begin(0x8180, 5, 0, 0);
    records(1, DNS_TYPE_A, 100);
    draft_name(&draft, "WWW.EXAMPLE.");
    draft_fixed(&draft, DNS_TYPE_A, 300, 0);
    draft_bytes(&draft, "\3wWw", 4);
    draft_record(&draft, QUESTION_AT + 4, DNS_TYPE_A, 300, 50);
    size_t behind_set = draft.size;
    draft_record(&draft, QUESTION_AT + 4, DNS_TYPE_A, 300, 50);
    size_t behind_parent = draft.size;
    records(1, DNS_TYPE_A, 50);
    struct dns_view view = plain_client(behind_set - 1);
    size_t size;
    assert_int_equal(rewrite(&view, &size).count[0], 0);
    view.limit = behind_set;
    assert_int_equal(rewrite(&view, &size).count[0], 3);
    view.limit = behind_parent;
    assert_int_equal(rewrite(&view, &size).count[0], 4);
}

static void class_and_section_part_sets(void **state)
{
    (void)state;
    begin(0x8180, 2, 1, 0);
    records(3, DNS_TYPE_A, 50);
    bytes_put_u16(draft.bytes + FIRST_AT + 62 + 4, DNS_CLASS_CHAOS);
    bytes_put_u16(draft.bytes + FIRST_AT + 124 + 4, DNS_CLASS_CHAOS);
    for (unsigned kept = 0; kept < 3; kept++) {
        struct dns_view view = plain_client(FIRST_AT + 62 * (kept + 1) - 1);
        size_t size;
        struct dns_answer again = rewrite(&view, &size);
        assert_int_equal(again.count[0] + again.count[1], kept);
        assert_true(again.tc);
    }
}

/* A message whose header looks like the owner, type and class of its records. */
static void header_is_no_record(void **state)
{
    (void)state;
    begin(0x8180, 1, 1, 0);
    bytes_put_u16(draft.bytes, 0xc000 | QUESTION_AT);
    records(1, DNS_TYPE_A, 4);
    records(1, 0x8180, 4);
    struct dns_view view = plain_client(FIRST_AT + 16);
    size_t size;
    assert_int_equal(rewrite(&view, &size).count[0], 1);
}

/* Shows: RFC5625-4.4 */
static void truncation_of_the_upstream_stays(void **state)
{
    (void)state;
    begin(0x8380, 1, 0, 0);
    records(1, DNS_TYPE_A, 4);
    struct dns_view view = plain_client(512);
    size_t size;
    assert_true(rewrite(&view, &size).tc);
}

/* An OPT record between others: names behind it that point behind it. */
static void names_behind_the_option_record(void)
{
    begin(0x8180, 1, 0, 6);
    records(1, DNS_TYPE_A, 4);
    draft_option_record(&draft, 1232, 0, "\0\x0c\0\x09\xc0\0\xc0\0\xc0\0\xc0\0\0", 13);
    size_t moved = draft.size;
    draft_name(&draft, "moved.test.");
    draft_fixed(&draft, DNS_TYPE_A, 0x80000000, 4);
    draft_pointer(&draft, QUESTION_AT);
    draft_bytes(&draft, "\xc0\xff", 2);
    draft_record(&draft, QUESTION_AT, DNS_TYPE_AAAA, 300, 16);
    draft_bytes(&draft, "\1\xc5", 2);
    draft_pointer(&draft, moved);
    draft_fixed(&draft, 15, 300, 8);
    draft_bytes(&draft, "\0\1\3mx1", 6);
    draft_pointer(&draft, moved + 6);
    size_t soa = draft.size;
    draft_pointer(&draft, moved);
    draft_fixed(&draft, DNS_TYPE_SOA, 300, 24);
    draft_pointer(&draft, soa);
    draft_pointer(&draft, QUESTION_AT + 4);
    draft_bytes(&draft, "\xc0\x30\xc0\x30_16 bytes of data", 20);
    draft_name(&draft, "\xc6.");
    draft_fixed(&draft, 33, 300, 2);
    draft_pointer(&draft, moved);
}

/* Shows: RFC5625-3, RFC5625-4.2, RFC3597 */
static void pointers_are_corrected(void **state)
{
    (void)state;
    names_behind_the_option_record();
    struct dns_view view = plain_client(512);
    size_t size;
    struct dns_answer again = rewrite(&view, &size);
    assert_int_equal(again.count[2], 5);
    assert_int_equal(size, draft.size - 11 - 13);
    /* What looks like a pointer in other data is left alone. */
    assert_int_equal(bytes_get_u16(out + size - 2), 0xc000 | (FIRST_AT + 16 + 24));
    view.has_edns = true;
    rewrite(&view, &size);
    for (view.limit = 0; view.limit < 300; view.limit++) {
        rewrite(&view, &size);
    }
}

static void option_record_before_others_without_pointers(void **state)
{
    (void)state;
    begin(0x8180, 0, 0, 3);
    draft_option_record(&draft, 1232, 0, "", 0);
    records(2, DNS_TYPE_A, 4);
    struct dns_view view = plain_client(512);
    size_t size;
    assert_int_equal(rewrite(&view, &size).count[2], 2);
    assert_int_equal(size, FIRST_AT + 32);
}

/* Shows: RFC5625-4.5 */
static void signed_answer_is_not_touched(void **state)
{
    (void)state;
    begin(0x81d0, 1, 0, 2);
    draft_record(&draft, QUESTION_AT, DNS_TYPE_A, 0x80000001, 4);
    draft_option_record(&draft, 1232, 0x8000, "\0\x0c\0\2\0\0", 6);
    draft_signature(&draft);
    struct dns_answer answer;
    assert_int_equal(read_answer(&draft, &answer), 0);
    struct dns_view view = plain_client(draft.size);
    view.question = answer.question;
    size_t size;
    assert_int_equal(dns_answer_write(&answer, &view, out, sizeof out, &size), 0);
    assert_int_equal(size, draft.size);
    assert_memory_equal(out, "\x12\x34", 2);
    assert_memory_equal(out + 2, draft.bytes + 2, size - 2);
}

/* Shows: RFC5625-4.5, RFC5625-4.4 */
static void signed_answer_that_does_not_fit(void **state)
{
    (void)state;
    static const char expected[] = "\x12\x34\x83\x80\0\1\0\0\0\0\0\0\3WWW\7exAmple\0\0\1\0\1";
    begin(0x8180, 1, 0, 1);
    records(1, DNS_TYPE_A, 4);
    draft_signature(&draft);
    struct dns_answer answer;
    assert_int_equal(read_answer(&draft, &answer), 0);
    struct dns_view view = plain_client(draft.size - 1);
    view.has_edns = true;
    size_t size;
    for (int i = 0; i < 2; i++) {
        size_t capacity = i == 0 ? sizeof out : draft.size - 1;
        assert_int_equal(dns_answer_write(&answer, &view, out, capacity, &size), 0);
        assert_int_equal(size, sizeof expected - 1);
        assert_memory_equal(out, expected, size);
        view.limit = 65535;
    }
    assert_int_equal(dns_answer_write(&answer, &view, out, FIRST_AT - 1, &size), ERROR_SPACE);
}

static void space_for_the_least_answer(void **state)
{
    (void)state;
    begin(0x8180, 1, 0, 0);
    records(1, DNS_TYPE_A, 4);
    struct dns_answer answer;
    assert_int_equal(read_answer(&draft, &answer), 0);
    struct dns_view view = plain_client(512);
    view.has_edns = true;
    view.extended = (struct dns_extended_error){.code = 0, .text = span_text("x")};
    size_t size, least = FIRST_AT + 11 + 7;
    for (size_t capacity = 0; capacity < least; capacity++) {
        uint8_t *exact = malloc(capacity + 1);
        assert_int_equal(dns_answer_write(&answer, &view, exact + 1, capacity, &size), ERROR_SPACE);
        assert_int_equal(dns_error_write(&view, 2, exact + 1, capacity, &size), ERROR_SPACE);
        free(exact);
    }
    assert_int_equal(dns_answer_write(&answer, &view, out, least, &size), 0);
    assert_int_equal(size, least);
    assert_int_equal(dns_error_write(&view, 2, out, least, &size), 0);
    assert_int_equal(size, least);
}

static void growth_covers_everything_we_add(void **state)
{
    (void)state;
    static const uint8_t subnet[DNS_OPTION_CLIENT_SUBNET_MAX];
    static const char text[DNS_EXTRA_TEXT_MAX];
    begin(0x8180, 1, 0, 0);
    records(1, DNS_TYPE_A, 4);
    struct dns_view view = plain_client(65535);
    view.has_edns = true;
    view.keepalive = 1;
    view.client_subnet = span_of(subnet, sizeof subnet);
    view.extended = (struct dns_extended_error){.code = 1, .text = span_of(text, sizeof text)};
    size_t size;
    rewrite(&view, &size);
    assert_int_equal(size, draft.size + DNS_ANSWER_GROWTH);
}

/* Whatever still reads as an answer after a byte was changed reads the same after it was rewritten. */
/* Shows: W7, RFC5625-3 */
static void every_broken_byte_is_harmless(void **state)
{
    (void)state;
    names_behind_the_option_record();
    for (size_t at = 0; at < draft.size; at++) {
        uint8_t before = draft.bytes[at];
        for (unsigned value = 0; value < 256; value++) {
            draft.bytes[at] = (uint8_t)value;
            struct dns_answer answer;
            struct dns_view view = plain_client(200);
            size_t size;
            if (read_answer(&draft, &answer) < 0 || !dns_answer_matches(&answer, view.question)) {
                continue;
            }
            rewrite(&view, &size);
            view.limit = 1232;
            view.has_edns = true;
            rewrite(&view, &size);
        }
        draft.bytes[at] = before;
    }
}

const struct CMUnitTest write_tests[] = {
    cmocka_unit_test(answer_for_a_plain_client),
    cmocka_unit_test(answer_for_an_edns_client),
    cmocka_unit_test(bits_of_the_header),
    cmocka_unit_test(rcodes),
    cmocka_unit_test(failure_without_a_question_gets_the_clients),
    cmocka_unit_test(negative_times_to_live_are_zero),
    cmocka_unit_test(whole_sets_are_cut),
    cmocka_unit_test(every_limit_is_respected),
    cmocka_unit_test(owners_of_one_set),
    cmocka_unit_test(class_and_section_part_sets),
    cmocka_unit_test(header_is_no_record),
    cmocka_unit_test(truncation_of_the_upstream_stays),
    cmocka_unit_test(pointers_are_corrected),
    cmocka_unit_test(option_record_before_others_without_pointers),
    cmocka_unit_test(signed_answer_is_not_touched),
    cmocka_unit_test(signed_answer_that_does_not_fit),
    cmocka_unit_test(space_for_the_least_answer),
    cmocka_unit_test(growth_covers_everything_we_add),
    cmocka_unit_test(every_broken_byte_is_harmless),
};
const size_t write_tests_count = sizeof write_tests / sizeof write_tests[0];
