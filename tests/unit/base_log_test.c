/* Events through the ring, on one thread and on two, and the lines that come out. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"

#include "base_test.h"
#include "cmocka.h"

enum { RING_SIZE = 4096 };

#define WALL (UINT64_C(1795246200) * CLOCK_SECOND + 123 * CLOCK_MILLISECOND)

static uint8_t ring[RING_SIZE];

static size_t take(struct log *log, enum log_format format, char line[LOG_LINE_MAX + 1])
{
    size_t size = log_take(log, format, line);
    assert_in_range(size, 0, LOG_LINE_MAX);
    line[size] = '\0';
    return size;
}

static void fill_event(struct log *log)
{
    struct address address;
    struct address_prefix prefix;
    assert_int_equal(address_parse(span_text("[2001:db8::1]:853"), 0, &address), 0);
    prefix = address_prefix_of(&address, 32);
    assert_true(log_begin(log, LOG_INFO, "upstream_down"));
    log_text(log, "upstream", "one");
    log_number(log, "in_flight", 3);
    log_number(log, "least", INT64_MIN);
    log_text(log, "empty", "");
    log_text(log, "reason", "a=b \"c\\");
    log_span(log, "name", span_of("\0\n\x7f\xc3\xa4", 5));
    log_address(log, "address", &address, true);
    log_address(log, "host", &address, false);
    log_prefix(log, "client", &prefix);
    log_boolean(log, "yes", true);
    log_boolean(log, "no", false);
    log_decimal(log, "most", span_text("18446744073709551615"));
    log_decimal(log, "seconds", span_text("0.000250000"));
    log_duration(log, "took_ms", 12 * CLOCK_MILLISECOND + 7999);
    log_end(log, WALL);
}

void base_test_log_text(void **state)
{
    (void)state;
    struct log log;
    char line[LOG_LINE_MAX + 1];
    log_init(&log, LOG_INFO, ring, sizeof ring);
    assert_false(log_waiting(&log));
    assert_int_equal(log_take(&log, LOG_FORMAT_TEXT, line), 0);
    fill_event(&log);
    assert_true(log_waiting(&log));
    take(&log, LOG_FORMAT_TEXT, line);
    assert_string_equal(line, "2026-11-21T07:30:00.123Z info event=upstream_down upstream=one in_flight=3"
                              " least=-9223372036854775808 empty=\"\" reason=\"a=b \\\"c\\\\\""
                              " name=\\000\\010\\127\\195\\164 address=[2001:db8::1]:853 host=2001:db8::1"
                              " client=2001:db8::/32 yes=true no=false most=18446744073709551615"
                              " seconds=0.000250000 took_ms=12.007\n");
    assert_false(log_waiting(&log));
}

void base_test_log_json(void **state)
{
    (void)state;
    struct log log;
    char line[LOG_LINE_MAX + 1];
    log_init(&log, LOG_INFO, ring, sizeof ring);
    fill_event(&log);
    take(&log, LOG_FORMAT_JSON, line);
    assert_string_equal(
        line, "{\"time\":\"2026-11-21T07:30:00.123Z\",\"level\":\"info\",\"event\":\"upstream_down\","
              "\"upstream\":\"one\",\"in_flight\":3,\"least\":-9223372036854775808,\"empty\":\"\","
              "\"reason\":\"a=b \\u0022c\\u005c\",\"name\":\"\\u0000\\u000a\\u007f\\u00c3\\u00a4\","
              "\"address\":\"[2001:db8::1]:853\",\"host\":\"2001:db8::1\","
              "\"client\":\"2001:db8::/32\",\"yes\":true,\"no\":false,\"most\":18446744073709551615,"
              "\"seconds\":0.000250000,\"took_ms\":12.007}\n");
}

void base_test_log_levels(void **state)
{
    (void)state;
    struct log log;
    char line[LOG_LINE_MAX + 1];
    log_init(&log, LOG_WARNING, ring, sizeof ring);
    assert_false(log_begin(&log, LOG_INFO, "no"));
    assert_true(log_begin(&log, LOG_ERROR, "yes"));
    log_end(&log, 0);
    take(&log, LOG_FORMAT_TEXT, line);
    assert_string_equal(line, "1970-01-01T00:00:00.000Z error event=yes\n");
    assert_int_equal(log_take(&log, LOG_FORMAT_TEXT, line), 0);
}

void base_test_log_time(void **state)
{
    (void)state;
    static const struct {
        uint64_t seconds;
        const char *text;
    } moments[] = {
        {951782399, "2000-02-28T23:59:59"},  {951782400, "2000-02-29T00:00:00"},
        {951868800, "2000-03-01T00:00:00"},  {4107542399, "2100-02-28T23:59:59"},
        {4107542400, "2100-03-01T00:00:00"}, {1735689599, "2024-12-31T23:59:59"},
    };
    struct log log;
    char line[LOG_LINE_MAX + 1];
    log_init(&log, LOG_DEBUG, ring, sizeof ring);
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        assert_true(log_begin(&log, LOG_DEBUG, "tick"));
        log_end(&log, moments[i].seconds * CLOCK_SECOND);
        take(&log, LOG_FORMAT_TEXT, line);
        assert_memory_equal(line, moments[i].text, strlen(moments[i].text));
    }
}

/* Whether the line is one JSON object of strings and numbers without a stray byte. */
static bool is_json_line(const char *line, size_t size)
{
    bool inside = false;
    size_t quotes = 0;
    for (size_t i = 0; i + 1 < size; i++) {
        if (line[i] < 0x20 || line[i] > 0x7e) {
            return false;
        }
        inside ^= line[i] == '"';
        quotes += line[i] == '"';
        if (line[i] == '\\' &&
            (!inside || strncmp(line + i, "\\u00", 4) != 0 || strspn(line + i + 4, "0123456789abcdef") < 2)) {
            return false;
        }
    }
    return line[0] == '{' && quotes % 2 == 0 && !inside && strcmp(line + size - 2, "}\n") == 0 &&
           line[size - 3] != ',' && line[size - 3] != ':';
}

