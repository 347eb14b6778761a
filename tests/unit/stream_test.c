/* Streams over plain TCP and over pairs of sockets: frames, bounds, ends, and closing from everywhere. */
#include "stream_test.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "tls_fixture.h"

struct event_loop *loop;
struct stream_shop shop;

static uint8_t buffer[1 << 20];

void make_message(uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(i * 7 + size * 13);
    }
}

size_t make_frame(uint8_t *out, size_t size)
{
    bytes_put_u16(out, (uint16_t)size);
    make_message(out + 2, size);
    return size + 2;
}

static void on_opened(struct stream *stream)
{
    struct watched *watched = container_of(stream, struct watched, stream);
    watched->opened++;
    uint8_t message[100];
    make_message(message, sizeof message);
    if (watched->send_at_open) {
        assert_int_equal(stream_send(stream, span_of(message, sizeof message)), 0);
    }
    if (watched->close_at_open) {
        stream_close(stream);
    }
}

static void on_message(struct stream *stream, struct span message)
{
    static uint8_t expected[MESSAGE_MAX];
    struct watched *watched = container_of(stream, struct watched, stream);
    assert_int_equal(watched->closed, 0);
    make_message(expected, message.size);
    watched->wrong |= memcmp(expected, message.data, message.size) != 0;
    watched->messages++;
    watched->bytes += message.size;
    watched->last_size = message.size;
    if (watched->echo) {
        assert_int_equal(stream_send(stream, message), 0);
    }
    if (watched->pause) {
        stream_pause(stream);
    }
    if (watched->messages == watched->close_at) {
        stream_close(stream);
        if (watched->reuse) {
            memset(stream, 0xa5, sizeof *stream);
        }
    }
}

static void on_ended(struct stream *stream)
{
    struct watched *watched = container_of(stream, struct watched, stream);
    watched->ended++;
    if (watched->close_at_end) {
        stream_close(stream);
    }
}

static void on_closed(struct stream *stream, int error)
{
    struct watched *watched = container_of(stream, struct watched, stream);
    watched->closed++;
    watched->error = error;
    watched->reason = stream_failure(stream) != NULL ? stream_failure(stream)->reason : TLS_REASON_NONE;
    assert_false(stream_is_open(stream));
    stream_close(stream);
}

const struct stream_handler handler = {
    .opened = on_opened, .message = on_message, .ended = on_ended, .closed = on_closed};

int open_world(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    if (event_loop_open(&loop) != 0 || stream_shop_open(&shop, loop, BLOCKS) != 0) {
        return -1;
    }
    return 0;
}

int close_world(void **state)
{
    (void)state;
    stream_shop_close(&shop);
    event_loop_close(loop);
    return 0;
}

int check_world(void **state)
{
    (void)state;
    return shop.blocks.taken == 0 && shop.current == NULL ? 0 : -1;
}

void turn(unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        event_loop_turn(loop, 5 * CLOCK_MILLISECOND);
    }
}

void turn_until(const unsigned *count, unsigned wanted)
{
    for (unsigned i = 0; i < 200 && *count < wanted; i++) {
        turn(1);
    }
    assert_int_equal(*count, wanted);
}

int accept_pair(struct watched *watched)
{
    int descriptor[2];
    fixture_sockets(descriptor);
    assert_int_equal(stream_accept(&watched->stream, &shop, descriptor[0], &handler), 0);
    return descriptor[1];
}

int listen_local(struct address *address)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&name, &size), 0);
    address_from_kernel((struct sockaddr *)&name, address);
    return listener;
}

size_t drain(int descriptor, uint8_t *out, size_t size)
{
    size_t total = 0;
    ssize_t count;
    while ((count = recv(descriptor, out + total, size - total, MSG_DONTWAIT)) > 0) {
        total += (size_t)count;
    }
    return total;
}

static void push(int descriptor, const uint8_t *bytes, size_t size)
{
    assert_int_equal(send(descriptor, bytes, size, MSG_NOSIGNAL), size);
}

/* Fills what the kernel keeps for the peer, so that the stream can write nothing. */
static size_t stuff(const struct watched *watched)
{
    ssize_t count;
    size_t total = 0;
    while ((count = send(watched->stream.descriptor, buffer, 4096, MSG_DONTWAIT)) > 0) {
        total += (size_t)count;
    }
    return total;
}

