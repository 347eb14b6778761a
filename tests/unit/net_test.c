/* Sockets of all kinds, over loopback. */
#include "net_test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#include "net/net.h"

#include "cmocka.h"

static struct address address_of(const char *text)
{
    struct address address;
    assert_int_equal(address_parse(span_text(text), 0, &address), 0);
    return address;
}

static int udp(const char *text, struct address *bound)
{
    struct address local = address_of(text);
    size_t granted;
    int descriptor;
    assert_int_equal(net_udp_bind(&local, false, 1 << 20, &descriptor, &granted), 0);
    assert_int_equal(net_local_address(descriptor, bound), 0);
    assert_int_not_equal(bound->port, 0);
    assert_true(granted > 0);
    return descriptor;
}

static bool wait_for(int descriptor, short events)
{
    struct pollfd poll_of = {.fd = descriptor, .events = events};
    return poll(&poll_of, 1, 5000) == 1;
}

static int receive(struct net_udp_batch *batch, int descriptor, bool wildcard)
{
    assert_true(wait_for(descriptor, POLLIN));
    return net_udp_receive(batch, descriptor, wildcard);
}

static int option_of(int descriptor, int level, int option)
{
    int value = -1;
    socklen_t size = sizeof value;
    assert_int_equal(getsockopt(descriptor, level, option, &value, &size), 0);
    return value;
}

static bool has_ipv6(void)
{
    struct address loopback = address_of("::1");
    return net_has_route(&loopback);
}

/* ---- datagrams ---- */

/* Asks a wildcard socket at one of its addresses; the answer comes from there. */
static void check_answer_source(struct net_udp_batch *batch, const char *wildcard, const char *client_text,
                                const char *asked_text)
{
    struct address server_address, client_address, asked = address_of(asked_text);
    int server = udp(wildcard, &server_address), client = udp(client_text, &client_address);
    struct net_peer peer = {.remote = asked}, from;
    peer.remote.port = server_address.port;
    net_udp_push(batch, client, &peer, span_text("question"));
    assert_int_equal(net_udp_flush(batch, client), 0);
    assert_int_equal(receive(batch, server, true), 1);
    assert_true(span_equal(net_udp_datagram(batch, 0, &from), span_text("question")));
    assert_true(address_equal(&from.remote, &client_address));
    assert_true(address_same_host(&from.local, &asked));
    assert_int_not_equal(from.interface_index, 0);
    net_udp_push(batch, server, &from, span_text("answer"));
    assert_int_equal(net_udp_flush(batch, server), 0);
    assert_int_equal(receive(batch, client, false), 1);
    assert_true(span_equal(net_udp_datagram(batch, 0, &from), span_text("answer")));
    assert_true(address_equal(&from.remote, &peer.remote));
    assert_int_equal(from.local.family, AF_UNSPEC);
    assert_int_equal(net_udp_receive(batch, client, false), ERROR_AGAIN);
    net_close(server);
    net_close(client);
}

/* One batch serves sockets of all kinds in turn: lengths that the kernel cut down for one are whole for the
 * next. */
/* Shows: U01, RFC2181-4 */
static void test_udp_source(void **state)
{
    (void)state;
    struct net_udp_batch *batch;
    assert_int_equal(net_udp_batch_open(&batch), 0);
    check_answer_source(batch, "0.0.0.0", "127.0.0.1", "127.0.0.2");
    check_answer_source(batch, "0.0.0.0", "127.0.0.3", "127.0.0.1");
    if (has_ipv6()) {
        check_answer_source(batch, "::", "::1", "::1");
    }
    net_udp_batch_close(batch);
}

