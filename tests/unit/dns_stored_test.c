/* Answers as a cache keeps them: dns_stored_write and dns_stored_answer. */
#include "dns_messages.h"

static struct draft draft;
static uint8_t kept[DNS_MESSAGE_MAX], out[DNS_MESSAGE_MAX];

enum { QUESTION_AT = 12, EXAMPLE_AT = 12 + 4, FIRST_AT = 12 + 13 + 4 };

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

/* The stored form of the draft, as something that is as old as that. */
static struct dns_stored store(uint32_t age)
{
    struct dns_answer answer;
    assert_int_equal(read_answer(&draft, &answer), 0);
    size_t size;
    uint8_t *exact = malloc(draft.size);
    assert_int_equal(dns_stored_write(&answer, exact, draft.size, &size), 0);
    assert_true(size <= draft.size);
    memcpy(kept, exact, size);
    free(exact);
    return (struct dns_stored){.bytes = span_of(kept, size), .age = age, .most = 86400};
}

/* The answer for this client in `out`, which is the whole room there is; read again. */
static struct dns_answer tell(const struct dns_stored *stored, const struct dns_view *view, size_t *size)
{
    struct dns_answer again;
    struct span copy = exact_copy(stored->bytes.data, stored->bytes.size);
    struct dns_stored exact = *stored;
    exact.bytes = copy;
    assert_int_equal(dns_stored_answer(&exact, view, out, sizeof out, size), 0);
    free((void *)copy.data);
    assert_int_equal(dns_answer_read(span_of(out, *size), &again), 0);
    return again;
}

static void form_of_an_address(void **state)
{
    (void)state;
    begin(0x8580, 1, 0, 1);
    records(1, DNS_TYPE_A, 4);
    draft_option_record(&draft, 1232, 0x8000, "\0\x0c\0\2\0\0", 6);
    struct dns_stored stored = store(7);
    static const char form[] = "\0\1\0\0\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\xc1\xc1\xc1\xc1";
    assert_int_equal(stored.bytes.size, sizeof form - 1);
    assert_memory_equal(stored.bytes.data, form, sizeof form - 1);
    assert_int_equal(DNS_STORED_FORM, 2); /* raise it when these bytes change: they lie in files */
    assert_int_equal(dns_stored_rcode(stored.bytes), 0);
    struct dns_view view = plain_client(512);
    size_t size;
    tell(&stored, &view, &size);
    static const char expected[] = "\x12\x34\x81\x80\0\1\0\1\0\0\0\0\3WWW\7exAmple\0\0\1\0\1"
                                   "\xc0\x0c\0\1\0\1\0\0\1\x25\0\4\xc1\xc1\xc1\xc1";
    assert_int_equal(size, sizeof expected - 1);
    assert_memory_equal(out, expected, size);
}

/* Shows: RFC6891-6.1.1, RFC8914, regression 13 */
static void options_of_the_hop_are_not_kept(void **state)
{
    (void)state;
    begin(0x81a2, 0, 0, 1);
    draft_option_record(&draft, 1232, 0,
                        "\0\x0a\0\x10_sixteen bytes__"
                        "\0\x0b\0\2\0\5\0\x0c\0\1\0\0\x03\0\2id\0\x0f\0\6\0\x09last\xff\xfe\0\1x",
                        20 + 6 + 5 + 6 + 10 + 5);
    struct dns_stored stored = store(0);
    assert_int_equal(stored.bytes.size, 11);
    assert_memory_equal(stored.bytes.data, "\x32\0\0\0\0\x09\4last", 11);
    assert_int_equal(dns_stored_rcode(stored.bytes), DNS_RCODE_SERVFAIL);
    struct dns_view view = plain_client(512);
    size_t size;
    tell(&stored, &view, &size);
    assert_int_equal(size, FIRST_AT);
    view.has_edns = true;
    tell(&stored, &view, &size);
    static const char expected[] = "\0\0\x29\4\xd0\0\0\0\0\0\x0a\0\x0f\0\6\0\x09last";
    assert_int_equal(size, FIRST_AT + sizeof expected - 1);
    assert_memory_equal(out + FIRST_AT, expected, sizeof expected - 1);
}

