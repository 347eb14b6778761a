/*
 * The log: whatever stands in a value, one event is one line, without a raw control byte or a quote that
 * could end the value, not longer than LOG_LINE_MAX; in JSON the line is an object, read here by a small
 * reader of its own.
 */
#include <string.h>

#include "base/log.h"

#include "target.h"

enum { RING_SIZE = 4096 };

/* ---- a reader of one line of JSON: an object of strings, numbers and words ---- */

static size_t read_string(const char *text, size_t at, size_t size)
{
    must(at < size && text[at] == '"');
    for (at++; at < size && text[at] != '"'; at++) {
        if (text[at] != '\\') {
            continue;
        }
        must(++at < size);
        if (text[at] != 'u') {
            must(memchr("\"\\/bfnrt", text[at], 8) != NULL);
            continue;
        }
        for (unsigned i = 0; i < 4; i++) {
            must(++at < size && memchr("0123456789abcdefABCDEF", text[at], 22) != NULL);
        }
    }
    must(at < size);
    return at + 1;
}

static size_t read_number(const char *text, size_t at, size_t size)
{
    size_t begin = at;
    at += text[at] == '-';
    while (at < size && memchr("0123456789.", text[at], 11) != NULL) {
        at++;
    }
    must(at > begin);
    return at;
}

static unsigned read_object(const char *text, size_t size)
{
    size_t at = 0;
    unsigned members = 0;
    must(size >= 2 && text[at++] == '{');
    for (;; members++, at++) {
        at = read_string(text, at, size);
        must(at < size && text[at++] == ':');
        at = at < size && text[at] == '"' ? read_string(text, at, size) : read_number(text, at, size);
        must(at < size);
        if (text[at] == '}') {
            break;
        }
        must(text[at] == ',');
    }
    must(at + 1 == size);
    return members + 1;
}

/* ---- the events ---- */

static void check_line(const char *line, size_t size)
{
    must(size > 0 && size <= LOG_LINE_MAX && line[size - 1] == '\n');
    for (size_t i = 0; i + 1 < size; i++) {
        must(line[i] >= 0x20 && line[i] < 0x7f);
    }
}

/* Cuts the input into values at its zero bytes. */
static void write_event(struct log *log, struct span input)
{
    must(log_begin(log, LOG_INFO, "event"));
    size_t begin = 0;
    for (size_t i = 0; i <= input.size; i++) {
        if (i == input.size || input.data[i] == 0) {
            log_span(log, "value", span_of(input.data + begin, i - begin));
            begin = i + 1;
        }
    }
    int64_t number = 0;
    memcpy(&number, input.data, input.size < sizeof number ? input.size : sizeof number);
    log_number(log, "number", number);
    log_duration(log, "time_ms", (uint64_t)number);
    log_end(log, 1700000000 * UINT64_C(1000000000));
}

static void check(struct span input, enum log_format format)
{
    static uint8_t ring[RING_SIZE];
    static struct log log;
    static char line[LOG_LINE_MAX];
    log_init(&log, LOG_DEBUG, ring, sizeof ring);
    write_event(&log, input);
    size_t size = log_take(&log, format, line);
    must((size > 0) == (log_dropped(&log) == 0));
    if (size > 0) {
        check_line(line, size);
        if (format == LOG_FORMAT_JSON) {
            read_object(line, size - 1);
        }
    }
    must(log_take(&log, format, line) == 0);
    /* What one event lost is no matter to the next. */
    must(log_begin(&log, LOG_INFO, "next"));
    log_end(&log, 0);
    size = log_take(&log, format, line);
    check_line(line, size);
    must(memmem(line, size, "next", 4) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(span_of(data, size), LOG_FORMAT_TEXT);
    check(span_of(data, size), LOG_FORMAT_JSON);
    return 0;
}