static void test_udp_batches(void **state)
{
    (void)state;
    enum { COUNT = 2 * NET_UDP_BATCH + 2 };
    struct net_udp_batch *batch;
    struct net_peer peer = {0}, from;
    struct address address;
    uint8_t bytes[NET_UDP_SEND_MAX];
    int server = udp("127.0.0.1", &peer.remote), client = udp("127.0.0.1", &address);
    assert_int_equal(net_udp_batch_open(&batch), 0);
    for (size_t i = 0; i < COUNT;
         i++) { /* shorter and shorter: old lengths and bytes must not shine through */
        memset(bytes, (int)i, sizeof bytes);
        net_udp_push(batch, client, &peer, span_of(bytes, sizeof bytes - 7 * i));
    }
    assert_int_equal(net_udp_flush(batch, client), 0);
    assert_int_equal(net_udp_flush(batch, client), 0);
    size_t seen = 0;
    for (int count; (count = receive(batch, server, false)) > 0 && seen < COUNT;) {
        assert_int_equal(count, COUNT - seen < NET_UDP_BATCH ? COUNT - seen : NET_UDP_BATCH);
        for (size_t i = 0; i < (size_t)count; i++, seen++) {
            struct span datagram = net_udp_datagram(batch, i, &from);
            assert_int_equal(datagram.size, sizeof bytes - 7 * seen);
            assert_int_equal(datagram.data[0], seen);
            assert_int_equal(datagram.data[datagram.size - 1], seen);
            assert_true(address_equal(&from.remote, &address));
        }
        if (seen == COUNT) {
            break;
        }
    }
    assert_int_equal(seen, COUNT);
    assert_int_equal(net_udp_receive(batch, server, false), ERROR_AGAIN);
    net_udp_batch_close(batch);
    net_close(server);
    net_close(client);
}

static void test_udp_too_long(void **state)
{
    (void)state;
    struct net_udp_batch *batch;
    struct net_peer from;
    struct address address;
    struct sockaddr_storage kernel;
    static uint8_t bytes[NET_UDP_RECEIVE_MAX + 1];
    int server = udp("127.0.0.1", &address), client = socket(AF_INET, SOCK_DGRAM, 0);
    socklen_t size = address_to_kernel(&address, &kernel);
    assert_int_equal(net_udp_batch_open(&batch), 0);
    for (size_t extra = 0; extra <= 1; extra++) {
        size_t length = NET_UDP_RECEIVE_MAX + extra;
        assert_int_equal(sendto(client, bytes, length, 0, (struct sockaddr *)&kernel, size), length);
        assert_int_equal(receive(batch, server, false), 1);
        assert_int_equal(net_udp_datagram(batch, 0, &from).size, extra == 0 ? length : 0);
    }
    net_udp_batch_close(batch);
    close(client);
    net_close(server);
}

static void test_udp_dropped(void **state)
{
    (void)state;
    struct net_udp_batch *batch;
    struct net_peer good = {0}, refused = {.remote = address_of("255.255.255.255:9")}, from;
    struct address address;
    int server = udp("127.0.0.1", &good.remote), client = udp("127.0.0.1", &address);
    int other = udp("127.0.0.1", &address);
    assert_int_equal(net_udp_batch_open(&batch), 0);
    net_udp_push(batch, client, &good, span_text("one"));
    net_udp_push(batch, client, &refused, span_text("lost")); /* broadcasting is not allowed to the socket */
    net_udp_push(batch, client, &good, span_text("two"));
    net_udp_push(batch, other, &good, span_text("three")); /* of another socket: the first three go at once */
    assert_int_equal(net_udp_flush(batch, client), 1);
    assert_int_equal(receive(batch, server, false), 2);
    assert_true(span_equal(net_udp_datagram(batch, 1, &from), span_text("two")));
    assert_int_equal(net_udp_flush(batch, other), 0);
    assert_int_equal(receive(batch, server, false), 1);
    net_udp_datagram(batch, 0, &from);
    assert_true(address_equal(&from.remote, &address));
    net_udp_batch_close(batch);
    net_close(server);
    net_close(client);
    net_close(other);
}

static void test_udp_earlier_error(void **state)
{
    (void)state;
    struct net_udp_batch *batch;
    struct address gone, address;
    struct sockaddr_storage kernel;
    int server = udp("127.0.0.1", &gone), client = udp("127.0.0.1", &address);
    net_close(server);
    assert_int_equal(connect(client, (struct sockaddr *)&kernel, address_to_kernel(&gone, &kernel)), 0);
    assert_int_equal(send(client, "x", 1, 0), 1);
    assert_true(wait_for(client, POLLIN));
    assert_int_equal(net_udp_batch_open(&batch), 0);
    assert_int_equal(net_udp_receive(batch, client, false), ERROR_AGAIN);
    net_udp_batch_close(batch);
    net_close(client);
}

