/*
 * The ring between the threads that have something to tell and the one that writes it down. The producer
 * stores numbers and addresses as they are; making text of them is left to the consumer, off the serving
 * threads.
 *
 * An event in the ring is a struct event_head, then the event's name (length, bytes) and its fields (kind,
 * key length, key, value length, value). Nothing in it is a pointer. Positions count up for ever, their low
 * bits are the offset.
 */
#include "base/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum { TEXT_MAX = 512, FIELD_OVERHEAD = 4 };

enum kind {
    KIND_TEXT,
    KIND_NUMBER,
    KIND_DECIMAL,
    KIND_BOOLEAN,
    KIND_DURATION,
    KIND_ADDRESS,
    KIND_ADDRESS_PORT,
    KIND_PREFIX,
    KIND_MOMENT
};

struct event_head {
    uint64_t wall;
    uint32_t size; /* of the whole event */
    uint32_t level;
};

/* A line that is being written; `end` leaves room for what closes the line. */
struct line {
    enum log_format format;
    char *at, *end;
    bool full;
};

static const char *const level_names[] = {"error", "warning", "info", "debug"};

/* ---- the producer ---- */

void log_init(struct log *log, enum log_level level, uint8_t *ring, size_t size)
{
    assert(size >= 2 * LOG_EVENT_MAX && (size & (size - 1)) == 0);
    *log = (struct log){.level = level, .ring = ring, .size = size};
}

bool log_begin(struct log *log, enum log_level level, const char *event)
{
    if (level > log->level) {
        return false;
    }
    size_t size = strlen(event);
    assert(size <= UINT8_MAX);
    struct event_head head = {.level = level};
    struct bytes_writer writer = bytes_writer_of(log->event, sizeof log->event);
    bytes_write(&writer, span_of(&head, sizeof head));
    bytes_write_u8(&writer, (uint8_t)size);
    bytes_write(&writer, span_of(event, size));
    log->pending = bytes_written(&writer);
    log->overflow = false;
    return true;
}

/* Adds a field. Text is cut where the event ends, other values are left out; nothing follows a field that
 * was. */
static void add_field(struct log *log, enum kind kind, const char *key, struct span value)
{
    size_t key_size = strlen(key), room = sizeof log->event - log->pending;
    assert(key_size <= UINT8_MAX);
    size_t needed = FIELD_OVERHEAD + key_size + (kind == KIND_TEXT ? 0 : value.size);
    if (log->overflow || needed > room) {
        log->overflow = true;
        return;
    }
    if (value.size > room - FIELD_OVERHEAD - key_size) {
        value.size = room - FIELD_OVERHEAD - key_size;
        log->overflow = true;
    }
    struct bytes_writer writer = bytes_writer_of(log->event + log->pending, room);
    bytes_write_u8(&writer, (uint8_t)kind);
    bytes_write_u8(&writer, (uint8_t)key_size);
    bytes_write(&writer, span_of(key, key_size));
    bytes_write_u16(&writer, (uint16_t)value.size);
    bytes_write(&writer, value);
    log->pending += bytes_written(&writer);
}

void log_span(struct log *log, const char *key, struct span text)
{
    add_field(log, KIND_TEXT, key, span_of(text.data, text.size < TEXT_MAX ? text.size : TEXT_MAX));
}

void log_text(struct log *log, const char *key, const char *text)
{
    log_span(log, key, span_of(text, strnlen(text, TEXT_MAX)));
}

void log_number(struct log *log, const char *key, int64_t value)
{
    add_field(log, KIND_NUMBER, key, span_of(&value, sizeof value));
}

static bool is_decimal(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if ((text.data[i] < '0' || text.data[i] > '9') && text.data[i] != '.') {
            return false;
        }
    }
    return text.size > 0;
}

void log_decimal(struct log *log, const char *key, struct span digits)
{
    assert(is_decimal(digits));
    add_field(log, KIND_DECIMAL, key, digits);
}

void log_boolean(struct log *log, const char *key, bool value)
{
    add_field(log, KIND_BOOLEAN, key, span_text(value ? "true" : "false"));
}

void log_address(struct log *log, const char *key, const struct address *address, bool with_port)
{
    add_field(log, with_port ? KIND_ADDRESS_PORT : KIND_ADDRESS, key, span_of(address, sizeof *address));
}

void log_prefix(struct log *log, const char *key, const struct address_prefix *prefix)
{
    add_field(log, KIND_PREFIX, key, span_of(prefix, sizeof *prefix));
}

void log_moment(struct log *log, const char *key, int64_t seconds)
{
    add_field(log, KIND_MOMENT, key, span_of(&seconds, sizeof seconds));
}

void log_duration(struct log *log, const char *key, uint64_t nanoseconds)
{
    add_field(log, KIND_DURATION, key, span_of(&nanoseconds, sizeof nanoseconds));
}

