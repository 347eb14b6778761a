/* What the three files of the stream test share: one loop, one shop, a stream that writes down what it is
 * told.
 */
#ifndef STREAM_TEST_H
#define STREAM_TEST_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "stream/stream.h"

enum { BLOCKS = 64, MESSAGE_MAX = 65535 };

/* What happens to a stream, and what it does about it. */
struct watched {
    struct stream stream;
    unsigned opened, messages, ended, closed;
    int error;
    enum tls_reason reason;
    size_t bytes;      /* of all messages */
    size_t last_size;  /* of the last message */
    bool wrong;        /* a message was not as message_at makes it */
    bool echo, pause;  /* after each message */
    unsigned close_at; /* closes at this message; 0 never */
    bool close_at_open, close_at_end, send_at_open, reuse;
};

extern struct event_loop *loop;
extern struct stream_shop shop;
extern const struct stream_handler handler;

int open_world(void **state);
int close_world(void **state);

/* Nothing is lent and nothing is current when a test is over. */
int check_world(void **state);

/* Fills a message of `size` bytes; its contents follow from its size. */
void make_message(uint8_t *out, size_t size);

/* The same with its length in front; the size of all. */
size_t make_frame(uint8_t *out, size_t size);

/* Turns that wait a little for something to happen: even the loopback may take its time. */
void turn(unsigned times);

/* Turns until the count is reached, and fails when it is not. */
void turn_until(const unsigned *count, unsigned wanted);

/* A stream over one end of a pair of sockets; the other end is returned. */
int accept_pair(struct watched *watched);

/* A listening socket of the loopback, and its address. */
int listen_local(struct address *address);

/* Reads until nothing more waits; the number of bytes. */
size_t drain(int descriptor, uint8_t *out, size_t size);

void a_reset_is_told_at_the_end_of_the_turn(void **state);
void a_connection_opens_and_sends_what_waits(void **state);
void every_reason_has_a_word(void **state);
void a_refused_connection_is_told(void **state);
void accepted_streams_leave_blocks_to_those_that_connect(void **state);

void messages_leave_in_one_record(void **state);
void a_big_message_passes_tls_both_ways(void **state);
void a_stranger_hears_nothing(void **state);
void resumption_is_told(void **state);
void many_records_are_read_over_turns(void **state);
void a_close_notify_is_an_end(void **state);
void a_bare_end_is_an_error(void **state);
void a_slow_tls_reader_is_written_later(void **state);
void tls_messages_are_cut_at_every_byte(void **state);
void a_stream_may_close_when_it_opens(void **state);
void garbage_ends_the_handshake(void **state);
void a_pause_holds_what_the_library_holds(void **state);

#endif
