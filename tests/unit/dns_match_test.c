/* Which answers belong to a question: dns_answer_matches. */
#include "dns_messages.h"

static struct draft draft;

static bool matches(const char *name, unsigned type, unsigned class)
{
    static struct draft asked;
    asked.size = 0;
    draft_name(&asked, name);
    draft_u16(&asked, type);
    draft_u16(&asked, class);
    struct dns_answer answer;
    assert_int_equal(read_answer(&draft, &answer), 0);
    struct span question = exact_copy(asked.bytes, asked.size);
    bool is_match = dns_answer_matches(&answer, question);
    free((void *)question.data);
    return is_match;
}

/* Shows: RFC7858-3.3, RFC5452-9, RFC4343, regression 2 */
static void answer_to_the_question(void **state)
{
    (void)state;
    draft_begin(&draft, 0x8180, 1, 0, 0, 0);
    draft_question(&draft, "www.example.", DNS_TYPE_A);
    assert_true(matches("www.example.", 1, 1));
    assert_true(matches("WWW.eXample.", 1, 1));
    assert_false(matches("www.examplf.", 1, 1));
    assert_false(matches("ww.example.", 1, 1));
    assert_false(matches("wwww.example.", 1, 1));
    assert_false(matches("www.example.", 28, 1));
    assert_false(matches("www.example.", 1, 3));
    assert_false(matches("www.example.", 257, 1));
    /* Type and class have no letter case. */
    draft.bytes[draft.size - 3] = 'A';
    assert_true(matches("www.example.", 'A', 1));
    assert_false(matches("www.example.", 'a', 1));
}

/* Shows: regression 2 */
static void failure_without_a_question(void **state)
{
    (void)state;
    for (unsigned rcode = 0; rcode < 16; rcode++) {
        draft_begin(&draft, 0x8180 | rcode, 0, 0, 0, 0);
        assert_int_equal(matches("a.", 1, 1), rcode != 0 && rcode != 3);
    }
    draft_begin(&draft, 0x8182, 0, 0, 0, 1);
    draft_option_record(&draft, 1232, 0, "", 0);
    assert_true(matches("a.", 1, 1));
    draft_begin(&draft, 0x8180, 0, 0, 0, 1);
    draft_option_record(&draft, 1232, 0x01000000, "", 0);
    assert_true(matches("a.", 1, 1));
    draft_begin(&draft, 0x8182, 0, 1, 0, 0);
    draft_name(&draft, "a.");
    draft_fixed(&draft, DNS_TYPE_A, 0, 0);
    assert_false(matches("a.", 1, 1));
}

const struct CMUnitTest match_tests[] = {
    cmocka_unit_test(answer_to_the_question),
    cmocka_unit_test(failure_without_a_question),
};
const size_t match_tests_count = sizeof match_tests / sizeof match_tests[0];