/* Shows: RFC8914 */
static void extended_errors_of_both(void **state)
{
    (void)state;
    begin(0x8182, 0, 0, 1);
    draft_option_record(&draft, 1232, 0, "\0\x0f\0\6\0\x09last", 10);
    struct dns_stored stored = store(0);
    struct dns_view view = plain_client(512);
    view.has_edns = true;
    view.extended = (struct dns_extended_error){.code = 13, .text = span_text("own")};
    size_t size;
    tell(&stored, &view, &size);
    static const char both[] = "\0\0\x29\4\xd0\0\0\0\0\0\x13\0\x0f\0\5\0\x0down\0\x0f\0\6\0\x09last";
    assert_int_equal(size, FIRST_AT + sizeof both - 1);
    assert_memory_equal(out + FIRST_AT, both, sizeof both - 1);
    view.extended.code = 9;
    static const char own[] = "\0\0\x29\4\xd0\0\0\0\0\0\x09\0\x0f\0\5\0\x09own";
    tell(&stored, &view, &size);
    assert_int_equal(size, FIRST_AT + sizeof own - 1);
    assert_memory_equal(out + FIRST_AT, own, sizeof own - 1);
}

/* Shows: RFC8914 */
static void extended_text_is_bounded(void **state)
{
    (void)state;
    for (size_t kept_size = 0; kept_size <= DNS_EXTRA_TEXT_MAX; kept_size += DNS_EXTRA_TEXT_MAX) {
        char option[4 + 2 + 300] = {0, 15, 1, 302 - 256, 0, 3};
        memset(option + 6, kept_size > 0 ? 'x' : '\x80', 300); /* 0x80 never begins a character */
        begin(0x8180, 0, 0, 1);
        draft_option_record(&draft, 1232, 0, option, sizeof option);
        struct dns_stored stored = store(0);
        assert_int_equal(stored.bytes.size, 4 + 3 + kept_size);
        struct dns_view view = plain_client(512);
        view.has_edns = true;
        size_t size;
        assert_int_equal(tell(&stored, &view, &size).extended.text.size, kept_size);
    }
}

/* Shows: RFC6840-5.7, RFC4035-3.2.2 */
static void bits_of_the_header(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 128; bits++) {
        begin(0x8000 | (bits << 4 & 0xfdff), 0, 0, 0);
        struct dns_stored stored = store(0);
        for (unsigned asked = 0; asked < 8; asked++) {
            struct dns_view view = plain_client(512);
            view.rd = asked & 1;
            view.cd = asked & 2;
            view.show_ad = asked & 4;
            size_t size;
            tell(&stored, &view, &size);
            unsigned expected = 0x8080 | (view.rd ? 0x0100 : 0) | (view.cd ? 0x10 : 0) |
                                (view.show_ad ? bits << 4 & 0x20 : 0);
            assert_int_equal(bytes_get_u16(out + 2), expected);
        }
    }
}

static void what_is_never_stored(void **state)
{
    (void)state;
    struct dns_answer answer;
    size_t size;
    begin(0x8380, 1, 0, 0);
    records(1, DNS_TYPE_A, 4);
    assert_int_equal(read_answer(&draft, &answer), 0);
    assert_int_equal(dns_stored_write(&answer, kept, sizeof kept, &size), ERROR_INVALID);
    begin(0x8180, 1, 0, 1);
    records(1, DNS_TYPE_A, 4);
    draft_signature(&draft);
    assert_int_equal(read_answer(&draft, &answer), 0);
    assert_int_equal(dns_stored_write(&answer, kept, sizeof kept, &size), ERROR_INVALID);
    begin(0x8180, 0, 0, 1);
    draft_option_record(&draft, 1232, 1 << 24, "", 0);
    assert_int_equal(read_answer(&draft, &answer), 0);
    assert_int_equal(dns_stored_write(&answer, kept, sizeof kept, &size), ERROR_INVALID);
    begin(0x8180, 1, 0, 0);
    records(1, DNS_TYPE_A, 4);
    assert_int_equal(read_answer(&draft, &answer), 0);
    assert_int_equal(dns_stored_write(&answer, kept, draft.size - 1, &size), ERROR_SPACE);
    assert_int_equal(dns_stored_write(&answer, kept, draft.size, &size), 0);
}

/* The TTL of the record number `index` of 16 bytes in `out`. */
static uint32_t told_ttl(size_t index)
{
    return bytes_get_u32(out + FIRST_AT + 16 * index + 6);
}

