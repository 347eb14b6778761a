/*
 * What all kinds of sockets need: making and binding them, local packets with descriptors along, and two
 * questions to the kernel. The monitor binds with this, every room above closes with it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

#include "net/internal.h"

enum { LOCAL_BACKLOG = 16, PASSED_MAX = 4, ROUTE_PORT = 53 };

/* Room for one descriptor to send. More may come in; those are closed. */
union control {
    struct cmsghdr head;
    uint8_t bytes[CMSG_SPACE(PASSED_MAX * sizeof(int))];
};

static int close_failed(int descriptor, int error)
{
    close(descriptor);
    return error;
}

int net_set_option(int descriptor, int level, int option, int value)
{
    return setsockopt(descriptor, level, option, &value, sizeof value) == 0 ? 0 : error_from_errno(errno);
}

int net_socket(int family, int type, int *descriptor)
{
    int made = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0) {
        return error_from_errno(errno);
    }
    if (family == AF_INET6) {
        int failed = net_set_option(made, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        if (failed) {
            return close_failed(made, failed);
        }
    }
    *descriptor = made;
    return 0;
}

int net_socket_bound(const struct address *local, int type, bool share, int *descriptor)
{
    int made = -1;
    int failed = net_socket(local->family, type, &made);
    if (failed) {
        return failed;
    }
    if (type == SOCK_STREAM) {
        /* Connections of an earlier process that linger must not keep the next from listening. */
        failed = net_set_option(made, SOL_SOCKET, SO_REUSEADDR, 1);
    }
    if (!failed && share) {
        failed = net_set_option(made, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (failed) {
        return close_failed(made, failed);
    }
    struct sockaddr_storage kernel;
    socklen_t size = address_to_kernel(local, &kernel);
    if (bind(made, (struct sockaddr *)&kernel, size) != 0) {
        return close_failed(made, error_from_errno(errno));
    }
    *descriptor = made;
    return 0;
}

int net_local_address(int descriptor, struct address *out)
{
    struct sockaddr_storage kernel;
    socklen_t size = sizeof kernel;
    if (getsockname(descriptor, (struct sockaddr *)&kernel, &size) != 0) {
        return error_from_errno(errno);
    }
    address_from_kernel((struct sockaddr *)&kernel, out);
    return 0;
}

/* ---- sockets of somebody else's ---- */

int net_never_block(int descriptor)
{
    int flags = fcntl(descriptor, F_GETFL);
    bool done = flags >= 0 && fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0;
    return done ? 0 : error_from_errno(errno);
}

/* -1 where it has no such option, and where it is no socket. */
static int option_of(int descriptor, int level, int option)
{
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(descriptor, level, option, &value, &size) == 0 ? value : -1;
}

static bool is_served(int descriptor, int protocol)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    if (protocol == IPPROTO_TCP) {
        return option_of(descriptor, SOL_SOCKET, SO_ACCEPTCONN) == 1;
    }
    return protocol == IPPROTO_UDP && getpeername(descriptor, (struct sockaddr *)&peer, &size) != 0;
}

int net_served(int descriptor, struct net_served *out)
{
    int family = option_of(descriptor, SOL_SOCKET, SO_DOMAIN);
    int protocol = option_of(descriptor, SOL_SOCKET, SO_PROTOCOL);
    struct address local = {0};
    if ((family != AF_INET && family != AF_INET6) || !is_served(descriptor, protocol) ||
        net_local_address(descriptor, &local) != 0) {
        return ERROR_UNSUPPORTED;
    }
    /* An IPv6 socket may be bound to an IPv4 address, and then speaks neither tongue. */
    if (local.port == 0 || local.family != family) {
        return ERROR_UNSUPPORTED;
    }
    bool both =
        family == AF_INET6 && address_is_any(&local) && option_of(descriptor, IPPROTO_IPV6, IPV6_V6ONLY) != 1;
    *out = (struct net_served){.address = local, .udp = protocol == IPPROTO_UDP, .takes_ipv4 = both};
    return 0;
}

/* ---- local sockets ---- */

static int local_name(const char *path, struct sockaddr_un *out)
{
    size_t size = strlen(path);
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (size == 0 || size >= sizeof out->sun_path) {
        return ERROR_RANGE;
    }
    memcpy(out->sun_path, path, size);
    return 0;
}

/* Removes a socket that a dead process left behind; anything else at this path is somebody's. */
static int remove_stale(const struct sockaddr_un *name)
{
    struct stat status;
    int probe = -1;
    if (lstat(name->sun_path, &status) != 0) {
        return errno == ENOENT ? 0 : error_from_errno(errno);
    }
    if (!S_ISSOCK(status.st_mode)) {
        return ERROR_ADDRESS_IN_USE;
    }
    int failed = net_socket(AF_UNIX, SOCK_SEQPACKET, &probe);
    if (failed) {
        return failed;
    }
    int refused = connect(probe, (const struct sockaddr *)name, sizeof *name) != 0 && errno == ECONNREFUSED;
    close(probe);
    if (!refused) {
        return ERROR_ADDRESS_IN_USE;
    }
    return unlink(name->sun_path) == 0 ? 0 : error_from_errno(errno);
}

int net_local_listen(const char *path, int *descriptor)
{
    struct sockaddr_un name;
    int made = -1;
    int failed = local_name(path, &name);
    if (!failed) {
        failed = remove_stale(&name);
    }
    if (!failed) {
        failed = net_socket(AF_UNIX, SOCK_SEQPACKET, &made);
    }
    if (failed) {
        return failed;
    }
    /* The file takes the socket's mode when it is bound, so that there is no moment at which others may
     * connect. */
    if (fchmod(made, S_IRUSR | S_IWUSR) != 0 ||
        bind(made, (const struct sockaddr *)&name, sizeof name) != 0 || listen(made, LOCAL_BACKLOG) != 0) {
        return close_failed(made, error_from_errno(errno));
    }
    *descriptor = made;
    return 0;
}

int net_local_accept(int listener, int *descriptor)
{
    int made = -1;
    do {
        made = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (made < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (made < 0) {
        return error_from_errno(errno);
    }
    *descriptor = made;
    return 0;
}

int net_local_connect(const char *path, int *descriptor)
{
    struct sockaddr_un name;
    int made = -1;
    int failed = local_name(path, &name);
    if (!failed) {
        failed = net_socket(AF_UNIX, SOCK_SEQPACKET, &made);
    }
    if (failed) {
        return failed;
    }
    int outcome;
    do {
        outcome = connect(made, (const struct sockaddr *)&name, sizeof name);
    } while (outcome != 0 && errno == EINTR);
    if (outcome != 0) {
        return close_failed(made, error_from_errno(errno));
    }
    *descriptor = made;
    return 0;
}

int net_local_pair(int descriptor[2])
{
    int made[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, made) != 0) {
        return error_from_errno(errno);
    }
    memcpy(descriptor, made, sizeof made);
    return 0;
}

static int local_error(int number)
{
    switch (number) {
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return ERROR_CLOSED;
    case EMSGSIZE:
        return ERROR_SPACE;
    default:
        return error_from_errno(number);
    }
}

int net_local_send(int descriptor, struct span packet, int passed)
{
    assert(packet.size > 0); /* an empty packet looks like the end */
    struct iovec part = {.iov_base = (void *)(uintptr_t)packet.data, .iov_len = packet.size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union control control = {0};
    if (passed >= 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof passed);
        control.head = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof passed), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &passed, sizeof passed);
    }
    ssize_t sent;
    do {
        sent = sendmsg(descriptor, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? local_error(errno) : 0;
}

/* The first descriptor that came along, or -1; the others are closed, so that a peer cannot fill our table.
 */
static int take_passed(struct msghdr *message)
{
    int first = -1;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at != NULL; at = CMSG_NXTHDR(message, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(at) + i * sizeof descriptor, sizeof descriptor);
            if (first < 0) {
                first = descriptor;
            } else {
                close(descriptor);
            }
        }
    }
    return first;
}

