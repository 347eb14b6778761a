/*
 * Bytes and cursors over bytes. A cursor's error is sticky: after the first step that does not fit every
 * further step does nothing, and the caller looks once, at the end. Numbers are in network order.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes that belong to somebody else; valid as long as the lender says. */
struct span {
    const uint8_t *data;
    size_t size;
};

static inline struct span span_of(const void *data, size_t size)
{
    return (struct span){.data = data, .size = size};
}

static inline struct span span_text(const char *text)
{
    return span_of(text, strlen(text));
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline uint16_t bytes_get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t bytes_get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void bytes_put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void bytes_put_u32(uint8_t *at, uint32_t value)
{
    bytes_put_u16(at, (uint16_t)(value >> 16));
    bytes_put_u16(at + 2, (uint16_t)value);
}

struct bytes_reader {
    const uint8_t *start, *at, *end;
    bool failed;
};

static inline struct bytes_reader bytes_reader_of(struct span bytes)
{
    return (struct bytes_reader){.start = bytes.data, .at = bytes.data, .end = bytes.data + bytes.size};
}

static inline size_t bytes_left(const struct bytes_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static inline size_t bytes_offset(const struct bytes_reader *reader)
{
    return (size_t)(reader->at - reader->start);
}

/* The next `size` bytes, or an empty span once the reader has failed. */
static inline struct span bytes_read(struct bytes_reader *reader, size_t size)
{
    if (reader->failed || size > bytes_left(reader)) {
        reader->failed = true;
        return (struct span){0};
    }
    reader->at += size;
    return span_of(reader->at - size, size);
}

static inline uint8_t bytes_read_u8(struct bytes_reader *reader)
{
    struct span one = bytes_read(reader, 1);
    return one.size ? one.data[0] : 0;
}

static inline uint16_t bytes_read_u16(struct bytes_reader *reader)
{
    struct span two = bytes_read(reader, 2);
    return two.size ? bytes_get_u16(two.data) : 0;
}

static inline uint32_t bytes_read_u32(struct bytes_reader *reader)
{
    struct span four = bytes_read(reader, 4);
    return four.size ? bytes_get_u32(four.data) : 0;
}

struct bytes_writer {
    uint8_t *start, *at, *end;
    bool failed;
};

static inline struct bytes_writer bytes_writer_of(uint8_t *data, size_t capacity)
{
    return (struct bytes_writer){.start = data, .at = data, .end = data + capacity};
}

static inline size_t bytes_written(const struct bytes_writer *writer)
{
    return (size_t)(writer->at - writer->start);
}

/* Room for `size` bytes, already counted as written; NULL once the writer has failed. */
static inline uint8_t *bytes_claim(struct bytes_writer *writer, size_t size)
{
    if (writer->failed || size > (size_t)(writer->end - writer->at)) {
        writer->failed = true;
        return NULL;
    }
    writer->at += size;
    return writer->at - size;
}

static inline void bytes_write(struct bytes_writer *writer, struct span bytes)
{
    uint8_t *at = bytes_claim(writer, bytes.size);
    if (at != NULL && bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
    }
}

static inline void bytes_write_zero(struct bytes_writer *writer, size_t size)
{
    uint8_t *at = bytes_claim(writer, size);
    if (at != NULL) {
        memset(at, 0, size);
    }
}

static inline void bytes_write_u8(struct bytes_writer *writer, uint8_t value)
{
    uint8_t *at = bytes_claim(writer, 1);
    if (at != NULL) {
        *at = value;
    }
}

static inline void bytes_write_u16(struct bytes_writer *writer, uint16_t value)
{
    uint8_t *at = bytes_claim(writer, 2);
    if (at != NULL) {
        bytes_put_u16(at, value);
    }
}

static inline void bytes_write_u32(struct bytes_writer *writer, uint32_t value)
{
    uint8_t *at = bytes_claim(writer, 4);
    if (at != NULL) {
        bytes_put_u32(at, value);
    }
}

#endif
