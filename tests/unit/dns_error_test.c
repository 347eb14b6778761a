/* Answers of our own: dns_error_write. */
#include "dns_messages.h"

static uint8_t out[DNS_UDP_LEAST];

enum { RECORDS_AT = 12 + 13 + 4 };

static void error_answers(void **state)
{
    (void)state;
    struct dns_view view = plain_client(512);
    view.show_ad = true;
    view.cd = true;
    size_t size;
    assert_int_equal(dns_error_write(&view, DNS_RCODE_SERVFAIL, out, sizeof out, &size), 0);
    assert_int_equal(size, RECORDS_AT);
    assert_memory_equal(out, "\x12\x34\x81\x92\0\1\0\0\0\0\0\0\3WWW\7exAmple\0\0\1\0\1", size);
    view.question = (struct span){0};
    view.has_edns = true;
    view.rd = view.cd = false;
    assert_int_equal(dns_error_write(&view, DNS_RCODE_BADVERS, out, sizeof out, &size), 0);
    assert_int_equal(size, 12 + 11);
    assert_memory_equal(out, "\x12\x34\x80\x80\0\0\0\0\0\0\0\1\0\0\x29\4\xd0\1\0\0\0\0\0", size);
}

/* The longest text, cut between two characters. */
/* Shows: RFC8914 */
static void extended_text_is_bounded(void **state)
{
    (void)state;
    static char text[300];
    memset(text, 'a', sizeof text);
    struct dns_view view = plain_client(512);
    view.has_edns = true;
    for (size_t length = 0; length <= sizeof text; length += 4) {
        view.extended = (struct dns_extended_error){.code = 22, .text = span_of(text, length)};
        size_t size;
        assert_int_equal(dns_error_write(&view, 2, out, sizeof out, &size), 0);
        struct dns_answer answer;
        assert_int_equal(dns_answer_read(span_of(out, size), &answer), 0);
        assert_int_equal(answer.extended.code, 22);
        assert_int_equal(answer.extended.text.size, length < 128 ? length : 128);
    }
    memcpy(text + 126, "\xe2\x82\xac", 3);
    view.extended.text = span_of(text, 200);
    size_t size;
    struct dns_answer answer;
    assert_int_equal(dns_error_write(&view, 2, out, sizeof out, &size), 0);
    assert_int_equal(dns_answer_read(span_of(out, size), &answer), 0);
    assert_int_equal(answer.extended.text.size, 126);
    view.extended.text = span_of(text, 129);
    assert_int_equal(dns_error_write(&view, 2, out, sizeof out, &size), 0);
    assert_int_equal(dns_answer_read(span_of(out, size), &answer), 0);
    assert_int_equal(answer.extended.text.size, 126);
}

const struct CMUnitTest error_tests[] = {
    cmocka_unit_test(error_answers),
    cmocka_unit_test(extended_text_is_bounded),
};
const size_t error_tests_count = sizeof error_tests / sizeof error_tests[0];