/* Shows: RFC1035-4.2.2 */
static void frames_are_cut_at_every_byte(void **state)
{
    (void)state;
    static const size_t sizes[] = {12, 13, 300, 12};
    size_t total = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        total += make_frame(buffer + total, sizes[i]);
    }
    for (size_t cut = 1; cut < total; cut++) {
        struct watched watched = {0};
        int peer = accept_pair(&watched);
        push(peer, buffer, cut);
        turn(1);
        push(peer, buffer + cut, total - cut);
        turn(1);
        assert_int_equal(watched.messages, 4);
        assert_int_equal(watched.bytes, total - 8);
        assert_false(watched.wrong);
        assert_int_equal(watched.stream.partial_at, 0);
        stream_close(&watched.stream);
        close(peer);
    }
}

static void a_message_may_drip(void **state)
{
    (void)state;
    struct watched watched = {0};
    int peer = accept_pair(&watched);
    size_t total = make_frame(buffer, 5000);
    push(peer, buffer, 1);
    turn(1);
    uint64_t since = watched.stream.partial_at;
    assert_int_not_equal(since, 0);
    assert_int_equal(shop.blocks.taken, 1);
    for (size_t i = 1; i < total; i++) {
        assert_int_equal(watched.messages, 0);
        assert_int_equal(watched.stream.partial_at, since);
        push(peer, buffer + i, 1);
        turn(1);
        assert_true(shop.blocks.taken <= i / (STREAM_BLOCK_SIZE / 2) + 1);
    }
    assert_int_equal(watched.messages, 1);
    assert_false(watched.wrong);
    assert_int_equal(shop.blocks.taken, 0);
    assert_int_equal(watched.stream.partial_at, 0);
    stream_close(&watched.stream);
    close(peer);
}

static void many_messages_come_in_one_segment(void **state)
{
    (void)state;
    struct watched watched = {0};
    int peer = accept_pair(&watched);
    size_t total = 0;
    for (unsigned i = 0; i < 1000; i++) {
        total += make_frame(buffer + total, 12 + i % 50);
    }
    push(peer, buffer, total);
    turn(3);
    assert_int_equal(watched.messages, 1000);
    assert_int_equal(watched.bytes, total - 2000);
    assert_false(watched.wrong);
    stream_close(&watched.stream);
    close(peer);
}

static void the_biggest_message_passes_both_ways(void **state)
{
    (void)state;
    struct watched watched = {.echo = true};
    int peer = accept_pair(&watched);
    size_t total = make_frame(buffer, MESSAGE_MAX), sent = 0, got = 0;
    static uint8_t back[MESSAGE_MAX + 2];
    for (unsigned i = 0; i < 1000 && got < total; i++) {
        ssize_t count = send(peer, buffer + sent, total - sent, MSG_NOSIGNAL);
        sent += count > 0 ? (size_t)count : 0;
        turn(1);
        got += drain(peer, back + got, sizeof back - got);
    }
    assert_int_equal(got, total);
    assert_memory_equal(back, buffer, total);
    assert_false(watched.wrong);
    stream_close(&watched.stream);
    close(peer);
}

/* Shows: T06, RFC1035-4.2.2 */
static void short_lengths_end_the_stream(void **state)
{
    (void)state;
    for (unsigned length = 0; length < 12; length++) {
        struct watched watched = {0};
        int peer = accept_pair(&watched);
        size_t total = make_frame(buffer, 40);
        bytes_put_u16(buffer + total, (uint16_t)length);
        push(peer, buffer, total + 2);
        turn(1);
        assert_int_equal(watched.messages, 1);
        assert_int_equal(watched.closed, 1);
        assert_int_equal(watched.error, ERROR_MALFORMED);
        close(peer);
    }
}

static void output_is_bounded(void **state)
{
    (void)state;
    struct watched watched = {0};
    int peer = accept_pair(&watched);
    size_t stuffed = stuff(&watched);
    make_message(buffer, 500);
    stream_limit_output(&watched.stream, 2000);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(stream_send(&watched.stream, span_of(buffer, 500)), 0);
    }
    assert_int_equal(stream_send(&watched.stream, span_of(buffer, 500)), ERROR_EXHAUSTED);
    assert_int_equal(watched.stream.output_size, 3 * 502);
    assert_int_equal(stream_send(&watched.stream, span_of(buffer, 492)), 0);
    while (stuffed > 0) {
        stuffed -= drain(peer, buffer, stuffed < sizeof buffer ? stuffed : sizeof buffer);
    }
    turn(2);
    assert_int_equal(watched.stream.output_size, 0);
    assert_int_equal(watched.stream.records, 1);
    assert_int_equal(watched.stream.blocked_at, 0);
    assert_int_equal(drain(peer, buffer, sizeof buffer), 2000);
    stream_close(&watched.stream);
    close(peer);
}

