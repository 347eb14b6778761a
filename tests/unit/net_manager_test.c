/* What a service manager is told, and the sockets that it gives. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

#include "net/net.h"

#include "net_test.h"

/* ---- words ---- */

static int manager_at(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(manager >= 0);
    memcpy(name.sun_path, path, strlen(path));
    name.sun_path[0] = path[0] == '@' ? '\0' : path[0];
    assert_int_equal(bind(manager, (struct sockaddr *)&name, size), 0);
    return manager;
}

static void check_heard(int manager, const char *text, const struct stat *passed)
{
    union {
        struct cmsghdr head;
        uint8_t bytes[CMSG_SPACE(4 * sizeof(int))];
    } control;
    char room[64];
    struct iovec part = {.iov_base = room, .iov_len = sizeof room};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(manager, &message, MSG_DONTWAIT);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(room, text, strlen(text));
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (passed == NULL) {
        assert_null(head);
        return;
    }
    assert_int_equal(head->cmsg_len, CMSG_LEN(2 * sizeof(int)));
    for (unsigned i = 0; i < 2; i++) {
        int descriptor;
        struct stat status;
        memcpy(&descriptor, CMSG_DATA(head) + i * sizeof descriptor, sizeof descriptor);
        assert_int_equal(fstat(descriptor, &status), 0);
        assert_int_equal(status.st_ino, passed[i].st_ino);
        close(descriptor);
    }
}

static void speak_to(const char *path)
{
    int manager = manager_at(path), descriptor, pair[2];
    struct stat passed[2];
    assert_int_equal(net_notify_open(path, &descriptor), 0);
    assert_int_equal(fcntl(descriptor, F_GETFD), FD_CLOEXEC);
    assert_int_equal(net_notify_send(descriptor, span_text("READY=1"), NULL, 0), 0);
    check_heard(manager, "READY=1", NULL);
    assert_int_equal(net_local_pair(pair), 0);
    assert_int_equal(fstat(pair[0], &passed[0]), 0);
    assert_int_equal(fstat(pair[1], &passed[1]), 0);
    assert_int_equal(net_notify_send(descriptor, span_text("FDSTORE=1\nFDNAME=a"), pair, 2), 0);
    check_heard(manager, "FDSTORE=1\nFDNAME=a", passed);
    net_close(pair[0]);
    net_close(pair[1]);
    net_close(manager);
    assert_int_equal(net_notify_send(descriptor, span_text("STOPPING=1"), NULL, 0), ERROR_REFUSED);
    net_close(descriptor);
}

void net_test_words_to_a_manager(void **state)
{
    (void)state;
    char path[64], abstract[64];
    snprintf(path, sizeof path, "/tmp/dnseal-manager-%d", (int)getpid());
    snprintf(abstract, sizeof abstract, "@dnseal-manager-%d", (int)getpid());
    speak_to(path);
    unlink(path);
    speak_to(abstract);
}

/* Nobody reads: the words that find no room are refused, and come through once there is some. */
void net_test_words_never_wait(void **state)
{
    (void)state;
    enum { MOST = 100000 };
    char path[64], room[8];
    snprintf(path, sizeof path, "@dnseal-deaf-%d", (int)getpid());
    int manager = manager_at(path), descriptor, error = 0;
    assert_int_equal(net_notify_open(path, &descriptor), 0);
    for (unsigned i = 0; i < MOST && error == 0; i++) {
        error = net_notify_send(descriptor, span_text("WATCHDOG=1"), NULL, 0);
    }
    assert_int_equal(error, ERROR_AGAIN);
    while (recv(manager, room, sizeof room, MSG_DONTWAIT) > 0) {}
    assert_int_equal(net_notify_send(descriptor, span_text("WATCHDOG=1"), NULL, 0), 0);
    net_close(manager);
    net_close(descriptor);
}

void net_test_names_of_no_manager(void **state)
{
    (void)state;
    char long_name[200] = "/";
    int descriptor = -7;
    memset(long_name + 1, 'a', sizeof long_name - 2);
    assert_int_equal(net_notify_open("", &descriptor), ERROR_INVALID);
    assert_int_equal(net_notify_open("/", &descriptor), ERROR_INVALID);
    assert_int_equal(net_notify_open("@", &descriptor), ERROR_INVALID);
    assert_int_equal(net_notify_open("run/notify", &descriptor), ERROR_INVALID);
    assert_int_equal(net_notify_open("vsock:2:1234", &descriptor), ERROR_INVALID);
    assert_int_equal(net_notify_open(long_name, &descriptor), ERROR_RANGE);
    assert_int_equal(net_notify_open("/no/such/manager", &descriptor), ERROR_NOT_FOUND);
    assert_int_equal(net_notify_open("@dnseal-nobody-there", &descriptor), ERROR_REFUSED);
    assert_int_equal(descriptor, -7);
}

