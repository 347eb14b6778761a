/* Names, text and frames; the rest of the room's tests is in dns_query_test.c, dns_answer_test.c,
 * dns_write_test.c. */
#include "dns_messages.h"

static int name_size(const void *bytes, size_t size, size_t *out)
{
    struct span copy = exact_copy(bytes, size);
    int error = dns_name_size(copy, out);
    free((void *)copy.data);
    return error;
}

static void name_size_counts_the_root(void **state)
{
    (void)state;
    size_t size = 99;
    assert_int_equal(name_size("\0", 1, &size), 0);
    assert_int_equal(size, 1);
    assert_int_equal(name_size("\3www\7example\0rest", 17, &size), 0);
    assert_int_equal(size, 13);
}

/* Shows: RFC1035-4.1.4 */
static void name_size_refuses_what_is_no_plain_name(void **state)
{
    (void)state;
    size_t size;
    assert_int_equal(name_size("", 0, &size), ERROR_SHORT);
    for (size_t cut = 1; cut < 13; cut++) {
        assert_int_equal(name_size("\3www\7example", cut, &size), ERROR_SHORT);
    }
    assert_int_equal(name_size("\x40", 1, &size), ERROR_MALFORMED);
    assert_int_equal(name_size("\x80", 1, &size), ERROR_MALFORMED);
    assert_int_equal(name_size("\1a\xc0\0", 4, &size), ERROR_MALFORMED);
}

/* Shows: RFC1035-3.1 */
static void name_size_ends_at_255(void **state)
{
    (void)state;
    struct draft draft = {.size = 0};
    size_t size;
    for (int i = 0; i < 127; i++) {
        draft_bytes(&draft, "\1a", 2);
    }
    draft_bytes(&draft, "\0\0", 2);
    assert_int_equal(name_size(draft.bytes, 255, &size), 0);
    assert_int_equal(size, 255);
    draft.bytes[252] = 2;
    draft.bytes[254] = 'a';
    assert_int_equal(name_size(draft.bytes, 256, &size), ERROR_MALFORMED);
}

/* Shows: RFC4343 */
static void lower_case_touches_letters_alone(void **state)
{
    (void)state;
    uint8_t bytes[256];
    for (unsigned i = 0; i < 256; i++) {
        bytes[i] = (uint8_t)i;
    }
    dns_name_to_lower(bytes, sizeof bytes);
    for (unsigned i = 0; i < 256; i++) {
        assert_int_equal(bytes[i], i >= 'A' && i <= 'Z' ? i + 32 : i);
    }
}

/* Shows: RFC4343 */
static void names_are_equal_but_for_case(void **state)
{
    (void)state;
    const uint8_t *a = (const uint8_t *)"\3wWw\7eXample";
    assert_true(dns_name_equal(a, (const uint8_t *)"\3WwW\7ExAMPLE", 13));
    assert_false(dns_name_equal(a, (const uint8_t *)"\3WwW\7ExAMPLF", 13));
    assert_false(dns_name_equal(a, (const uint8_t *)"\3WwW\6ExAMPLE", 13));
    assert_false(dns_name_equal((const uint8_t *)"\1@", (const uint8_t *)"\1`", 3));
    assert_false(dns_name_equal((const uint8_t *)"\1[", (const uint8_t *)"\1{", 3));
    assert_true(dns_name_equal(a, a, 0));
}

static void assert_text(const char *name, const char *expected)
{
    char text[DNS_NAME_TEXT_SIZE];
    assert_int_equal(dns_name_to_text((const uint8_t *)name, text), strlen(expected));
    assert_string_equal(text, expected);
}

/* Shows: P10 */
static void name_text_escapes(void **state)
{
    (void)state;
    assert_text("", ".");
    assert_text("\3www\7Example", "www.Example.");
    assert_text("\4_x-9\1*", "_x-9.\\042.");
    assert_text("\3a.b\7\x01\n\"\\\x7f\xff ", "a\\.b.\\001\\010\\034\\092\\127\\255\\032.");
    assert_text("\1\0\1c", "\\000.c.");
}

