/* Streams that connect over TCP: opened, refused, reset. */
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

#include "stream_test.h"

static uint8_t buffer[4096];

static int connect_local(struct watched *watched, int listener, const struct address *address)
{
    assert_int_equal(stream_connect(&watched->stream, &shop, address, NULL, &handler), 0);
    return accept4(listener, NULL, NULL, SOCK_NONBLOCK);
}

void a_reset_is_told_at_the_end_of_the_turn(void **state)
{
    (void)state;
    struct address address;
    int listener = listen_local(&address);
    struct watched watched = {0};
    int peer = connect_local(&watched, listener, &address);
    turn(1);
    assert_int_equal(watched.opened, 1);
    struct linger now = {.l_onoff = 1};
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(peer);
    make_message(buffer, 40);
    assert_int_equal(stream_send(&watched.stream, span_of(buffer, 40)), 0);
    assert_int_equal(watched.closed, 0);
    turn(2);
    assert_int_equal(watched.closed, 1);
    assert_int_equal(watched.error, ERROR_RESET);
    assert_int_equal(stream_send(&watched.stream, span_of(buffer, 40)), ERROR_CLOSED);
    close(listener);
}

void a_connection_opens_and_sends_what_waits(void **state)
{
    (void)state;
    struct address address;
    int listener = listen_local(&address);
    struct watched watched = {0};
    assert_int_equal(stream_connect(&watched.stream, &shop, &address, NULL, &handler), 0);
    make_message(buffer, 40);
    assert_int_equal(stream_send(&watched.stream, span_of(buffer, 40)), 0);
    assert_int_equal(watched.opened, 0);
    assert_false(stream_is_open(&watched.stream));
    turn(2);
    assert_int_equal(watched.opened, 1);
    assert_true(stream_is_open(&watched.stream));
    int peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    assert_int_equal(drain(peer, buffer, sizeof buffer), 42);
    assert_string_equal(stream_version(&watched.stream), "");
    assert_null(stream_failure(&watched.stream));
    stream_close(&watched.stream);
    close(peer);
    close(listener);
}

void a_refused_connection_is_told(void **state)
{
    (void)state;
    struct address address;
    close(listen_local(&address));
    struct watched watched = {0};
    int error = stream_connect(&watched.stream, &shop, &address, NULL, &handler);
    turn(2);
    assert_int_equal(error ? error : watched.error, ERROR_REFUSED);
    assert_int_equal(watched.opened, 0);
    assert_int_equal(watched.closed, error ? 0 : 1);
    stream_close(&watched.stream);
}

void accepted_streams_leave_blocks_to_those_that_connect(void **state)
{
    (void)state;
    struct address address;
    int listener = listen_local(&address);
    struct watched client = {0}, server = {0};
    int client_peer = accept_pair(&client);
    int server_peer = connect_local(&server, listener, &address);
    turn(1);
    stream_limit_output(&client.stream, SIZE_MAX);
    make_message(buffer, 4000);
    while (stream_send(&client.stream, span_of(buffer, 4000)) == 0) {}
    for (unsigned i = 0; i < BLOCKS / 4; i++) {
        assert_int_equal(stream_send(&server.stream, span_of(buffer, 4000)), 0);
    }
    stream_close(&client.stream);
    stream_close(&server.stream);
    close(client_peer);
    close(server_peer);
    close(listener);
}

/* Shows: L06 */
void every_reason_has_a_word(void **state)
{
    (void)state;
    struct tls_failure failure = {.reason = TLS_REASON_EXPIRED};
    assert_string_equal(stream_reason_word(ERROR_TLS, &failure), "expired");
    assert_string_equal(stream_reason_word(ERROR_TLS, NULL), "tls");
    assert_string_equal(stream_reason_word(ERROR_REFUSED, NULL), "refused");
    assert_string_equal(stream_reason_word(ERROR_UNREACHABLE, NULL), "unreachable");
    assert_string_equal(stream_reason_word(ERROR_TIMEOUT, NULL), "timeout");
    assert_string_equal(stream_reason_word(ERROR_RESET, NULL), "reset");
    assert_string_equal(stream_reason_word(ERROR_CLOSED, NULL), "closed");
    assert_string_equal(stream_reason_word(ERROR_MALFORMED, NULL), "malformed");
    assert_string_equal(stream_reason_word(ERROR_DESCRIPTORS, NULL), "descriptors");
    assert_string_equal(stream_reason_word(ERROR_MEMORY, NULL), "memory");
    assert_string_equal(stream_reason_word(ERROR_EXHAUSTED, NULL), "memory");
    assert_string_equal(stream_reason_word(ERROR_PERMISSION, NULL), "forbidden");
    assert_string_equal(stream_reason_word(ERROR_SYSTEM, NULL), "failed");
    assert_non_null(strstr(stream_reason_hint("expired"), "clock of this machine"));
    assert_non_null(strstr(stream_reason_hint("a word of nobody"), "see the reason"));
}