/* Shows: RFC2181-8 */
static void times_count_down(void **state)
{
    (void)state;
    static const struct {
        uint32_t ttl, age, least, most, stale, shown;
    } rows[] = {
        {300, 0, 0, 86400, 0, 300},
        {300, 7, 0, 86400, 0, 293},
        {300, 299, 0, 86400, 0, 1},
        {300, 300, 0, 86400, 0, 0},
        {300, 301, 0, 86400, 0, 0},
        {300, 0xffffffff, 0, 86400, 0, 0},
        {0, 0, 0, 86400, 0, 0},
        {0, 1, 0, 86400, 0, 0},
        {10000000, 0, 0, 86400, 0, 86400},
        {10000000, 7, 0, 86400, 0, 86393},
        {0x7fffffff, 7, 0, 0xffffffff, 0, 0x7ffffff8},
        {0x80000005, 0, 0, 86400, 0, 0},
        {5, 0, 60, 86400, 0, 60},
        {5, 7, 60, 86400, 0, 53},
        {5, 61, 60, 86400, 0, 0},
        {300, 7, 60, 86400, 0, 293},
        {5, 0, 60, 30, 0, 30},
        {300, 5000, 0, 86400, 30, 30},
        {300, 0, 0, 86400, 30, 30},
        {5, 5000, 0, 86400, 30, 5},
        {5, 5000, 60, 86400, 30, 30},
        {5, 5000, 20, 86400, 30, 20},
        {300, 5000, 0, 10, 30, 10},
        {0, 5000, 0, 86400, 30, 1},
        {0x80000005, 5000, 0, 86400, 30, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(0x8180, 1, 1, 1);
        for (int section = 0; section < 3; section++) {
            draft_record(&draft, QUESTION_AT, DNS_TYPE_A, rows[i].ttl, 4);
        }
        struct dns_stored stored = store(rows[i].age);
        stored.least = rows[i].least;
        stored.most = rows[i].most;
        stored.stale = rows[i].stale;
        struct dns_view view = plain_client(512);
        size_t size;
        tell(&stored, &view, &size);
        for (size_t section = 0; section < 3; section++) {
            assert_int_equal(told_ttl(section), rows[i].shown);
        }
    }
}

static void one_set_has_one_time(void **state)
{
    (void)state;
    begin(0x8180, 5, 1, 0);
    static const uint32_t times[] = {90, 30, 60, 20, 10, 5};
    static const uint16_t types[] = {DNS_TYPE_A,     DNS_TYPE_A,     DNS_TYPE_A,
                                     DNS_TYPE_RRSIG, DNS_TYPE_RRSIG, DNS_TYPE_RRSIG};
    for (size_t i = 0; i < 6; i++) {
        draft_record(&draft, QUESTION_AT, types[i], times[i], 4);
    }
    struct dns_stored stored = store(3);
    struct dns_view view = plain_client(512);
    size_t size;
    tell(&stored, &view, &size);
    static const uint32_t shown[] = {27, 27, 27, 17, 7, 2};
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(told_ttl(i), shown[i]);
    }
}

static void another_owner_or_section_is_another_set(void **state)
{
    (void)state;
    begin(0x8180, 2, 1, 0);
    draft_record(&draft, QUESTION_AT, DNS_TYPE_A, 90, 4);
    draft_record(&draft, EXAMPLE_AT, DNS_TYPE_A, 60, 4);
    draft_record(&draft, EXAMPLE_AT, DNS_TYPE_A, 30, 4);
    struct dns_stored stored = store(0);
    struct dns_view view = plain_client(512);
    size_t size;
    tell(&stored, &view, &size);
    assert_int_equal(told_ttl(0), 90);
    assert_int_equal(told_ttl(1), 60);
    assert_int_equal(told_ttl(2), 30);
}

static void denial_shows_the_time_that_it_has(void **state)
{
    (void)state;
    static const uint32_t times[][3] = {
        {900, 60, 53}, {60, 900, 53}, {900, 0, 0}, {900, 0x80000000, 0}, {0x80000000, 60, 0}};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        begin(0x8183, 0, 1, 0);
        draft_soa(&draft, EXAMPLE_AT, times[i][0], times[i][1]);
        struct dns_stored stored = store(7);
        assert_int_equal(dns_stored_rcode(stored.bytes), DNS_RCODE_NXDOMAIN);
        struct dns_view view = plain_client(512);
        size_t size;
        tell(&stored, &view, &size);
        assert_int_equal(told_ttl(0), times[i][2]);
    }
    begin(0x8180, 1, 0, 0);
    draft_soa(&draft, QUESTION_AT, 900, 60);
    struct dns_stored stored = store(0);
    struct dns_view view = plain_client(512);
    size_t size;
    tell(&stored, &view, &size);
    assert_int_equal(told_ttl(0), 900);
}