void log_end(struct log *log, uint64_t wall)
{
    assert(log->pending > 0);
    struct event_head head;
    memcpy(&head, log->event, sizeof head);
    head.wall = wall;
    head.size = (uint32_t)log->pending;
    memcpy(log->event, &head, sizeof head);
    log->pending = 0;

    size_t position = atomic_load_explicit(&log->head, memory_order_relaxed);
    size_t tail = atomic_load_explicit(&log->tail, memory_order_acquire);
    if (head.size > log->size - (position - tail)) {
        atomic_fetch_add_explicit(&log->dropped, 1, memory_order_relaxed);
        return;
    }
    size_t offset = position & (log->size - 1);
    size_t first = head.size < log->size - offset ? head.size : log->size - offset;
    memcpy(log->ring + offset, log->event, first);
    memcpy(log->ring, log->event + first, head.size - first);
    atomic_store_explicit(&log->head, position + head.size, memory_order_release);
}

uint64_t log_dropped(const struct log *log)
{
    return atomic_load_explicit(&log->dropped, memory_order_relaxed);
}

/* ---- the consumer ---- */

static bool put(struct line *line, const char *text, size_t size)
{
    if (line->full || size > (size_t)(line->end - line->at)) {
        line->full = true;
        return false;
    }
    if (size > 0) {
        memcpy(line->at, text, size);
    }
    line->at += size;
    return true;
}

static bool put_text(struct line *line, const char *text)
{
    return put(line, text, strlen(text));
}

static bool needs_escape(uint8_t byte)
{
    return byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\';
}

/* As in master files (RFC 1035, 5.1): a backslash before a byte that is seen, else its value in decimal. */
static void escape_as_text(uint8_t byte, char *out, size_t size)
{
    snprintf(out, size, byte == '"' || byte == '\\' ? "\\%c" : "\\%03u", byte);
}

static bool put_byte(struct line *line, uint8_t byte)
{
    char escaped[sizeof "\\u0000"];
    if (!needs_escape(byte)) {
        return put(line, (const char *)&byte, 1);
    }
    if (line->format == LOG_FORMAT_JSON) {
        snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)byte);
    } else {
        escape_as_text(byte, escaped, sizeof escaped);
    }
    return put_text(line, escaped);
}

static bool needs_quotes(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == ' ' || text.data[i] == '"' || text.data[i] == '=') {
            return true;
        }
    }
    return text.size == 0;
}

/* As much of the text as fits; a quote that was opened is closed. */
static void put_string(struct line *line, struct span text)
{
    bool quoted = line->format == LOG_FORMAT_JSON || needs_quotes(text);
    if (quoted) {
        if (line->end - line->at < 2) {
            line->full = true;
            return;
        }
        put(line, "\"", 1);
        line->end--;
    }
    for (size_t i = 0; i < text.size && put_byte(line, text.data[i]); i++) {}
    if (quoted) {
        line->end++;
        *line->at++ = '"';
    }
}

static void put_address(struct line *line, enum kind kind, struct span value)
{
    char text[ADDRESS_TEXT_SIZE + sizeof "/128"];
    struct address_prefix prefix;
    assert(value.data != NULL);
    if (kind == KIND_PREFIX) {
        memcpy(&prefix, value.data, sizeof prefix);
    } else {
        memcpy(&prefix.address, value.data, sizeof prefix.address);
    }
    size_t size = address_format(&prefix.address, kind == KIND_ADDRESS_PORT, text);
    if (kind == KIND_PREFIX) {
        size += (size_t)snprintf(text + size, sizeof text - size, "/%u", (unsigned)prefix.length);
    }
    put_string(line, span_of(text, size));
}

static void put_number(struct line *line, enum kind kind, struct span value)
{
    char text[40];
    int64_t number;
    assert(value.size == sizeof number);
    memcpy(&number, value.data, sizeof number);
    if (kind == KIND_DURATION) {
        uint64_t microseconds = (uint64_t)number / CLOCK_MICROSECOND;
        snprintf(text, sizeof text, "%" PRIu64 ".%03" PRIu64, microseconds / 1000, microseconds % 1000);
    } else {
        snprintf(text, sizeof text, "%" PRId64, number);
    }
    put_text(line, text);
}

enum { MOMENT_SIZE = 64 };

/* "2026-11-21T07:30:00", in universal time. The civil date is counted here: gmtime() would open the machine's
 * time zone file. Returns the length. */
