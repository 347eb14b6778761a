/*
 * Frames: however a stream of bytes is cut into two, the same messages come out of it, and none of them
 * reaches behind what was given.
 */
#include "base/error.h"

#include "dns/dns.h"

#include "target.h"

/* The offset behind the last whole message of data[at..size), or -1 where the stream is broken. */
static long read_frames(const uint8_t *data, size_t size, size_t at, unsigned *messages)
{
    for (;;) {
        struct span message;
        size_t used = 0;
        int error = dns_frame_next(span_of(data + at, size - at), &message, &used);
        if (error == ERROR_SHORT) {
            must(used > size - at);
            return (long)at;
        }
        if (error < 0) {
            must(error == ERROR_MALFORMED && size - at >= 2);
            return -1;
        }
        must(message.size >= DNS_HEADER_SIZE && message.size + 2 == used && used <= size - at);
        must(message.data == data + at + 2);
        at += used;
        ++*messages;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned whole = 0, halves = 0;
    long end = read_frames(data, size, 0, &whole);
    size_t half = size / 2;
    uint8_t *first = malloc(half + 1);
    must(first != NULL);
    for (size_t i = 0; i < half; i++) {
        first[i] = data[i];
    }
    long middle = read_frames(first, half, 0, &halves);
    free(first);
    if (middle >= 0) {
        must(read_frames(data, size, (size_t)middle, &halves) == end && halves == whole);
    } else {
        must(end == -1);
    }
    return 0;
}
