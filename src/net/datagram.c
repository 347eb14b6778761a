/*
 * Sockets that ask one thing of one server, for the back door. Each has a port that its owner drew by chance,
 * so that whoever wants to forge an answer has to guess it (RFC 5452, section 4.5), and hears nobody but the
 * server.
 */
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/error.h"

#include "net/internal.h"

static int connect_to(int descriptor, const struct address *remote)
{
    struct sockaddr_storage kernel;
    socklen_t size = address_to_kernel(remote, &kernel);
    return connect(descriptor, (struct sockaddr *)&kernel, size) == 0 ? 0 : error_from_errno(errno);
}

int net_datagram_open(const struct address *remote, uint16_t port, int *descriptor)
{
    const struct address any = {.family = remote->family, .port = port};
    int made;
    int failed = net_socket_bound(&any, SOCK_DGRAM, false, &made);
    if (failed) {
        return failed;
    }
    failed = net_udp_limit_path(made, remote->family);
    if (!failed) {
        failed = connect_to(made, remote);
    }
    if (failed) {
        close(made);
        return failed;
    }
    *descriptor = made;
    return 0;
}

int net_datagram_send(int descriptor, struct span datagram)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)datagram.data, .iov_len = datagram.size};
    const struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t sent;
    do {
        sent = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? error_from_errno(errno) : 0;
}

int net_datagram_receive(int descriptor, const struct address *remote, uint8_t *out, size_t size)
{
    struct sockaddr_storage kernel;
    struct address sender;
    ssize_t got;
    do {
        struct iovec part = {.iov_base = out, .iov_len = size};
        struct msghdr message = {
            .msg_name = &kernel, .msg_namelen = sizeof kernel, .msg_iov = &part, .msg_iovlen = 1};
        got = recvmsg(descriptor, &message, MSG_DONTWAIT);
        if (got >= 0) {
            address_from_kernel((struct sockaddr *)&kernel, &sender);
        }
        /* Before it was connected the socket heard everybody. */
    } while ((got < 0 && errno == EINTR) || (got >= 0 && !address_equal(&sender, remote)));
    return got < 0 ? error_from_errno(errno) : (int)got;
}
