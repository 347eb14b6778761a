/*
 * One stream of framed DNS messages over TCP or TLS (RFC 7766, RFC 7858), the same at both doors. Messages
 * come out whole; what is sent waits in blocks and leaves at the end of the turn in one write: over TLS in
 * one record for all of a turn's messages that fit one.
 *
 * A callback is never called from inside a call of this header; `closed` comes at most once and nothing comes
 * after it. The owner may close a stream from inside any of its callbacks.
 */
#ifndef STREAM_STREAM_H
#define STREAM_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/slab.h"

#include "event/event.h"
#include "tls/tls.h"

/* UNREAD_MAX: most bytes of stream_unread. */
enum { STREAM_BLOCK_SIZE = 4096, STREAM_UNREAD_MAX = 2 + 65535 + 32 * 1024 };

struct stream;

/* What the streams of one worker share: buffers that are only held while bytes wait in them. */
struct stream_shop {
    struct event_loop *loop;
    struct slab blocks;
    uint8_t *scratch;       /* one message being put together, one record being filled */
    struct stream *current; /* whose callbacks are being called */
    uint64_t (*wall)(void); /* what certificates are judged by: clock_wall, tests put their own here */
};

/* `blocks` bounds the memory of all buffers of all streams together. Accepted streams leave a quarter of them
 * to those that connect: whatever clients hold, servers can be asked. ERROR_MEMORY. */
int stream_shop_open(struct stream_shop *shop, struct event_loop *loop, size_t blocks);

/* The bytes that a shop of so many blocks reserves. */
size_t stream_shop_memory(size_t blocks);
void stream_shop_close(struct stream_shop *shop);

struct stream_handler {
    /* Connected, and over TLS the peer's identity is proven. Not called for accepted streams. */
    void (*opened)(struct stream *stream);
    /* One message, without its length; borrowed until the return. */
    void (*message)(struct stream *stream, struct span message);
    /* The peer will send nothing more; what is sent may still reach it. A part of a message that came is
     * lost. */
    void (*ended)(struct stream *stream);
    /* Everything that was sent has left; comes when the last waiting byte has gone. NULL where nobody asks.
     */
    void (*drained)(struct stream *stream);
    /* The stream is dead: 0 never; ERROR_REFUSED, ERROR_UNREACHABLE, ERROR_RESET, ERROR_CLOSED (TLS without
     * close_notify), ERROR_TLS (see stream_failure), ERROR_MALFORMED (a length below 12), ERROR_EXHAUSTED (no
     * block for a partial message), ... The owner still calls stream_close. */
    void (*closed)(struct stream *stream, int error);
};

struct stream {
    const struct stream_handler *handler;
    struct stream_shop *shop;
    int descriptor;
    struct tls_session *tls;   /* NULL over plain TCP */
    struct tls_client *client; /* for the handshake to come */
    uint8_t state;
    bool paused, want_write, ended;
    bool catching_up; /* there is something to deliver that the socket will not announce */
    bool write_wants_read, read_wants_write; /* what the TLS library waits for, against expectation */
    int error;                               /* that `closed` will tell at the end of the turn */
    struct event_watch watch;
    struct event_after flush;
    struct list input, output; /* blocks */
    size_t input_size;         /* bytes of a message that is not whole yet, length included */
    size_t output_size;        /* bytes that wait to be written */
    size_t output_limit;
    size_t spared;         /* blocks that it must leave to others */
    size_t write_size;     /* bytes of the record that the library must be given again, 0 for none */
    uint64_t connected_at; /* when TCP was established; 0 before, and for accepted streams */
    uint64_t read_at;      /* when the last byte was read */
    uint64_t partial_at;   /* when the first byte of an unfinished message came, 0 when there is none */
    uint64_t blocked_at;   /* since when the peer has not taken a byte of waiting output, 0 when none waits */
    size_t marked_size;    /* of all that waited at one moment, what still waits; then a new mark is set */
    uint64_t marked_at;    /* that moment, 0 when nothing waits */
    uint64_t written_at;   /* when bytes were last handed to the kernel */
    uint64_t acknowledged, acknowledged_at, looked_at; /* what looks at the path found last */
    uint64_t records;                                  /* writes that carried data: over TLS, records */
};

