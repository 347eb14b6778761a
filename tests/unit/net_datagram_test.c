/* Sockets that hear one server alone, over loopback. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <netinet/in.h>
#include <poll.h>

#include "base/error.h"

#include "net/net.h"

#include "net_test.h"

enum { PORT_DRAWS = 100 };

static struct net_udp_batch *batch;

static int server_at(const char *text, struct address *bound)
{
    struct address local;
    size_t granted;
    int descriptor;
    assert_int_equal(address_parse(span_text(text), 0, &local), 0);
    assert_int_equal(net_udp_bind(&local, false, 1 << 16, &descriptor, &granted), 0);
    assert_int_equal(net_local_address(descriptor, bound), 0);
    return descriptor;
}

/* Some port is free. */
static int asker_of(const struct address *server, uint16_t *port)
{
    for (unsigned draw = 0; draw < PORT_DRAWS; draw++) {
        int descriptor;
        *port = (uint16_t)(40000 + draw * 97);
        int error = net_datagram_open(server, *port, &descriptor);
        if (error == 0) {
            return descriptor;
        }
        assert_int_equal(error, ERROR_ADDRESS_IN_USE);
    }
    fail_msg("no port is free");
    return -1;
}

static bool wait_for(int descriptor)
{
    struct pollfd poll_of = {.fd = descriptor, .events = POLLIN};
    return poll(&poll_of, 1, 5000) == 1;
}

static void answer_from(int descriptor, const struct net_peer *peer, const char *text)
{
    net_udp_push(batch, descriptor, peer, span_text(text));
    assert_int_equal(net_udp_flush(batch, descriptor), 0);
}

static void ask_and_hear(const char *where, const char *elsewhere)
{
    struct address server, other;
    int far = server_at(where, &server), stranger = server_at(elsewhere, &other);
    uint16_t port;
    int near = asker_of(&server, &port);
    uint8_t room[16];
    struct net_peer peer;
    assert_int_equal(net_udp_batch_open(&batch), 0);
    assert_int_equal(net_datagram_receive(near, &server, room, sizeof room), ERROR_AGAIN);
    assert_int_equal(net_datagram_send(near, span_text("question")), 0);
    assert_true(wait_for(far));
    assert_int_equal(net_udp_receive(batch, far, false), 1);
    assert_int_equal(net_udp_datagram(batch, 0, &peer).size, 8);
    assert_int_equal(peer.remote.port, port);
    answer_from(stranger, &peer, "forged");
    answer_from(far, &peer, "answer, too long for the room");
    assert_true(wait_for(near));
    assert_int_equal(net_datagram_receive(near, &server, room, sizeof room), sizeof room);
    assert_memory_equal(room, "answer, too long", sizeof room);
    assert_int_equal(net_datagram_receive(near, &server, room, sizeof room), ERROR_AGAIN);
    net_close(near);
    net_close(far);
    net_close(stranger);
    net_udp_batch_close(batch);
}

/* Shows: RFC5452-9 */
void net_test_datagram_of_the_server_alone(void **state)
{
    (void)state;
    ask_and_hear("127.0.0.1:0", "127.0.0.1:0"); /* another port */
    ask_and_hear("127.0.0.1:0", "127.0.0.2:0"); /* another address */
    ask_and_hear("[::1]:0", "[::1]:0");
}

/* What came between bind and connect. */
void net_test_datagram_of_before(void **state)
{
    (void)state;
    struct address server, other;
    int far = server_at("127.0.0.1:0", &server), stranger = server_at("127.0.0.1:0", &other);
    uint16_t port;
    int near = asker_of(&other, &port);
    uint8_t room[16];
    struct net_peer peer = {.remote = {.family = AF_INET, .port = port, .bytes = {127, 0, 0, 1}}};
    assert_int_equal(net_udp_batch_open(&batch), 0);
    answer_from(stranger, &peer, "forged");
    assert_true(wait_for(near));
    assert_int_equal(net_datagram_receive(near, &server, room, sizeof room), ERROR_AGAIN);
    net_close(near);
    net_close(far);
    net_close(stranger);
    net_udp_batch_close(batch);
}

void net_test_datagram_refused(void **state)
{
    (void)state;
    struct address server;
    uint16_t port;
    uint8_t room[16];
    int far = server_at("127.0.0.1:0", &server), near = asker_of(&server, &port);
    net_close(far);
    assert_int_equal(net_datagram_send(near, span_text("question")), 0);
    assert_true(wait_for(near));
    assert_int_equal(net_datagram_receive(near, &server, room, sizeof room), ERROR_REFUSED);
    int second;
    assert_int_equal(net_datagram_open(&server, port, &second), ERROR_ADDRESS_IN_USE);
    net_close(near);
}
