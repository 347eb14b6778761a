/*
 * Streams. The front doors listen and accept with this, the links of the back door connect; reading and
 * writing is one system call each and never waits.
 */
#include <errno.h>
#include <limits.h>
#include <linux/tcp.h> /* the C library's has an older struct tcp_info */
#include <netinet/in.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "net/internal.h"

/* What the kernel may hold for one client on its own account, besides what it adds for its books: without a
 * bound it would be megabytes for each that does not read. */
enum { CLIENT_SEND_BUFFER = 128 * 1024, CLIENT_RECEIVE_BUFFER = 64 * 1024 };

enum { KEEPALIVE_IDLE = 30, KEEPALIVE_INTERVAL = 10, KEEPALIVE_PROBES = 3 }; /* seconds, and a count */

/* Accepted sockets inherit it. */
static int bound_buffers(int descriptor)
{
    int failed = net_set_option(descriptor, SOL_SOCKET, SO_SNDBUF, CLIENT_SEND_BUFFER);
    return failed ? failed : net_set_option(descriptor, SOL_SOCKET, SO_RCVBUF, CLIENT_RECEIVE_BUFFER);
}

int net_tcp_listen(const struct address *local, bool share, int backlog, int *descriptor)
{
    int made;
    int failed = net_socket_bound(local, SOCK_STREAM, share, &made);
    if (failed) {
        return failed;
    }
    failed = bound_buffers(made);
    if (failed == 0 && listen(made, backlog) != 0) {
        failed = error_from_errno(errno);
    }
    if (failed) {
        close(made);
        return failed;
    }
    *descriptor = made;
    return 0;
}

int net_tcp_adopt(int descriptor)
{
    int failed = net_never_block(descriptor);
    return failed ? failed : bound_buffers(descriptor);
}

/* accept(2): errors of the network that belong to a connection which died in the queue. */
static bool died_in_queue(int number)
{
    switch (number) {
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
        return true;
    default:
        return false;
    }
}

int net_tcp_accept(int listener, int *descriptor, struct address *remote)
{
    struct sockaddr_storage kernel;
    int made;
    do {
        socklen_t size = sizeof kernel;
        made = accept4(listener, (struct sockaddr *)&kernel, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (made < 0 && died_in_queue(errno));
    if (made < 0) {
        return error_from_errno(errno);
    }
    (void)net_set_option(made, IPPROTO_TCP, TCP_NODELAY, 1); /* fails only when the peer has gone already */
    address_from_kernel((struct sockaddr *)&kernel, remote);
    *descriptor = made;
    return 0;
}

static int set_connection_options(int descriptor)
{
    static const struct {
        int level, option, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        int failed = net_set_option(descriptor, options[i].level, options[i].option, options[i].value);
        if (failed) {
            return failed;
        }
    }
    return 0;
}

int net_tcp_connect(const struct address *remote, int *descriptor)
{
    struct sockaddr_storage kernel;
    socklen_t size = address_to_kernel(remote, &kernel);
    int made;
    int failed = net_socket(remote->family, SOCK_STREAM, &made);
    if (failed) {
        return failed;
    }
    failed = set_connection_options(made);
    /* An interrupted connect goes on by itself, like one that is in progress. */
    if (!failed && connect(made, (struct sockaddr *)&kernel, size) != 0 && errno != EINPROGRESS &&
        errno != EINTR) {
        failed = error_from_errno(errno);
    }
    if (failed) {
        close(made);
        return failed;
    }
    *descriptor = made;
    return 0;
}

int net_tcp_connected(int descriptor)
{
    int number = 0;
    socklen_t size = sizeof number;
    if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &size) != 0) {
        number = errno;
    }
    return number == 0 ? 0 : error_from_errno(number);
}

void net_tcp_limit_silence(int descriptor, uint64_t limit)
{
    /* Only a comfort behind our own timers: a kernel that refuses it changes nothing. */
    (void)net_set_option(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)(limit / CLOCK_MILLISECOND));
}

int net_tcp_path(int descriptor, struct net_tcp_path *out)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
        return error_from_errno(errno);
    }
    *out = (struct net_tcp_path){
        .round_trip = info.tcpi_rtt * CLOCK_MICROSECOND,
        .silent_for = info.tcpi_last_ack_recv * CLOCK_MILLISECOND,
        .acknowledged = info.tcpi_bytes_acked,
        .unacknowledged = info.tcpi_unacked,
        .retransmits = info.tcpi_retransmits,
    };
    return 0;
}

int net_tcp_read(int descriptor, uint8_t *out, size_t size)
{
    ssize_t got;
    do {
        got = recv(descriptor, out, size < INT_MAX ? size : INT_MAX, 0);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? error_from_errno(errno) : (int)got;
}

int net_tcp_write(int descriptor, const struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    ssize_t sent;
    do {
        sent = sendmsg(descriptor, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? error_from_errno(errno) : (int)sent;
}
