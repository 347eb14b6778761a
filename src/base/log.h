/*
 * Events on their way to the log. A thread writes its events into a ring of its own and never waits: when the
 * ring is full the event is dropped and counted. Another thread (or the same one, where nothing is served)
 * takes them out and turns them into lines.
 *
 *     if (log_begin(log, LOG_WARNING, "upstream_down")) {
 *         log_text(log, "upstream", name);
 *         log_number(log, "in_flight", count);
 *         log_end(log);
 *     }
 *
 * One producer and one consumer; the consumer's side (log_take) may run on another thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/bytes.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

enum { LOG_EVENT_MAX = 1536, LOG_LINE_MAX = 2048 };

struct log {
    /* Set at init. */
    enum log_level level; /* events above it are not recorded */
    uint8_t *ring;
    size_t size; /* bytes, a power of two */

    /* The producer's. */
    size_t pending; /* bytes of the event that is being written, behind `head` */
    bool overflow;  /* that event did not fit */
    uint8_t event[LOG_EVENT_MAX];

    /* Shared. The producer releases head, the consumer releases tail. */
    _Alignas(64) atomic_size_t head;
    atomic_uint_least64_t dropped;
    _Alignas(64) atomic_size_t tail;
};

/* An empty log over `ring`, which the caller lends for the log's life; size is a power of two >= 2 *
 * LOG_EVENT_MAX. */
void log_init(struct log *log, enum log_level level, uint8_t *ring, size_t size);

/* Opens an event; false (nothing to do) when the level is not wanted. `event` is a static string. */
bool log_begin(struct log *log, enum log_level level, const char *event);

/* Fields of the open event. Keys are static strings; values are copied, text of any bytes is allowed and cut
 * at 512 bytes. */
void log_text(struct log *log, const char *key, const char *text);
void log_span(struct log *log, const char *key, struct span text);
void log_number(struct log *log, const char *key, int64_t value);
/* A number that is text already: digits and at most one point between them. */
void log_decimal(struct log *log, const char *key, struct span digits);
void log_boolean(struct log *log, const char *key, bool value);
void log_address(struct log *log, const char *key, const struct address *address, bool with_port);
/* A prefix of a client's address, for logs that must not know the client. */
void log_prefix(struct log *log, const char *key, const struct address_prefix *prefix);

/* Seconds since the epoch as "2026-11-21T07:30:00Z"; what is before the epoch is shown as the epoch. */
void log_moment(struct log *log, const char *key, int64_t seconds);

/* Nanoseconds as milliseconds with three decimals. */
void log_duration(struct log *log, const char *key, uint64_t nanoseconds);

/* Closes the event and hands it to the consumer, with the wall time of this moment; counted as dropped when
 * the ring is full. */
void log_end(struct log *log, uint64_t wall);

/* Whether anything waits for the consumer. */
bool log_waiting(const struct log *log);

/* The consumer's side: formats the oldest event as one line with its newline, at most LOG_LINE_MAX bytes,
 * every control byte, quote, backslash and non-ASCII byte escaped (\", \\ and \DDD in text, \u00XX in JSON).
 * Returns its length, 0 when nothing waits. */
size_t log_take(struct log *log, enum log_format format, char line[LOG_LINE_MAX]);

/* Events lost so far. */
uint64_t log_dropped(const struct log *log);

#endif