static void denial_of_a_name_for_another_type(void **state)
{
    (void)state;
    begin(0x8183, 0, 1, 0);
    draft_soa(&draft, EXAMPLE_AT, 900, 60);
    struct dns_stored stored = store(0);
    struct dns_view view = plain_client(512);
    view.question = span_of("\3wwW\7example\0\0\x41\0\1", 17);
    size_t size;
    struct dns_answer again = tell(&stored, &view, &size);
    assert_int_equal(again.rcode, DNS_RCODE_NXDOMAIN);
    assert_memory_equal(again.question.data, view.question.data, 17);
    assert_int_equal(again.count[1], 1);
}

static void failure_without_a_question(void **state)
{
    (void)state;
    draft_begin(&draft, 0x8182, 0, 0, 0, 0);
    struct dns_stored stored = store(0);
    assert_int_equal(stored.bytes.size, 4);
    struct dns_view view = plain_client(512);
    size_t size;
    assert_int_equal(tell(&stored, &view, &size).rcode, DNS_RCODE_SERVFAIL);
    assert_int_equal(size, FIRST_AT);
}

static void more_records_than_a_byte_counts(void **state)
{
    (void)state;
    static const unsigned counts[][3] = {
        {255, 255, 255}, {256, 0, 0}, {0, 256, 0}, {0, 1, 300}, {2000, 2, 1}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const unsigned *count = counts[i];
        begin(0x8180, count[0], count[1], count[2]);
        records(count[0] + count[1] + count[2], DNS_TYPE_A, 4);
        struct dns_stored stored = store(0);
        assert_int_equal(stored.bytes.size, draft.size - FIRST_AT + (i == 0 ? 4 : 7));
        struct dns_view view = plain_client(65535);
        size_t size;
        struct dns_answer again = tell(&stored, &view, &size);
        for (int section = 0; section < 3; section++) {
            assert_int_equal(again.count[section], count[section]);
        }
        assert_int_equal(assert_same_records(span_of(draft.bytes, draft.size), span_of(out, size)),
                         count[0] + count[1] + count[2]);
    }
}

static void space_that_is_needed(void **state)
{
    (void)state;
    begin(0x8180, 1, 0, 0);
    records(1, DNS_TYPE_A, 4);
    struct dns_stored stored = store(0);
    struct dns_view view = plain_client(512);
    size_t size;
    for (int edns = 0; edns < 2; edns++) {
        view.has_edns = edns;
        for (size_t capacity = 0; capacity < 80; capacity++) {
            uint8_t *exact = malloc(capacity + 1);
            int error = dns_stored_answer(&stored, &view, exact + 1, capacity, &size);
            assert_int_equal(error, capacity < draft.size ? ERROR_SPACE : 0);
            free(exact);
        }
        assert_int_equal(size, draft.size + (edns ? 11 : 0));
    }
}

/* Damaged bytes have some answer or none; to look at them does no harm. */
static void try_damaged(struct span bytes)
{
    struct span copy = exact_copy(bytes.data, bytes.size);
    struct dns_view view = plain_client(512);
    size_t size;
    for (unsigned i = 0; i < 4; i++) {
        view.limit = i & 1 ? 50 : 512;
        view.has_edns = i & 2;
        struct dns_stored stored = {.bytes = copy, .most = 86400};
        int error = dns_stored_answer(&stored, &view, out, sizeof out, &size);
        assert_true(error == ERROR_MALFORMED || (error == 0 && size <= 512));
    }
    free((void *)copy.data);
}