/* ---- sockets ---- */

/* As somebody else would make it: it may block, and goes on to programs. */
static int strange_socket(int family, int type, const char *at)
{
    struct address address;
    struct sockaddr_storage name;
    int made = socket(family, type, 0);
    assert_true(made >= 0);
    if (at != NULL) {
        assert_int_equal(address_parse(span_text(at), 0, &address), 0);
        socklen_t size = address_to_kernel(&address, &name);
        assert_int_equal(bind(made, (struct sockaddr *)&name, size), 0);
    }
    return made;
}

static void check_refused(int descriptor)
{
    struct net_served served;
    assert_int_equal(net_served(descriptor, &served), ERROR_UNSUPPORTED);
    net_close(descriptor);
}

void net_test_sockets_that_can_be_served(void **state)
{
    (void)state;
    struct net_served served;
    int udp = strange_socket(AF_INET, SOCK_DGRAM, "127.0.0.1:0");
    assert_int_equal(net_served(udp, &served), 0);
    assert_true(served.udp);
    assert_false(served.takes_ipv4);
    assert_int_not_equal(served.address.port, 0);
    net_close(udp);
    int tcp = strange_socket(AF_INET, SOCK_STREAM, "127.0.0.1:0");
    assert_int_equal(net_served(tcp, &served), ERROR_UNSUPPORTED); /* it does not listen yet */
    assert_int_equal(listen(tcp, 1), 0);
    assert_int_equal(net_served(tcp, &served), 0);
    assert_false(served.udp);
    net_close(tcp);
    int both = strange_socket(AF_INET6, SOCK_DGRAM, "[::]:0"), one = 1;
    assert_int_equal(net_served(both, &served), 0);
    assert_true(served.takes_ipv4);
    net_close(both);
    both = strange_socket(AF_INET6, SOCK_DGRAM, NULL);
    assert_int_equal(setsockopt(both, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one), 0);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    assert_int_equal(bind(both, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(net_served(both, &served), 0);
    assert_false(served.takes_ipv4);
    net_close(both);
}

void net_test_descriptors_that_cannot_be_served(void **state)
{
    (void)state;
    int connected = strange_socket(AF_INET, SOCK_DGRAM, "127.0.0.1:0");
    struct sockaddr_in peer = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(connected, (struct sockaddr *)&peer, sizeof peer), 0);
    check_refused(connected);
    int disguised = strange_socket(AF_INET6, SOCK_DGRAM, NULL);
    struct sockaddr_in6 name = {.sin6_family = AF_INET6,
                                .sin6_addr.s6_addr = {[10] = 0xff, 0xff, 127, 0, 0, 1}};
    assert_int_equal(bind(disguised, (struct sockaddr *)&name, sizeof name), 0);
    check_refused(disguised);
    check_refused(strange_socket(AF_INET, SOCK_DGRAM, NULL)); /* not bound */
    check_refused(strange_socket(AF_UNIX, SOCK_STREAM, NULL));
    check_refused(open("/dev/null", O_RDWR | O_CLOEXEC));
    check_refused(-1);
}

/* What an adopted socket needs is what one of our own has. */
void net_test_adopted_sockets(void **state)
{
    (void)state;
    size_t granted = 0;
    int udp = strange_socket(AF_INET, SOCK_DGRAM, "0.0.0.0:0"), value = 0;
    socklen_t size = sizeof value;
    assert_int_equal(net_udp_adopt(udp, 1 << 16, &granted), 0);
    assert_true(granted >= 1 << 16);
    assert_true(fcntl(udp, F_GETFL) & O_NONBLOCK);
    assert_int_equal(getsockopt(udp, IPPROTO_IP, IP_PKTINFO, &value, &size), 0);
    assert_int_equal(value, 1);
    assert_int_equal(getsockopt(udp, IPPROTO_IP, IP_MTU_DISCOVER, &value, &size), 0);
    assert_int_equal(value, IP_PMTUDISC_OMIT);
    net_close(udp);
    int tcp = strange_socket(AF_INET, SOCK_STREAM, "127.0.0.1:0"), descriptor;
    struct address remote;
    assert_int_equal(listen(tcp, 1), 0);
    assert_int_equal(net_tcp_adopt(tcp), 0);
    assert_int_equal(net_tcp_accept(tcp, &descriptor, &remote), ERROR_AGAIN);
    assert_int_equal(getsockopt(tcp, SOL_SOCKET, SO_SNDBUF, &value, &size), 0);
    assert_int_equal(value, 2 * 128 * 1024);
    net_close(tcp);
    assert_true(net_udp_adopt(-1, 0, &granted) < 0);
    assert_true(net_tcp_adopt(-1) < 0);
}
