/* The data that was asked for: dns_answer_data. */
#include "dns_messages.h"

static struct draft draft;

enum { QUESTION_AT = 12, MOST = 3 };

static void begin(unsigned answers, unsigned authority, unsigned additional)
{
    draft_begin(&draft, 0x8180, 1, answers, authority, additional);
    draft_question(&draft, "www.example.", DNS_TYPE_A);
}

static void put_address(size_t owner, const char *address)
{
    draft_pointer(&draft, owner);
    draft_fixed(&draft, DNS_TYPE_A, 300, 4);
    draft_bytes(&draft, address, 4);
}

/* Of so many records of data, the first and the last. */
static void assert_data(size_t expected, const char *first, const char *last)
{
    struct dns_answer answer;
    struct span data[MOST];
    assert_int_equal(read_answer(&draft, &answer), 0);
    assert_int_equal(dns_answer_data(&answer, data, MOST), expected);
    for (size_t i = 0; i < expected; i++) {
        assert_int_equal(data[i].size, 4);
    }
    if (expected > 0) {
        assert_memory_equal(data[0].data, first, 4);
        assert_memory_equal(data[expected - 1].data, last, 4);
    }
}

static void data_of_the_question(void **state)
{
    (void)state;
    begin(3, 0, 0);
    put_address(QUESTION_AT, "aaaa");
    draft_record(&draft, QUESTION_AT, DNS_TYPE_RRSIG, 300, 40);
    put_address(QUESTION_AT, "bbbb");
    assert_data(2, "aaaa", "bbbb");
    begin(MOST + 1, 0, 0);
    for (unsigned i = 0; i <= MOST; i++) {
        put_address(QUESTION_AT, i < MOST - 1 ? "aaaa" : i < MOST ? "cccc" : "dddd");
    }
    assert_data(MOST, "aaaa", "cccc");
}

static void data_behind_aliases(void **state)
{
    (void)state;
    begin(4, 0, 0);
    size_t one = draft_alias(&draft, QUESTION_AT, 300, "one.test.");
    size_t two = draft_alias(&draft, one, 300, "two.test.");
    put_address(one, "xxxx");
    put_address(two, "aaaa");
    assert_data(1, "aaaa", "aaaa");
}

static void data_of_other_names_and_sections(void **state)
{
    (void)state;
    begin(1, 1, 1);
    size_t other = draft_alias(&draft, QUESTION_AT, 300, "other.test.");
    put_address(other, "aaaa");
    put_address(other, "bbbb");
    assert_data(0, NULL, NULL);
    begin(0, 0, 0);
    assert_data(0, NULL, NULL);
    draft_begin(&draft, 0x8182, 0, 0, 0, 0);
    assert_data(0, NULL, NULL);
}

const struct CMUnitTest asked_tests[] = {
    cmocka_unit_test(data_of_the_question),
    cmocka_unit_test(data_behind_aliases),
    cmocka_unit_test(data_of_other_names_and_sections),
};
const size_t asked_tests_count = sizeof asked_tests / sizeof asked_tests[0];