static void fill_long(struct log *log, size_t keys, size_t size, int byte)
{
    uint8_t text[700];
    memset(text, byte, sizeof text);
    assert_true(log_begin(log, LOG_INFO, "long"));
    for (size_t i = 0; i < keys; i++) {
        log_span(log, "key", span_of(text, size));
        log_number(log, "n", 123456789);
    }
    log_end(log, WALL);
}

void base_test_log_cut(void **state)
{
    (void)state;
    struct log log;
    char line[LOG_LINE_MAX + 1];
    log_init(&log, LOG_INFO, ring, sizeof ring);
    fill_long(&log, 1, 700, 'x');
    take(&log, LOG_FORMAT_TEXT, line);
    assert_int_equal(strspn(strstr(line, "key=") + 4, "x"), 512);
    assert_string_equal(line + strlen(line) - 13, " n=123456789\n");
    /* Every length at which the line, or the event, ends in the middle of something. */
    for (size_t keys = 1; keys < 30; keys += 4) {
        for (size_t size = 0; size < 520; size += 1) {
            fill_long(&log, keys, size, 0xff);
            size_t length = take(&log, LOG_FORMAT_JSON, line);
            assert_true(is_json_line(line, length));
            fill_long(&log, keys, size, ' ');
            take(&log, LOG_FORMAT_TEXT, line);
            size_t quotes = 0;
            for (const char *at = line; *at != '\0'; at++) {
                quotes += *at == '"';
            }
            assert_int_equal(quotes % 2, 0);
            assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        }
    }
    assert_int_equal(log_dropped(&log), 0);
}

/* Shows: P10 */
void base_test_log_any_bytes(void **state)
{
    (void)state;
    struct log log;
    char line[LOG_LINE_MAX + 1];
    uint8_t all[256];
    for (size_t i = 0; i < sizeof all; i++) {
        all[i] = (uint8_t)i;
    }
    log_init(&log, LOG_INFO, ring, sizeof ring);
    for (enum log_format format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        assert_true(log_begin(&log, LOG_INFO, "bytes"));
        log_span(&log, "all", span_of(all, sizeof all));
        log_end(&log, WALL);
        size_t size = take(&log, format, line);
        for (size_t i = 0; i + 1 < size; i++) {
            assert_in_range(line[i], 0x20, 0x7e);
        }
        assert_true(format == LOG_FORMAT_TEXT || is_json_line(line, size));
        assert_non_null(strstr(line, format == LOG_FORMAT_TEXT ? "~\\127\\128" : "~\\u007f\\u0080"));
        assert_non_null(strstr(line, format == LOG_FORMAT_TEXT ? "\\031 !\\\"#" : "\\u001f !\\u0022#"));
    }
}

void base_test_log_full(void **state)
{
    (void)state;
    struct log log;
    char line[LOG_LINE_MAX + 1];
    log_init(&log, LOG_INFO, ring, sizeof ring);
    size_t written = 0;
    for (unsigned round = 0; round < 50; round++) {
        while (log_dropped(&log) == round) {
            fill_long(&log, 1, written % 300, 'x');
            written++;
        }
        size_t taken = 0;
        while (take(&log, LOG_FORMAT_TEXT, line) > 0) {
            assert_non_null(strstr(line, " event=long key="));
            assert_string_equal(line + strlen(line) - 13, " n=123456789\n");
            taken++;
        }
        assert_in_range(taken, 10, 100);
    }
}

enum { THREAD_EVENTS = 20000 };

static void *produce(void *argument)
{
    struct log *log = argument;
    for (int64_t i = 0; i < THREAD_EVENTS; i++) {
        if (log_begin(log, LOG_INFO, "count")) {
            log_number(log, "i", i);
            log_text(log, "text", "some text that makes the event wrap at odd places");
            log_end(log, WALL);
        }
    }
    return NULL;
}

void base_test_log_threads(void **state)
{
    (void)state;
    static struct log log;
    char line[LOG_LINE_MAX + 1];
    pthread_t producer;
    uint64_t taken = 0;
    long last = -1;
    log_init(&log, LOG_INFO, ring, sizeof ring);
    assert_int_equal(pthread_create(&producer, NULL, produce, &log), 0);
    while (taken + log_dropped(&log) < THREAD_EVENTS) {
        if (take(&log, LOG_FORMAT_TEXT, line) == 0) {
            sched_yield();
            continue;
        }
        long number = strtol(strstr(line, " i=") + 3, NULL, 10);
        assert_true(number > last);
        assert_non_null(strstr(line, " text=\"some text that makes the event wrap at odd places\"\n"));
        last = number;
        taken++;
    }
    assert_int_equal(pthread_join(producer, NULL), 0);
    assert_false(log_waiting(&log));
    assert_true(taken > 0);
}