static void test_udp_bind(void **state)
{
    (void)state;
    struct address address = address_of("127.0.0.1"), missing = address_of("203.0.113.77");
    size_t granted;
    int one, two, three = -1;
    assert_int_equal(net_udp_bind(&missing, false, 0, &three, &granted), ERROR_ADDRESS_MISSING);
    assert_int_equal(net_udp_bind(&address, true, 0, &one, &granted), 0);
    assert_int_equal(net_local_address(one, &address), 0);
    assert_int_equal(net_udp_bind(&address, true, 64 * 1024, &two, &granted), 0);
    assert_int_equal(granted, 64 * 1024);
    assert_int_equal(net_udp_bind(&address, false, 0, &three, &granted), ERROR_ADDRESS_IN_USE);
    assert_int_equal(three, -1);
    assert_int_equal(option_of(two, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_OMIT);
    assert_int_equal(option_of(two, IPPROTO_IP, IP_PKTINFO), 0);
    assert_int_equal(fcntl(two, F_GETFD), FD_CLOEXEC);
    assert_true(fcntl(two, F_GETFL) & O_NONBLOCK);
    net_close(one);
    net_close(two);
    net_close(-1);
    if (has_ipv6()) {
        one = udp("0.0.0.0", &address);
        struct address both = address_of("::");
        both.port = address.port; /* free, because IPv6 sockets take IPv6 only */
        assert_int_equal(net_udp_bind(&both, false, 0, &two, &granted), 0);
        assert_int_equal(option_of(two, IPPROTO_IPV6, IPV6_V6ONLY), 1);
        assert_int_equal(option_of(two, IPPROTO_IPV6, IPV6_MTU_DISCOVER), IPV6_PMTUDISC_OMIT);
        net_close(one);
        net_close(two);
    }
}

/* ---- streams ---- */

static void connect_pair(int pair[2], struct address *listening)
{
    struct address local = address_of("127.0.0.1"), remote, client;
    int listener;
    assert_int_equal(net_tcp_listen(&local, false, 8, &listener), 0);
    assert_int_equal(net_local_address(listener, listening), 0);
    assert_int_equal(net_tcp_accept(listener, &pair[1], &remote), ERROR_AGAIN);
    assert_int_equal(net_tcp_connect(listening, &pair[0]), 0);
    assert_true(wait_for(pair[0], POLLOUT));
    assert_int_equal(net_tcp_connected(pair[0]), 0);
    assert_true(wait_for(listener, POLLIN));
    assert_int_equal(net_tcp_accept(listener, &pair[1], &remote), 0);
    assert_int_equal(net_local_address(pair[0], &client), 0);
    assert_true(address_equal(&client, &remote));
    net_close(listener);
}

static void test_tcp(void **state)
{
    (void)state;
    struct address listening;
    uint8_t out[16];
    int pair[2];
    struct iovec parts[2] = {{.iov_base = "two", .iov_len = 3}, {.iov_base = "parts", .iov_len = 5}};
    connect_pair(pair, &listening);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(option_of(pair[i], IPPROTO_TCP, TCP_NODELAY), 1);
        assert_int_equal(fcntl(pair[i], F_GETFD), FD_CLOEXEC);
    }
    assert_int_equal(option_of(pair[1], SOL_SOCKET, SO_SNDBUF), 2 * 128 * 1024); /* the kernel doubles it */
    assert_int_equal(option_of(pair[1], SOL_SOCKET, SO_RCVBUF), 2 * 64 * 1024);
    assert_int_equal(option_of(pair[0], SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(net_tcp_read(pair[1], out, sizeof out), ERROR_AGAIN);
    assert_int_equal(net_tcp_write(pair[0], parts, 2), 8);
    assert_true(wait_for(pair[1], POLLIN));
    assert_int_equal(net_tcp_read(pair[1], out, sizeof out), 8);
    assert_memory_equal(out, "twoparts", 8);
    net_close(pair[0]);
    assert_true(wait_for(pair[1], POLLIN));
    assert_int_equal(net_tcp_read(pair[1], out, sizeof out), 0);
    assert_int_equal(net_tcp_write(pair[1], parts, 1), 3); /* answered by a reset */
    assert_true(wait_for(pair[1], POLLHUP));
    assert_int_equal(net_tcp_write(pair[1], parts, 1), ERROR_RESET); /* and no SIGPIPE */
    net_close(pair[1]);
}

static void test_tcp_full(void **state)
{
    (void)state;
    static uint8_t bytes[1 << 20];
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct address listening;
    int pair[2], written, rounds = 0;
    connect_pair(pair, &listening);
    while ((written = net_tcp_write(pair[0], &part, 1)) > 0 && rounds++ < 1000) {}
    assert_int_equal(written, ERROR_AGAIN);
    net_close(pair[0]);
    net_close(pair[1]);
}

static void test_tcp_refused(void **state)
{
    (void)state;
    struct address gone;
    int pair[2], descriptor;
    connect_pair(pair, &gone);
    net_close(pair[0]);
    net_close(pair[1]);
    int failed = net_tcp_connect(&gone, &descriptor);
    if (failed == 0) {
        assert_true(wait_for(descriptor, POLLOUT));
        failed = net_tcp_connected(descriptor);
        net_close(descriptor);
    }
    assert_int_equal(failed, ERROR_REFUSED);
}

static void test_tcp_listen_shared(void **state)
{
    (void)state;
    struct address address = address_of("127.0.0.1");
    int one, two, three;
    assert_int_equal(net_tcp_listen(&address, true, 8, &one), 0);
    assert_int_equal(net_local_address(one, &address), 0);
    assert_int_equal(net_tcp_listen(&address, true, 8, &two), 0);
    assert_int_equal(net_tcp_listen(&address, false, 8, &three), ERROR_ADDRESS_IN_USE);
    net_close(one);
    net_close(two);
}

/* Shows: O03 */
static void test_tcp_no_descriptors(void **state)
{
    (void)state;
    struct address local = address_of("127.0.0.1"), remote;
    struct rlimit old, none;
    int listener, client, accepted = -1, failed[2];
    assert_int_equal(net_tcp_listen(&local, false, 8, &listener), 0);
    assert_int_equal(net_local_address(listener, &local), 0);
    assert_int_equal(net_tcp_connect(&local, &client), 0);
    assert_true(wait_for(listener, POLLIN));
    getrlimit(RLIMIT_NOFILE, &old);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    failed[0] = net_tcp_accept(listener, &accepted, &remote);
    failed[1] = net_tcp_connect(&local, &accepted);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(failed[0], ERROR_DESCRIPTORS);
    assert_int_equal(failed[1], ERROR_DESCRIPTORS);
    assert_int_equal(net_tcp_accept(listener, &accepted, &remote), 0); /* it waited */
    net_close(accepted);
    net_close(client);
    net_close(listener);
}

/* ---- local packets ---- */

static char folder[64], path[96];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/net_test.XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/socket", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void test_local(void **state)
{
    (void)state;
    struct stat status;
    uint8_t out[16];
    int listener, other, client, server;
    assert_int_equal(net_local_connect(path, &client), ERROR_NOT_FOUND);
    assert_int_equal(net_local_listen(path, &listener), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(net_local_listen(path, &other), ERROR_ADDRESS_IN_USE);
    while (net_local_accept(listener, &server) == 0) { /* the probe of the second */
        net_close(server);
    }
    assert_int_equal(net_local_connect(path, &client), 0);
    assert_int_equal(net_local_accept(listener, &server), 0);
    assert_int_equal(net_local_accept(listener, &other), ERROR_AGAIN);
    assert_int_equal(net_local_receive(server, out, sizeof out, NULL), ERROR_AGAIN);
    assert_int_equal(net_local_send(client, span_text("one"), -1), 0);
    assert_int_equal(net_local_send(client, span_text("longer than the buffer"), -1), 0);
    assert_int_equal(net_local_send(client, span_text("two"), -1), 0);
    assert_int_equal(net_local_receive(server, out, sizeof out, NULL), 3);
    assert_int_equal(net_local_receive(server, out, sizeof out, NULL), ERROR_SPACE);
    assert_int_equal(net_local_receive(server, out, sizeof out, NULL), 3);
    assert_memory_equal(out, "two", 3);
    net_close(client);
    assert_int_equal(net_local_receive(server, out, sizeof out, NULL), 0);
    assert_int_equal(net_local_send(server, span_text("one"), -1), ERROR_CLOSED);
    net_close(server);
    net_close(listener);
    assert_int_equal(net_local_listen(path, &listener), 0); /* nobody listens at the old one any more */
    net_close(listener);
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(net_local_listen(path, &listener),
                     ERROR_ADDRESS_IN_USE); /* a file of somebody's stays */
    char long_path[200] = {0};
    memset(long_path, 'x', sizeof long_path - 1);
    assert_int_equal(net_local_listen(long_path, &listener), ERROR_RANGE);
}

static int lowest_free(void)
{
    int descriptor = dup(0);
    close(descriptor);
    return descriptor;
}

static void test_local_passed(void **state)
{
    (void)state;
    int pair[2], inner[2], passed = 7;
    uint8_t out[16];
    assert_int_equal(net_local_pair(pair), 0);
    assert_int_equal(net_local_pair(inner), 0);
    assert_int_equal(net_local_send(pair[0], span_text("plain"), -1), 0);
    assert_int_equal(net_local_receive(pair[1], out, sizeof out, &passed), 5);
    assert_int_equal(passed, -1);
    assert_int_equal(net_local_send(pair[0], span_text("take"), inner[0]), 0);
    assert_int_equal(net_local_receive(pair[1], out, sizeof out, &passed), 4);
    assert_int_equal(fcntl(passed, F_GETFD), FD_CLOEXEC);
    assert_int_equal(net_local_send(passed, span_text("through"), -1), 0);
    assert_int_equal(net_local_receive(inner[1], out, sizeof out, NULL), 7);
    net_close(passed);
    int before = lowest_free();
    assert_int_equal(net_local_send(pair[0], span_text("unwanted"), inner[0]), 0);
    assert_int_equal(net_local_receive(pair[1], out, sizeof out, NULL), 8);
    assert_int_equal(net_local_send(pair[0], span_text("cut"), inner[0]), 0);
    assert_int_equal(net_local_receive(pair[1], out, 1, &passed), ERROR_SPACE);
    assert_int_equal(passed, -1);
    assert_int_equal(lowest_free(), before); /* nothing leaked */
    for (int i = 0; i < 2; i++) {
        net_close(pair[i]);
        net_close(inner[i]);
    }
}

static void test_route(void **state)
{
    (void)state;
    struct address loopback = address_of("127.0.0.1"), nowhere = address_of("fe80::1");
    assert_true(net_has_route(&loopback));
    assert_false(net_has_route(&nowhere)); /* link-local without a link */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_udp_source),
        cmocka_unit_test(test_udp_batches),
        cmocka_unit_test(test_udp_too_long),
        cmocka_unit_test(test_udp_dropped),
        cmocka_unit_test(test_udp_earlier_error),
        cmocka_unit_test(test_udp_bind),
        cmocka_unit_test(test_tcp),
        cmocka_unit_test(test_tcp_full),
        cmocka_unit_test(test_tcp_refused),
        cmocka_unit_test(test_tcp_listen_shared),
        cmocka_unit_test(test_tcp_no_descriptors),
        cmocka_unit_test_setup_teardown(test_local, make_folder, remove_folder),
        cmocka_unit_test(test_local_passed),
        cmocka_unit_test(test_route),
        cmocka_unit_test(net_test_news_of_the_network),
        cmocka_unit_test(net_test_silence_of_a_path),
        cmocka_unit_test(net_test_path_of_no_connection),
        cmocka_unit_test(net_test_datagram_of_the_server_alone),
        cmocka_unit_test(net_test_datagram_of_before),
        cmocka_unit_test(net_test_datagram_refused),
        cmocka_unit_test(net_test_words_to_a_manager),
        cmocka_unit_test(net_test_words_never_wait),
        cmocka_unit_test(net_test_names_of_no_manager),
        cmocka_unit_test(net_test_sockets_that_can_be_served),
        cmocka_unit_test(net_test_descriptors_that_cannot_be_served),
        cmocka_unit_test(net_test_adopted_sockets),
    };
    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
