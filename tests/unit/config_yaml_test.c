/* What a file may look like: keys, duplicates, and the parts of YAML that are refused, each with its place.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"

#include "config_support.h"

static void test_empty_files(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",     "\n\n",      "# nothing but a comment\n",          "---\n",           "---\n...\n",
        "{}\n", "limits:\n", "limits: {}\nlog:\n# level: debug\n", "\xef\xbb\xbf{}\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct config *config = built_from_file(texts[i]);
        assert_int_equal(config->limits.tcp_idle, 10 * CLOCK_SECOND);
        config_free(config);
    }
}

static void test_shapes(void **state)
{
    (void)state;
    assert_file_refused("just text\n", "t.yaml:1:1: expected a mapping of options\n");
    assert_file_refused("- listen\n", "t.yaml:1:1: expected a mapping of options\n");
    assert_file_refused("limits: 5s\n", "t.yaml:1:9: limits: expected a mapping\n");
    assert_file_refused("upstream: [quad9]\n",
                        "t.yaml:1:11: upstream: expected a mapping; did you mean upstreams?\n");
    assert_file_refused("limits: [5s]\n", "t.yaml:1:9: limits: expected a mapping\n");
    assert_file_refused("limits: \"\"\n", "t.yaml:1:9: limits: expected a mapping\n");
    assert_file_refused("limits: {tcp_idle: [5s]}\n",
                        "t.yaml:1:20: limits.tcp_idle: expected one value, not a list\n");
    assert_file_refused("limits: {tcp_idle: {a: b}}\n",
                        "t.yaml:1:20: limits.tcp_idle: expected one value, not a mapping\n");
    assert_file_refused("user:\n", "t.yaml:1:6: user: has no value; an empty text is written as \"\"\n");
    assert_file_refused("listen: 127.0.0.1:53\n",
                        "t.yaml:1:9: listen: expected a list; an empty one is written as []\n");
    assert_file_refused("access: {deny: }\n",
                        "t.yaml:1:16: access.deny: expected a list; an empty one is written as []\n");
    assert_file_refused("listen: {address: 127.0.0.1:53}\n",
                        "t.yaml:1:9: listen: expected a list; an empty one is written as []\n");
}

static void test_unknown_keys(void **state)
{
    (void)state;
    assert_file_refused("listne: []\n", "t.yaml:1:1: listne: unknown key; did you mean listen?\n");
    assert_file_refused("limit: {}\n", "t.yaml:1:1: limit: unknown key; did you mean limits?\n");
    assert_file_refused("\nlog:\n  levul: info\n",
                        "t.yaml:3:3: log.levul: unknown key; did you mean level?\n");
    assert_file_refused("tcp_idle: 5s\n", "t.yaml:1:1: tcp_idle: unknown key; tcp_idle stands in limits\n");
    assert_file_refused("limits.tcp_idle: 5s\n",
                        "t.yaml:1:1: limits.tcp_idle: unknown key; tcp_idle stands in limits\n");
    assert_file_refused("limits: {workers: 3}\n",
                        "t.yaml:1:10: limits.workers: unknown key; workers stands at the top of the file\n");
    assert_file_refused("tls: {level: info}\n", "t.yaml:1:7: tls.level: unknown key; level stands in log\n");
    assert_file_refused("tsl: {}\n", "t.yaml:1:1: tsl: unknown key; did you mean tls?\n");
    assert_file_refused("tcp: {}\n", "t.yaml:1:1: tcp: unknown key\n");
    assert_file_refused("rate_limit: {burst: 1}\n", "t.yaml:1:1: rate_limit: unknown key\n");
    assert_file_refused("log: {zzzzzzz: info}\n", "t.yaml:1:7: log.zzzzzzz: unknown key\n");
    assert_file_refused("\"\": 1\n", "t.yaml:1:1: unknown key\n");
    assert_file_refused("<<: {user: x}\n", "t.yaml:1:1: <<: unknown key\n");
    assert_file_refused("Listen: []\n", "t.yaml:1:1: Listen: unknown key; did you mean listen?\n");
}

static void test_long_keys(void **state)
{
    (void)state;
    enum { LONG = 5000 };
    char *file = malloc(LONG + 64);
    assert_non_null(file);
    memset(file, 'k', LONG);
    memcpy(file, "log: {", 6);
    /* A key of YAML may have at most 1024 characters on one line, unless it is announced by "?". */
    memcpy(file + 6, "? ", 2);
    snprintf(file + LONG, 64, " : v}\n");
    assert_file_refused(file,
                        "t.yaml:1:9: log.kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk: unknown key\n");
    free(file);
}