static void what_has_no_room_makes_room(void **state)
{
    (void)state;
    struct watched watched = {0};
    int peer = accept_pair(&watched);
    stream_limit_output(&watched.stream, 30000);
    for (unsigned i = 0; i < 4; i++) {
        make_message(buffer, 20000);
        assert_int_equal(stream_send(&watched.stream, span_of(buffer, 20000)), 0);
        assert_int_equal(watched.stream.output_size, 20002);
        assert_int_equal(drain(peer, buffer, sizeof buffer), i == 0 ? 0 : 20002);
    }
    turn(1);
    assert_int_equal(drain(peer, buffer, sizeof buffer), 20002);
    stream_close(&watched.stream);
    close(peer);
}

static void the_shops_blocks_bound_all(void **state)
{
    (void)state;
    struct watched watched = {0}, other = {0};
    int peer = accept_pair(&watched), other_peer = accept_pair(&other);
    stream_limit_output(&watched.stream, SIZE_MAX);
    stuff(&watched);
    make_message(buffer, 20000);
    int error = 0;
    size_t sent = 0;
    while ((error = stream_send(&watched.stream, span_of(buffer, 20000))) == 0) {
        sent++;
    }
    assert_int_equal(error, ERROR_EXHAUSTED);
    assert_int_equal(watched.stream.output_size, sent * 20002);
    while (stream_send(&watched.stream, span_of(buffer, 12)) == 0) {}
    size_t total = make_frame(buffer, 100);
    push(other_peer, buffer, total);
    turn(1);
    assert_int_equal(other.messages, 1);
    stream_close(&watched.stream);
    stream_close(&other.stream);
    close(peer);
    close(other_peer);
}

static void no_block_for_a_part_ends_the_stream(void **state)
{
    (void)state;
    struct watched watched = {0};
    int peer = accept_pair(&watched);
    void *held[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        held[i] = slab_take(&shop.blocks);
    }
    push(peer, buffer, make_frame(buffer, 100) - 1);
    turn(1);
    assert_int_equal(watched.error, ERROR_EXHAUSTED);
    for (unsigned i = 0; i < BLOCKS; i++) {
        slab_give(&shop.blocks, held[i]);
    }
    close(peer);
}