static void longest_name_text_fits(void **state)
{
    (void)state;
    uint8_t name[255];
    memset(name, 0xff, sizeof name);
    name[0] = name[64] = name[128] = 63;
    name[192] = 61;
    name[254] = 0;
    char text[DNS_NAME_TEXT_SIZE];
    assert_int_equal(dns_name_to_text(name, text), 4 * 250 + 4);
    assert_int_equal(strlen(text), 4 * 250 + 4);
}

static void name_of_a_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name;
        size_t size;
    } good[] = {
        {".", "", 1},
        {"www.Example", "\3www\7Example", 13},
        {"www.example.", "\3www\7example", 13},
        {"a\\.b.c", "\3a.b\1c", 7},
        {"\\065\\000\\255.x", "\3A\0\xff\1x", 7},
        {"\\\\\\ .*", "\2\\ \1*", 6},
    };
    static const char *const bad[] = {
        "",      "..",    ".a",
        "a..",   "a..b",  "a b",
        "a\tb",  "a\x7f", "\xc3\xa9",
        "\\",    "a.\\",  "\\25",
        "\\256", "\\2a5", "0123456789012345678901234567890123456789012345678901234567890123",
    };
    uint8_t name[DNS_NAME_MAX];
    size_t size;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(dns_name_from_text(span_text(good[i].text), name, &size), 0);
        assert_int_equal(size, good[i].size);
        assert_memory_equal(name, good[i].name, size);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(dns_name_from_text(span_text(bad[i]), name, &size), ERROR_INVALID);
    }
}

/* Every name that can be is its own text's name; one byte more is none. */
static void longest_text_is_a_name(void **state)
{
    (void)state;
    uint8_t name[DNS_NAME_MAX], again[DNS_NAME_MAX];
    char text[DNS_NAME_TEXT_SIZE + 2];
    size_t size;
    for (unsigned i = 0; i < DNS_NAME_MAX; i++) {
        bool is_label = i % 64 == 0;
        unsigned left = DNS_NAME_MAX - 2 - i;
        name[i] = is_label ? (uint8_t)(left < 63 ? left : 63) : (uint8_t)(i * 7);
    }
    name[DNS_NAME_MAX - 1] = 0;
    size_t length = dns_name_to_text(name, text);
    assert_int_equal(dns_name_from_text(span_of(text, length), again, &size), 0);
    assert_int_equal(size, DNS_NAME_MAX);
    assert_memory_equal(again, name, size);
    memmove(text + 2, text, length);
    memcpy(text, "a.", 2);
    assert_int_equal(dns_name_from_text(span_of(text, length + 2), again, &size), ERROR_INVALID);
}

static void type_and_rcode_text(void **state)
{
    (void)state;
    char out[16];
    assert_string_equal(dns_type_text(1, out), "A");
    assert_string_equal(dns_type_text(28, out), "AAAA");
    assert_string_equal(dns_type_text(65, out), "HTTPS");
    assert_string_equal(dns_type_text(255, out), "ANY");
    assert_string_equal(dns_type_text(0, out), "TYPE0");
    assert_string_equal(dns_type_text(258, out), "TYPE258");
    assert_string_equal(dns_type_text(65280, out), "TYPE65280");
    assert_string_equal(dns_type_text(65535, out), "TYPE65535");
    assert_string_equal(dns_rcode_text(0, out), "NOERROR");
    assert_string_equal(dns_rcode_text(3, out), "NXDOMAIN");
    assert_string_equal(dns_rcode_text(12, out), "RCODE12");
    assert_string_equal(dns_rcode_text(16, out), "BADVERS");
    assert_string_equal(dns_rcode_text(23, out), "BADCOOKIE");
    assert_string_equal(dns_rcode_text(24, out), "RCODE24");
    assert_string_equal(dns_rcode_text(4095, out), "RCODE4095");
}

static void every_type_and_rcode_has_a_text(void **state)
{
    (void)state;
    char out[16];
    for (unsigned i = 0; i < 65536; i++) {
        assert_in_range(strlen(dns_type_text((uint16_t)i, out)), 1, 15);
    }
    for (unsigned i = 0; i < 4096; i++) {
        assert_in_range(strlen(dns_rcode_text(i, out)), 1, 15);
    }
}