int net_local_receive(int descriptor, uint8_t *out, size_t size, int *passed)
{
    struct iovec part = {.iov_base = out, .iov_len = size};
    union control control = {0};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t received;
    if (passed != NULL) {
        *passed = -1;
    }
    do {
        received = recvmsg(descriptor, &message, MSG_CMSG_CLOEXEC);
    } while (received < 0 && errno == EINTR);
    if (received < 0) {
        return local_error(errno);
    }
    int came = take_passed(&message);
    bool cut = message.msg_flags & MSG_TRUNC;
    if (passed != NULL && !cut) {
        *passed = came;
    } else {
        net_close(came);
    }
    return cut ? ERROR_SPACE : (int)received;
}

/* ---- small things ---- */

int net_replace(int descriptor, int by)
{
    return dup3(by, descriptor, O_CLOEXEC) < 0 ? error_from_errno(errno) : 0;
}

bool net_has_route(const struct address *remote)
{
    struct sockaddr_storage kernel;
    struct address target = *remote;
    int probe = -1;
    if (target.port == 0) {
        target.port = ROUTE_PORT;
    }
    socklen_t size = address_to_kernel(&target, &kernel);
    if (net_socket(target.family, SOCK_DGRAM, &probe) != 0) {
        return false;
    }
    bool routed = connect(probe, (struct sockaddr *)&kernel, size) == 0;
    close(probe);
    return routed;
}

void net_close(int descriptor)
{
    if (descriptor >= 0) {
        close(descriptor); /* Linux has closed it even when a signal interrupts */
    }
}