static void damaged_bytes_do_no_harm(void **state)
{
    (void)state;
    begin(0x8183, 2, 1, 2);
    size_t target = draft_alias(&draft, QUESTION_AT, 300, "b.test.");
    draft_record(&draft, target, DNS_TYPE_A, 200, 4);
    draft_soa(&draft, target + 2, 900, 60);
    draft_option_record(&draft, 1232, 0, "\0\x0f\0\6\0\x09last", 10);
    draft_name(&draft, "a.b.c.");
    draft_fixed(&draft, DNS_TYPE_A, 300, 4);
    draft_bytes(&draft, "\300\0\2\1", 4);
    struct dns_stored stored = store(0);
    size_t size = stored.bytes.size;
    struct dns_view view = plain_client(512);
    for (size_t cut = 0, head = 4 + 3 + 4; cut < size; cut++) {
        size_t ignored, capacity = FIRST_AT + (cut > head ? cut - head : 0);
        struct span part = exact_copy(kept, cut);
        uint8_t *exact = malloc(capacity);
        struct dns_stored damaged = {.bytes = part, .most = 86400};
        assert_int_equal(dns_stored_answer(&damaged, &view, exact, capacity, &ignored), ERROR_MALFORMED);
        free((void *)part.data);
        free(exact);
    }
    kept[size] = 0;
    stored.bytes.size = size + 1;
    assert_int_equal(dns_stored_answer(&stored, &view, out, sizeof out, &size), ERROR_MALFORMED);
    stored.bytes.size--;
    for (size_t at = 0; at < stored.bytes.size; at++) {
        uint8_t before = kept[at];
        for (unsigned value = 0; value < 256; value++) {
            kept[at] = (uint8_t)value;
            try_damaged(stored.bytes);
        }
        kept[at] = before;
    }
}

static void assert_malformed(const void *bytes, size_t size, size_t limit)
{
    struct span copy = exact_copy(bytes, size);
    struct dns_stored stored = {.bytes = copy, .most = 86400};
    struct dns_view view = plain_client(limit);
    size_t ignored;
    assert_int_equal(dns_stored_answer(&stored, &view, out, sizeof out, &ignored), ERROR_MALFORMED);
    free((void *)copy.data);
}

static void kinds_of_damage(void **state)
{
    (void)state;
    static const char an_unused_bit[] = "\x80\0\0", an_option_record[] = "\0\0\0\1\0\0\x29\4\xd0\0\0\0\0\0",
                      a_pointer_forward[] = "\0\1\0\0\xc0\xff\0\1\0\1\0\0\1\x2c\0\0";
    static const char a_label_like_a_pointer[] = "\0\1\0\0\x40\x0c\0\1\0\1\0\0\1\x2c\0";
    assert_malformed(a_label_like_a_pointer, sizeof a_label_like_a_pointer, 512);
    assert_malformed(an_unused_bit, sizeof an_unused_bit, 512);
    assert_malformed(an_option_record, sizeof an_option_record, 512);
    static const uint8_t a_long_text[4 + 3 + DNS_EXTRA_TEXT_MAX + 1] = {
        0x20, 0, 0, 0, 0, 1, DNS_EXTRA_TEXT_MAX + 1};
    assert_malformed(a_long_text, sizeof a_long_text, 512);
    uint8_t a_label_type[4 + 1 + 191 + 11] = {0, 1};
    for (unsigned type = 0x40; type < 0xc0; type += 0x3f) {
        a_label_type[4] = (uint8_t)type;
        memset(a_label_type + 5, 'x', type);
        assert_malformed(a_label_type, 4 + 1 + type + 11, 512);
        memset(a_label_type + 5 + type, 0, sizeof a_label_type - 5 - type);
    }
    assert_malformed(a_pointer_forward, sizeof a_pointer_forward - 1, 40);
    assert_malformed("", 0, 512);
    assert_int_equal(dns_stored_rcode(span_of("", 0)), ERROR_MALFORMED);
}

const struct CMUnitTest stored_tests[] = {
    cmocka_unit_test(form_of_an_address),
    cmocka_unit_test(options_of_the_hop_are_not_kept),
    cmocka_unit_test(extended_errors_of_both),
    cmocka_unit_test(extended_text_is_bounded),
    cmocka_unit_test(bits_of_the_header),
    cmocka_unit_test(what_is_never_stored),
    cmocka_unit_test(times_count_down),
    cmocka_unit_test(one_set_has_one_time),
    cmocka_unit_test(another_owner_or_section_is_another_set),
    cmocka_unit_test(denial_shows_the_time_that_it_has),
    cmocka_unit_test(denial_of_a_name_for_another_type),
    cmocka_unit_test(failure_without_a_question),
    cmocka_unit_test(more_records_than_a_byte_counts),
    cmocka_unit_test(space_that_is_needed),
    cmocka_unit_test(damaged_bytes_do_no_harm),
    cmocka_unit_test(kinds_of_damage),
};
const size_t stored_tests_count = sizeof stored_tests / sizeof stored_tests[0];