static int next_frame(const void *bytes, size_t size, size_t *message, size_t *used)
{
    struct span copy = exact_copy(bytes, size), found = {0};
    int error = dns_frame_next(copy, &found, used);
    if (error == 0) {
        assert_ptr_equal(found.data, copy.data + 2);
        *message = found.size;
    }
    free((void *)copy.data);
    return error;
}

/* Shows: RFC1035-4.2.2 */
static void frame_needs_all_its_bytes(void **state)
{
    (void)state;
    uint8_t bytes[64] = {0, 20};
    size_t message = 0, used = 0;
    assert_int_equal(next_frame(bytes, 0, &message, &used), ERROR_SHORT);
    assert_int_equal(used, 2);
    assert_int_equal(next_frame(bytes, 1, &message, &used), ERROR_SHORT);
    assert_int_equal(used, 2);
    for (size_t size = 2; size < 22; size++) {
        assert_int_equal(next_frame(bytes, size, &message, &used), ERROR_SHORT);
        assert_int_equal(used, 22);
    }
    for (size_t size = 22; size < 40; size++) {
        assert_int_equal(next_frame(bytes, size, &message, &used), 0);
        assert_int_equal(used, 22);
        assert_int_equal(message, 20);
    }
}

/* Shows: RFC1035-4.2.2, T06 */
static void frame_holds_a_header_at_least(void **state)
{
    (void)state;
    uint8_t bytes[16] = {0};
    size_t message = 0, used = 0;
    for (uint8_t length = 0; length < 12; length++) {
        bytes[1] = length;
        assert_int_equal(next_frame(bytes, 2, &message, &used), ERROR_MALFORMED);
        assert_int_equal(next_frame(bytes, 16, &message, &used), ERROR_MALFORMED);
    }
    bytes[1] = 12;
    assert_int_equal(next_frame(bytes, 14, &message, &used), 0);
    assert_int_equal(message, 12);
}

/* Shows: RFC1035-4.2.2 */
static void frame_of_the_greatest_length(void **state)
{
    (void)state;
    static uint8_t bytes[65537] = {0xff, 0xff};
    size_t message = 0, used = 0;
    assert_int_equal(next_frame(bytes, 65536, &message, &used), ERROR_SHORT);
    assert_int_equal(used, 65537);
    assert_int_equal(next_frame(bytes, 65537, &message, &used), 0);
    assert_int_equal(message, 65535);
}

static const struct CMUnitTest name_tests[] = {
    cmocka_unit_test(name_size_counts_the_root),
    cmocka_unit_test(name_size_refuses_what_is_no_plain_name),
    cmocka_unit_test(name_size_ends_at_255),
    cmocka_unit_test(lower_case_touches_letters_alone),
    cmocka_unit_test(names_are_equal_but_for_case),
    cmocka_unit_test(name_text_escapes),
    cmocka_unit_test(longest_name_text_fits),
    cmocka_unit_test(name_of_a_text),
    cmocka_unit_test(longest_text_is_a_name),
    cmocka_unit_test(type_and_rcode_text),
    cmocka_unit_test(every_type_and_rcode_has_a_text),
    cmocka_unit_test(frame_needs_all_its_bytes),
    cmocka_unit_test(frame_holds_a_header_at_least),
    cmocka_unit_test(frame_of_the_greatest_length),
};

/* One plan for the whole program, as the protocol of its output demands. */
int main(void)
{
    static struct CMUnitTest tests[256];
    const struct {
        const struct CMUnitTest *tests;
        size_t count;
    } parts[] = {
        {name_tests, sizeof name_tests / sizeof name_tests[0]},
        {query_tests, query_tests_count},
        {answer_tests, answer_tests_count},
        {match_tests, match_tests_count},
        {write_tests, write_tests_count},
        {error_tests, error_tests_count},
        {ttl_tests, ttl_tests_count},
        {asked_tests, asked_tests_count},
        {stored_tests, stored_tests_count},
        {equal_tests, equal_tests_count},
        {key_tests, key_tests_count},
    };
    size_t count = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        memcpy(tests + count, parts[i].tests, parts[i].count * sizeof *tests);
        count += parts[i].count;
    }
    return _cmocka_run_group_tests("dns", tests, count, NULL, NULL);
}