static void test_duplicates(void **state)
{
    (void)state;
    assert_file_refused("user: a\nworkers: 1\nuser: b\n",
                        "t.yaml:3:1: user: duplicate key; it stands in line 1 already\n");
    assert_file_refused("log: {level: info}\nlog: {format: text}\n",
                        "t.yaml:2:1: log: duplicate key; it stands in line 1 already\n");
    assert_file_refused("log:\n  level: info\n  level: info\n",
                        "t.yaml:3:3: log.level: duplicate key; it stands in line 2 already\n");
    assert_file_refused("listen:\n- address: 127.0.0.1:53\n  address: 127.0.0.1:54\n",
                        "t.yaml:3:3: listen[0].address: duplicate key; it stands in line 2 already\n");
}

static void test_refused_parts(void **state)
{
    (void)state;
    assert_file_refused("user: &u root\n", "t.yaml:1:7: user: anchors are not allowed\n");
    assert_file_refused("log: &l {level: info}\n", "t.yaml:1:6: log: anchors are not allowed\n");
    assert_file_refused("listen: &l [127.0.0.1:53]\n", "t.yaml:1:9: listen: anchors are not allowed\n");
    assert_file_refused("user: !!str root\n", "t.yaml:1:7: user: tags are not allowed\n");
    assert_file_refused("log: !x {level: info}\n", "t.yaml:1:6: log: tags are not allowed\n");
    assert_file_refused("user: &u root\nlog: {target: *u}\n",
                        "t.yaml:1:7: user: anchors are not allowed\n"
                        "t.yaml:2:15: log.target: aliases are not allowed\n");
    assert_file_refused("log: &l {level: info}\ntls: *l\n", "t.yaml:1:6: log: anchors are not allowed\n"
                                                            "t.yaml:2:6: tls: aliases are not allowed\n");
    assert_file_refused("listen: [*a, 127.0.0.1:53]\n", "t.yaml:1:10: listen[0]: aliases are not allowed\n");
    assert_file_refused("*a\n", "t.yaml:1:1: aliases are not allowed\n");
    assert_file_refused("*a : 1\n", "t.yaml:1:1: a key must be plain text\n");
    assert_file_refused("&k user: root\n", "t.yaml:1:1: anchors are not allowed\n");
    assert_file_refused("[user]: root\n", "t.yaml:1:1: a key must be plain text\n");
    assert_file_refused("? {user: root}\n: 1\n", "t.yaml:1:3: a key must be plain text\n");
    assert_file_refused("user: root\n---\nuser: root\n",
                        "t.yaml:2:1: the file must be one document; here begins another\n");
    assert_file_refused("user: root\n...\n---\n",
                        "t.yaml:3:1: the file must be one document; here begins another\n");
}

static void test_syntax(void **state)
{
    (void)state;
    assert_file_refused(
        "listen: [127.0.0.1:53\n",
        "t.yaml:2:1: did not find expected ',' or ']', while parsing a flow sequence in line 1\n");
    assert_file_refused("user: root\n  workers: 1\n",
                        "t.yaml:2:10: mapping values are not allowed in this context\n");
    assert_file_refused(
        "log:\n\tlevel: info\n",
        "t.yaml:2:1: found character that cannot start any token, while scanning for the next token "
        "in line 2\n");
    assert_file_refused(
        "user: \"root\n",
        "t.yaml:2:1: found unexpected end of stream, while scanning a quoted scalar in line 1\n");
    assert_file_refused("user: \"\\q\"\n",
                        "t.yaml:1:8: found unknown escape character, while parsing a quoted scalar "
                        "in line 1\n");
}

static void test_bytes(void **state)
{
    (void)state;
    assert_file_refused("# \xc3\xbc\nuser: \xff\n", "t.yaml:2:7: invalid leading UTF-8 octet\n");
    assert_file_refused("user: r\xc3(\n", "t.yaml:1:9: invalid trailing UTF-8 octet\n");
    assert_file_refused("user: a\x01\n", "t.yaml:1:8: control characters are not allowed\n");
    assert_file_refused_bytes(span_of("user: a\0b\n", 10),
                              "t.yaml:1:8: control characters are not allowed\n");
    assert_file_refused_bytes(span_of("\xff\xfeu\0", 4), "t.yaml:1:1: invalid leading UTF-8 octet\n");
    /* Escapes can say what the file may not hold. */
    assert_file_refused("user: \"a\\0b\"\n", "t.yaml:1:7: user: holds a control character or is not UTF-8\n");
    assert_file_refused("log: {target: \"/a\\e[31m\"}\n",
                        "t.yaml:1:15: log.target: holds a control character or is not UTF-8\n");
    assert_file_refused("user: \"a\\u0085b\"\n",
                        "t.yaml:1:7: user: holds a control character or is not UTF-8\n");
    assert_file_refused("user: |\n  root\n", "t.yaml:1:7: user: holds a control character or is not UTF-8\n");
    assert_file_refused("\"a\\e\": 1\n", "t.yaml:1:1: holds a control character or is not UTF-8\n");
}