static void a_slow_reader_is_noticed(void **state)
{
    (void)state;
    struct watched watched = {0};
    int peer = accept_pair(&watched);
    int small = 4096;
    setsockopt(watched.stream.descriptor, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    make_message(buffer, 60000);
    assert_int_equal(stream_send(&watched.stream, span_of(buffer, 60000)), 0);
    turn(1);
    assert_true(watched.stream.output_size > 0);
    uint64_t since = watched.stream.blocked_at, marked_at = watched.stream.marked_at;
    assert_int_not_equal(since, 0);
    assert_int_not_equal(marked_at, 0);
    assert_int_equal(watched.stream.marked_size, watched.stream.output_size);
    size_t marked = watched.stream.marked_size;
    assert_int_equal(stream_send(&watched.stream, span_of(buffer, 1000)), 0);
    assert_int_equal(watched.stream.marked_size, marked);
    turn(3);
    assert_int_equal(watched.stream.blocked_at, since);
    size_t got = 0;
    for (unsigned i = 0; i < 1000 && got < 61004; i++) {
        got += drain(peer, buffer + got, sizeof buffer - got);
        turn(1);
        /* The mark stays until all that waited with it has left, and the next one tells of the rest. */
        if (watched.stream.output_size > 1002) {
            assert_int_equal(watched.stream.marked_at, marked_at);
            assert_int_equal(watched.stream.marked_size, watched.stream.output_size - 1002);
        } else if (watched.stream.output_size > 0) {
            assert_true(watched.stream.marked_at > marked_at);
        }
        assert_true(watched.stream.output_size == 0 || watched.stream.blocked_at > since);
    }
    assert_int_equal(got, 61004);
    assert_int_equal(watched.stream.blocked_at, 0);
    assert_int_equal(watched.stream.marked_at, 0);
    stream_close(&watched.stream);
    close(peer);
}

/* Shows: RFC7766-6.2.4 */
static void answers_leave_after_the_end(void **state)
{
    (void)state;
    struct watched watched = {0};
    int peer = accept_pair(&watched);
    size_t total = make_frame(buffer, 40);
    push(peer, buffer, total + 1);
    shutdown(peer, SHUT_WR);
    turn(3);
    assert_int_equal(watched.messages, 1);
    assert_int_equal(watched.ended, 1);
    assert_int_equal(watched.closed, 0);
    assert_int_equal(shop.blocks.taken, 0);
    make_message(buffer, 40);
    assert_int_equal(stream_send(&watched.stream, span_of(buffer, 40)), 0);
    turn(1);
    assert_int_equal(drain(peer, buffer, sizeof buffer), 42);
    stream_close(&watched.stream);
    close(peer);
}

static void callbacks_may_close(void **state)
{
    (void)state;
    for (unsigned at = 1; at <= 3; at++) {
        struct watched watched = {.echo = true, .close_at = at, .reuse = true};
        int peer = accept_pair(&watched);
        size_t total = 0;
        for (unsigned i = 0; i < 3; i++) {
            total += make_frame(buffer + total, 50);
        }
        push(peer, buffer, total + 1);
        turn(3);
        assert_int_equal(watched.messages, at);
        assert_int_equal(watched.closed, 0);
        assert_int_equal(drain(peer, buffer, sizeof buffer), 52 * at);
        close(peer);
    }
    struct watched watched = {.close_at_end = true};
    close(accept_pair(&watched));
    turn(3);
    assert_int_equal(watched.ended, 1);
    stream_close(&watched.stream);
}

static void a_pause_keeps_what_is_in_hand(void **state)
{
    (void)state;
    struct watched watched = {.pause = true};
    int peer = accept_pair(&watched);
    size_t total = 0;
    for (unsigned i = 0; i < 100; i++) {
        total += make_frame(buffer + total, 12 + i * 3);
    }
    push(peer, buffer, total);
    shutdown(peer, SHUT_WR);
    for (unsigned i = 1; i <= 100; i++) {
        turn(2);
        assert_int_equal(watched.messages, i);
        assert_int_equal(watched.stream.partial_at, 0);
        assert_int_equal(watched.ended, 0);
        stream_resume(&watched.stream);
        assert_int_equal(watched.messages, i);
    }
    turn(2);
    assert_false(watched.wrong);
    assert_int_equal(watched.ended, 1);
    stream_close(&watched.stream);
    close(peer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, check_world)
    const struct CMUnitTest tests[] = {
        TEST(frames_are_cut_at_every_byte),
        TEST(a_message_may_drip),
        TEST(many_messages_come_in_one_segment),
        TEST(the_biggest_message_passes_both_ways),
        TEST(short_lengths_end_the_stream),
        TEST(output_is_bounded),
        TEST(what_has_no_room_makes_room),
        TEST(the_shops_blocks_bound_all),
        TEST(no_block_for_a_part_ends_the_stream),
        TEST(a_slow_reader_is_noticed),
        TEST(answers_leave_after_the_end),
        TEST(callbacks_may_close),
        TEST(a_pause_keeps_what_is_in_hand),
        TEST(a_reset_is_told_at_the_end_of_the_turn),
        TEST(a_connection_opens_and_sends_what_waits),
        TEST(every_reason_has_a_word),
        TEST(a_refused_connection_is_told),
        TEST(accepted_streams_leave_blocks_to_those_that_connect),
        TEST(messages_leave_in_one_record),
        TEST(a_big_message_passes_tls_both_ways),
        TEST(a_stranger_hears_nothing),
        TEST(resumption_is_told),
        TEST(many_records_are_read_over_turns),
        TEST(a_close_notify_is_an_end),
        TEST(a_bare_end_is_an_error),
        TEST(a_slow_tls_reader_is_written_later),
        TEST(tls_messages_are_cut_at_every_byte),
        TEST(a_stream_may_close_when_it_opens),
        TEST(garbage_ends_the_handshake),
        TEST(a_pause_holds_what_the_library_holds),
    };
    return cmocka_run_group_tests_name("stream", tests, open_world, close_world);
}