static size_t format_moment(uint64_t seconds, char out[MOMENT_SIZE])
{
    uint64_t day_second = seconds % 86400;
    /* Days since 0000-03-01, so that a leap day is the last of its year; 400 years have 146097 days. */
    uint64_t days = seconds / 86400 + 719468, era_day = days % 146097;
    uint64_t era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
    uint64_t year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    uint64_t shifted = (5 * year_day + 2) / 153; /* months since March */
    uint64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
    uint64_t year = days / 146097 * 400 + era_year + (month <= 2);
    int size = snprintf(out, MOMENT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u", (unsigned)year, (unsigned)month,
                        (unsigned)(year_day - (153 * shifted + 2) / 5 + 1), (unsigned)(day_second / 3600),
                        (unsigned)(day_second / 60 % 60), (unsigned)(day_second % 60));
    return (size_t)size;
}

static void put_moment(struct line *line, struct span value)
{
    char text[MOMENT_SIZE + 8];
    int64_t seconds;
    assert(value.size == sizeof seconds);
    memcpy(&seconds, value.data, sizeof seconds);
    size_t size = format_moment(seconds > 0 ? (uint64_t)seconds : 0, text);
    text[size] = 'Z';
    put_string(line, span_of(text, size + 1));
}

static void put_value(struct line *line, enum kind kind, struct span value)
{
    switch (kind) {
    case KIND_TEXT:
        put_string(line, value);
        break;
    case KIND_DECIMAL:
    case KIND_BOOLEAN:
        put(line, (const char *)value.data, value.size);
        break;
    case KIND_NUMBER:
    case KIND_DURATION:
        put_number(line, kind, value);
        break;
    case KIND_ADDRESS:
    case KIND_ADDRESS_PORT:
    case KIND_PREFIX:
        put_address(line, kind, value);
        break;
    case KIND_MOMENT:
        put_moment(line, value);
        break;
    }
}

static void put_key(struct line *line, struct span key)
{
    put_text(line, line->format == LOG_FORMAT_JSON ? ",\"" : " ");
    put(line, (const char *)key.data, key.size);
    put_text(line, line->format == LOG_FORMAT_JSON ? "\":" : "=");
}

/* A field that does not fit, and is no text that may be cut, is taken back, so that the line stays valid. */
static void put_field(struct line *line, enum kind kind, struct span key, struct span value)
{
    char *before = line->at;
    put_key(line, key);
    char *value_start = line->at;
    if (!line->full) {
        put_value(line, kind, value);
    }
    if (line->full && (kind != KIND_TEXT || line->at == value_start)) {
        line->at = before;
    }
}

static void put_time(struct line *line, uint64_t wall)
{
    char text[MOMENT_SIZE + 8];
    size_t size = format_moment(wall / CLOCK_SECOND, text);
    snprintf(text + size, sizeof text - size, ".%03uZ", (unsigned)(wall / CLOCK_MILLISECOND % 1000));
    put_text(line, text);
}

static size_t write_line(const uint8_t *event, const struct event_head *head, enum log_format format,
                         char *out)
{
    bool json = format == LOG_FORMAT_JSON;
    struct line line = {.format = format, .at = out, .end = out + LOG_LINE_MAX - 2};
    struct bytes_reader reader = bytes_reader_of(span_of(event, head->size));
    bytes_read(&reader, sizeof *head);
    put_text(&line, json ? "{\"time\":\"" : "");
    put_time(&line, head->wall);
    put_text(&line, json ? "\",\"level\":\"" : " ");
    put_text(&line, level_names[head->level]);
    put_text(&line, json ? "\",\"event\":" : " event=");
    put_string(&line, bytes_read(&reader, bytes_read_u8(&reader)));
    while (bytes_left(&reader) > 0 && !line.full) {
        enum kind kind = bytes_read_u8(&reader);
        struct span key = bytes_read(&reader, bytes_read_u8(&reader));
        put_field(&line, kind, key, bytes_read(&reader, bytes_read_u16(&reader)));
    }
    line.full = false;
    line.end = out + LOG_LINE_MAX;
    put_text(&line, json ? "}\n" : "\n");
    return (size_t)(line.at - out);
}

static void read_ring(const struct log *log, size_t position, void *out, size_t size)
{
    size_t offset = position & (log->size - 1);
    size_t first = size < log->size - offset ? size : log->size - offset;
    memcpy(out, log->ring + offset, first);
    memcpy((uint8_t *)out + first, log->ring, size - first);
}

bool log_waiting(const struct log *log)
{
    return atomic_load_explicit(&log->head, memory_order_acquire) !=
           atomic_load_explicit(&log->tail, memory_order_relaxed);
}

size_t log_take(struct log *log, enum log_format format, char line[LOG_LINE_MAX])
{
    if (!log_waiting(log)) {
        return 0;
    }
    uint8_t event[LOG_EVENT_MAX];
    struct event_head head;
    size_t tail = atomic_load_explicit(&log->tail, memory_order_relaxed);
    read_ring(log, tail, &head, sizeof head);
    read_ring(log, tail, event, head.size);
    atomic_store_explicit(&log->tail, tail + head.size, memory_order_release);
    return write_line(event, &head, format, line);
}