/* The environment holds any bytes: overlong forms, surrogates, what is cut off, what is too large. */
static void test_environment_bytes(void **state)
{
    (void)state;
    static const char *const wrong[] = {"\x7f",         "\xc0\xaf",         "\xed\xa0\x80",
                                        "\xe0\x80\x80", "\xf4\x90\x80\x80", "\xc3",
                                        "\xe2\x82",     "\xc2\x9b"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char entry[64];
        snprintf(entry, sizeof entry, "DNSEAL_TLS_CA=/a%s", wrong[i]);
        assert_environment_refused(NAMES(entry),
                                   "environment: DNSEAL_TLS_CA: holds a control character or is not UTF-8\n");
    }
    static const char *const fine[] = {"\xc2\xa0", "\xed\x9f\xbf", "\xe0\xa0\x80", "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        char entry[64];
        snprintf(entry, sizeof entry, "DNSEAL_TLS_CA=/a%s", fine[i]);
        config_free(built_from_environment(NAMES(entry)));
    }
}

/* Whatever a file says, a terminal that shows the complaint sees printable ASCII alone. */
static void test_complaints_are_printable(void **state)
{
    (void)state;
    assert_file_refused(
        "log: {level: l\xc3\xa4ut}\n",
        "t.yaml:1:14: log.level: \"l\\195\\164ut\": expected error, warning, info or debug\n");
    assert_environment_refused(NAMES("DNSEAL_LOG_LEVEL=\x1b[31m"),
                               "environment: DNSEAL_LOG_LEVEL: holds a control character or is not UTF-8\n");
    assert_environment_refused(NAMES("DNSEAL_\x1b[31m=1"), "environment: DNSEAL_\\027[31m: unknown name\n");
}

static void test_depth(void **state)
{
    (void)state;
    assert_file_refused("log: {a: [[[[[[[[1]]]]]]]]}\n",
                        "t.yaml:1:16: lists and mappings are nested too deep\n");
    char deep[4096];
    memset(deep, '[', sizeof deep);
    assert_file_refused_bytes(span_of(deep, sizeof deep),
                              "t.yaml:1:9: lists and mappings are nested too deep\n");
}

static void test_large_files(void **state)
{
    (void)state;
    enum { MEBIBYTE = 1 << 20 };
    char *file = malloc(MEBIBYTE + 1);
    assert_non_null(file);
    memset(file, '\n', MEBIBYTE + 1);
    assert_file_refused_bytes(span_of(file, MEBIBYTE + 1), "t.yaml:1:1: the file is larger than 1 MiB\n");
    struct config_sources sources = {.text = span_of(file, MEBIBYTE), .file_read = true};
    config_free(built(&sources));
    memset(file, ',', MEBIBYTE);
    memcpy(file, "listen: [", 9);
    for (size_t i = 9; i + 1 < MEBIBYTE; i += 2) {
        file[i] = 'a';
    }
    assert_file_refused_bytes(span_of(file, MEBIBYTE), "t.yaml:1:131076: the file holds too many values\n");
    free(file);
}

/* Without a path the default one is named. */
static void test_default_path(void **state)
{
    (void)state;
    struct config_sources sources = {.text = span_text("x: 1\n"), .file_read = true};
    assert_refused(&sources, "/etc/dnseal/dnseal.yaml:1:1: x: unknown key\n");
    struct config_sources unread = {.file = "t.yaml", .text = span_text("x: 1\n"), .file_read = false};
    config_free(built(&unread));
}

const struct CMUnitTest config_yaml_tests[] = {
    cmocka_unit_test(test_empty_files),
    cmocka_unit_test(test_shapes),
    cmocka_unit_test(test_unknown_keys),
    cmocka_unit_test(test_long_keys),
    cmocka_unit_test(test_duplicates),
    cmocka_unit_test(test_refused_parts),
    cmocka_unit_test(test_syntax),
    cmocka_unit_test(test_bytes),
    cmocka_unit_test(test_complaints_are_printable),
    cmocka_unit_test(test_depth),
    cmocka_unit_test(test_environment_bytes),
    cmocka_unit_test(test_large_files),
    cmocka_unit_test(test_default_path),
};
const size_t config_yaml_count = sizeof config_yaml_tests / sizeof config_yaml_tests[0];
