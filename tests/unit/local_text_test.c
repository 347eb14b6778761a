/* What is refused, and with which words. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "local_test.h"

static void refuses(const char *hosts, const char *block, const char *complaint)
{
    struct built built = build_texts(&(struct texts){.hosts = hosts, .block = block});
    assert_int_equal(built.error, ERROR_INVALID);
    assert_int_equal(built.complaints, 1);
    if (strstr(built.first, complaint) != built.first) {
        fail_msg("\"%s\" does not begin with \"%s\"", built.first, complaint);
    }
}

static void test_hosts(void **state)
{
    (void)state;
    refuses("127.0.0.1 a\n\n127.0.0 b\n", NULL, "hosts:3: \"127.0.0\": is no address");
    refuses("127.0.0.1\n", NULL, "hosts:1: \"127.0.0.1\": an address without a name");
    refuses("127.0.0.1 # a\n", NULL, "hosts:1: \"127.0.0.1\": an address without a name");
    refuses("::1 a..b", NULL, "hosts:1: \"a..b\": is no host name");
    refuses("::1 \xc3\xa4.example", NULL, "hosts:1: \"\\195\\164.example\": is no host name");
    refuses("[::1] a", NULL, "hosts:1: \"[::1]\": is no address");
    refuses("1.2.3.4:53 a", NULL, "hosts:1: \"1.2.3.4:53\": is no address");
}

static void test_blocks(void **state)
{
    (void)state;
    refuses(NULL, "a.example\n||ads.example^\n", "block:2: \"||ads.example^\": is neither a domain");
    refuses(NULL, "a.example##.banner", "block:1: \"a.example##.banner\": is neither a domain");
    refuses(NULL, "! title", "block:1: \"! title\": is neither a domain");
    refuses(NULL, "*.example", "block:1: \"*.example\": is neither a domain");
    refuses(NULL, "a.example CNAME .", "block:1: \"a.example CNAME .\": is neither a domain");
    refuses(NULL, "address=/a.example/0.0.0.0", "block:1: \"address=/a.example/0.0.0.0\": is neither");
    refuses(NULL, ".", "block:1: \".\": is neither a domain");
    refuses(NULL, "0.0.0.0", "block:1: \"0.0.0.0\": an address without a name");
    refuses(NULL, "0.0.0.0 a_b c/d", "block:1: \"c/d\": is no host name");
    refuses(NULL, "192.0.2.1 a.example", "block:1: \"a.example\": a block list gives names no address");
}

static void test_all_are_told(void **state)
{
    (void)state;
    char text[200] = "";
    for (unsigned i = 0; i < 30; i++) {
        strcat(text, "a/b\n");
    }
    struct built built = build_texts(&(struct texts){.block = text});
    assert_int_equal(built.error, ERROR_INVALID);
    assert_int_equal(built.complaints, LOCAL_COMPLAINTS_MAX + 1);
    assert_string_equal(built.last, "there are more errors, which are not shown");
}

static void test_records(void **state)
{
    (void)state;
    const struct {
        const char *text, *word;
    } broken[] = {
        {"", "expected NAME"},
        {"nas.lan", "the type is missing"},
        {"nas.lan 60", "the type is missing"},
        {"nas.lan A", "IPv4"},
        {"nas.lan A ::1", "IPv4"},
        {"nas.lan AAAA 192.0.2.1", "IPv6"},
        {"nas.lan A 192.0.2.1 x", "more behind"},
        {"nas.lan 99999999999 A 192.0.2.1", "TTL"},
        {"nas.lan 4294967295 A 192.0.2.1", "TTL"},
        {"nas.lan CH A 192.0.2.1", "one of the types"},
        {"nas.lan CNAME other.lan", "alias"},
        {"nas.lan SVCB 1 .", "one of the types"},
        {"*.lan A 192.0.2.1", "wildcard"},
        {". A 192.0.2.1", "root"},
        {"@ A 192.0.2.1", "origin"},
        {"a..b A 192.0.2.1", "no name"},
        {"lan MX nas.lan", "number"},
        {"lan MX 65536 nas.lan", "number"},
        {"lan MX 10", "missing"},
        {"lan TXT", "missing"},
        {"lan TXT \"open", "closing quote"},
        {"lan TXT a;b", "semicolon"},
        {"lan TXT \"\\256\"", "escape"},
        {"lan TXT \"a\\", "escape"},
        {"lan TXT \xc3\xa4", "ASCII"},
        {"a\\", NULL},
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        const char *refusal = local_record_refusal(broken[i].text);
        assert_non_null(refusal);
        if (broken[i].word != NULL && strstr(refusal, broken[i].word) == NULL) {
            fail_msg("\"%s\": \"%s\" has no \"%s\"", broken[i].text, refusal, broken[i].word);
        }
    }
    assert_null(local_record_refusal("a\\.b\\032c.lan in 0 a 192.0.2.1"));
    char text[400] = "lan TXT ";
    memset(text + 8, 'x', 255);
    assert_null(local_record_refusal(text));
    text[8 + 255] = 'x';
    assert_non_null(strstr(local_record_refusal(text), "255"));
}

static void test_names(void **state)
{
    (void)state;
    char text[DNS_NAME_TEXT_SIZE] = "";
    struct local_name name;
    for (unsigned i = 0; i < 127; i++) {
        strcat(text, i == 0 ? "a" : ".a");
    }
    assert_true(local_name_of_host(span_text(text), &name));
    assert_int_equal(name.size, DNS_NAME_MAX);
    assert_null(local_name_of_zone(span_text(text), &name));
    assert_int_equal(name.size, DNS_NAME_MAX);
    strcat(text, "a");
    assert_false(local_name_of_host(span_text(text), &name));
    assert_non_null(local_name_of_zone(span_text(text), &name));
    memset(text, 'a', 64);
    text[64] = '\0';
    assert_false(local_name_of_host(span_text(text), &name));
    assert_non_null(local_name_of_zone(span_text(text), &name));
    assert_true(local_name_of_host(span_of(text, 63), &name));
    assert_null(local_name_of_zone(span_of(text, 63), &name));
}

static void test_forward(void **state)
{
    (void)state;
    assert_null(local_forward_refusal("test"));
    assert_null(local_forward_refusal("Home.ARPA."));
    assert_null(local_forward_refusal("in-addr.arpa"));
    assert_non_null(strstr(local_forward_refusal("."), "every name"));
    assert_non_null(strstr(local_forward_refusal("example.com"), "forwarded anyway"));
    assert_non_null(strstr(local_forward_refusal("xtest"), "forwarded anyway"));
    assert_non_null(local_forward_refusal("a..b"));
    assert_non_null(local_forward_refusal(""));
}

const struct CMUnitTest local_text_tests[] = {
    cmocka_unit_test(test_hosts),   cmocka_unit_test(test_blocks), cmocka_unit_test(test_all_are_told),
    cmocka_unit_test(test_records), cmocka_unit_test(test_names),  cmocka_unit_test(test_forward),
};
const size_t local_text_count = sizeof local_text_tests / sizeof local_text_tests[0];
