/* What an answer is looked up by: dns_question_key. */
#include "base/error.h"

#include "dns_messages.h"

struct key {
    uint8_t bytes[DNS_KEY_MAX];
    size_t size;
};

/* `name` is in wire format with its root label. */
static struct key key_of(const char *name, uint16_t type, uint16_t class, struct dns_key_form form)
{
    uint8_t question[DNS_QUESTION_MAX];
    size_t size = strlen(name) + 1;
    memcpy(question, name, size);
    bytes_put_u16(question + size, type);
    bytes_put_u16(question + size + 2, class);
    struct span copy = exact_copy(question, size + 4);
    struct key key;
    memset(&key, 0, sizeof key);
    key.size = dns_question_key(copy, &form, key.bytes);
    assert_true(key.size <= DNS_KEY_MAX);
    free((void *)copy.data);
    return key;
}

static bool is_same(const struct key *a, const struct key *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static void a_key_takes_few_bytes(void **state)
{
    (void)state;
    struct key key = key_of("\3WWW\7exAmple", DNS_TYPE_AAAA, DNS_CLASS_IN,
                            (struct dns_key_form){.group = 7, .dnssec_ok = true});
    static const char expected[] = "\3www\7example\0\7\1\0\x1c";
    assert_int_equal(key.size, sizeof expected - 1);
    assert_memory_equal(key.bytes, expected, key.size);
    assert_int_equal(DNS_STORED_FORM, 2); /* raise it when these bytes change: they lie in files */
}

/* Shows: RFC4343 */
static void letter_case_shares_a_key(void **state)
{
    (void)state;
    struct dns_key_form form = {0};
    struct key lower = key_of("\3abz\4test", DNS_TYPE_A, DNS_CLASS_IN, form);
    struct key upper = key_of("\3ABZ\4TeSt", DNS_TYPE_A, DNS_CLASS_IN, form);
    assert_true(is_same(&lower, &upper));
    struct key other = key_of("\3ab[\4test", DNS_TYPE_A, DNS_CLASS_IN, form);
    assert_false(is_same(&lower, &other));
}

/* Every two of all combinations have different keys, unless they are to be the same. */
static void whatever_matters_parts_keys(void **state)
{
    (void)state;
    static const char *const names[] = {"", "\1a", "\2aa", "\1a\1a", "\1b", "\1A\1\x01"};
    static const uint16_t types[] = {0, 1, 28, 255, 256, 257, 0x0100 + 28, 65280}, classes[] = {1, 3, 0, 256};
    enum { COUNT = 6 * 8 * 4 * 2 * 2 * 2 * 3 };
    static struct key keys[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        struct dns_key_form form = {.dnssec_ok = i & 1,
                                    .cd = i >> 1 & 1,
                                    .group = i >> 2 & 1 ? DNS_KEY_GROUP_MAX : 0,
                                    .kind = (enum dns_key_kind)((i >> 3) % 3)};
        unsigned rest = (i >> 3) / 3;
        keys[i] = key_of(names[rest / 32], types[rest % 8], classes[rest / 8 % 4], form);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        for (unsigned j = 0; j < i; j++) {
            bool is_name = (i >> 3) % 3 == DNS_KEY_NAME;
            bool is_one = is_name && (i % 24 == j % 24) && (i / 24 / 8 == j / 24 / 8);
            assert_int_equal(is_same(&keys[i], &keys[j]), is_one);
        }
    }
}

/* Whoever knows where one is finds the others beside it. */
static void keys_of_a_name_differ_at_their_end(void **state)
{
    (void)state;
    struct dns_key_form forms[] = {
        {0}, {.dnssec_ok = true}, {.cd = true}, {.kind = DNS_KEY_NAME}, {.kind = DNS_KEY_SILENCE}};
    struct key first = key_of("\3www\4test", DNS_TYPE_A, DNS_CLASS_CHAOS, forms[0]);
    for (unsigned i = 1; i < sizeof forms / sizeof forms[0]; i++) {
        struct key other = key_of("\3www\4test", 65280, DNS_CLASS_CHAOS, forms[i]);
        assert_int_equal(other.size, first.size);
        assert_memory_equal(other.bytes, first.bytes, first.size - DNS_KEY_TAIL);
        assert_memory_not_equal(other.bytes, first.bytes, first.size);
    }
}

static void longest_name_fits(void **state)
{
    (void)state;
    char name[DNS_NAME_MAX + 1] = {0};
    for (unsigned i = 0; i < 4; i++) {
        name[64 * i] = i < 3 ? 63 : 61;
        memset(name + 64 * i + 1, 'X', i < 3 ? 63 : 61);
    }
    struct key key = key_of(name, 65280, 65280,
                            (struct dns_key_form){.kind = DNS_KEY_FAILURE, .group = DNS_KEY_GROUP_MAX});
    assert_int_equal(key.size, DNS_KEY_MAX);
    assert_int_equal(key.bytes[DNS_NAME_MAX - 1], 0);
    assert_int_equal(key.bytes[DNS_NAME_MAX - 2], 'x');
}

/* Every key gives its name back, and no part of a key is taken for one. */
static void a_key_tells_its_name(void **state)
{
    (void)state;
    static const char *const names[] = {"", "\1a", "\3wWw\7exAmple"};
    static const uint16_t types[] = {0, 1, 255, 256, 65280}, classes[] = {1, 3};
    for (unsigned i = 0; i < 3 * 5 * 2 * 3; i++) {
        struct dns_key_form form = {.kind = (enum dns_key_kind)(i / 30), .group = 9, .cd = true};
        const char *wanted = names[i % 3];
        struct key key = key_of(wanted, types[i / 3 % 5], classes[i / 15 % 2], form);
        struct span name;
        assert_int_equal(dns_key_name(span_of(key.bytes, key.size), &name), 0);
        assert_int_equal(name.size, strlen(wanted) + 1);
        assert_true(dns_name_equal(name.data, (const uint8_t *)wanted, name.size));
        for (size_t size = 0; size < key.size; size++) {
            struct span part = exact_copy(key.bytes, size);
            assert_int_equal(dns_key_name(part, &name), ERROR_MALFORMED);
            free((void *)part.data);
        }
        key.bytes[key.size] = 0;
        assert_int_equal(dns_key_name(span_of(key.bytes, key.size + 1), &name), ERROR_MALFORMED);
    }
}

const struct CMUnitTest key_tests[] = {
    cmocka_unit_test(a_key_takes_few_bytes),       cmocka_unit_test(letter_case_shares_a_key),
    cmocka_unit_test(whatever_matters_parts_keys), cmocka_unit_test(keys_of_a_name_differ_at_their_end),
    cmocka_unit_test(longest_name_fits),           cmocka_unit_test(a_key_tells_its_name),
};
const size_t key_tests_count = sizeof key_tests / sizeof key_tests[0];