/* Begins a connection; `opened` or `closed` follows. `client` NULL means plain TCP. The handler must outlive
 * the stream. Errors that are known at once are returned, and then no callback comes. */
int stream_connect(struct stream *stream, struct stream_shop *shop, const struct address *remote,
                   struct tls_client *client, const struct stream_handler *handler);

/* Takes over a connected plain descriptor, which is closed by stream_close. When this fails, it stays the
 * caller's. */
int stream_accept(struct stream *stream, struct stream_shop *shop, int descriptor,
                  const struct stream_handler *handler);

/* What was read of the peer and is no message of the owner's yet: a part of one, or what a pause has left. Up
 * to STREAM_UNREAD_MAX bytes; returns their number. */
size_t stream_unread(const struct stream *stream, uint8_t *out);

/* As if these bytes, at most STREAM_UNREAD_MAX, were what the peer of a stream that was just accepted had
 * sent first; messages among them come at the end of the turn. ERROR_EXHAUSTED. */
int stream_put_back(struct stream *stream, struct span bytes);

/* Most bytes that may wait for the peer; 64 KiB + 2 and nothing else until it is set. */
void stream_limit_output(struct stream *stream, size_t bytes);

/* Queues one message of 12 to 65,535 bytes with its length; it leaves at the end of the turn (sooner where
 * room is needed), or once connected. ERROR_EXHAUSTED when the stream's limit or the shop's blocks are used
 * up and the peer does not take what waits: nothing of it is queued. ERROR_CLOSED when the stream is dead. */
int stream_send(struct stream *stream, struct span message);

/* While paused nothing is read; messages already in hand are delivered at the resume. */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

/* At the end of this turn what the socket holds is read, whether the loop was told of it or not. */
void stream_look(struct stream *stream);

bool stream_is_open(const struct stream *stream);

/* Whether TCP is established; a TLS handshake may still be under way. */
bool stream_is_connected(const struct stream *stream);

/* Whether bytes that were written have gone without a new acknowledgement of the peer's TCP for three round
 * trips, and for `least` nanoseconds at least: what comes next on this path is unlikely to arrive. Asks the
 * kernel. To be asked several times in `least` while something is expected. */
bool stream_path_is_dead(struct stream *stream, uint64_t least);

/* Bounds how long the kernel keeps trying to get bytes acknowledged, in nanoseconds. */
void stream_limit_silence(struct stream *stream, uint64_t limit);

/* What the handshake or a later check found; NULL when nothing. Valid until stream_close. */
const struct tls_failure *stream_failure(const struct stream *stream);

/* The word for an error of a stream, for logs and extended errors, and what a person can do about it; a word
 * without a hint of its own gets a general one. Static text. (reason.c) */
const char *stream_reason_word(int error, const struct tls_failure *failure);
const char *stream_reason_hint(const char *word);

/* Whether the TLS session was resumed; its version, "" over plain TCP. */
bool stream_resumed(const struct stream *stream);
const char *stream_version(const struct stream *stream);

/* What is known of the peer's side of TLS; NULL over plain TCP and before the handshake. Until stream_close.
 */
const struct tls_session *stream_session(const struct stream *stream);

/* Whether the peer is believed without a look at the dates of its certificates; see tls.h. */
bool stream_is_undated(const struct stream *stream);

/* Ends everything at once, without waiting for the peer: close_notify and what the socket takes, then close.
 * Output that waits is tried once more first. No callback comes after it. Harmless on a closed stream. */
void stream_close(struct stream *stream);

#endif
