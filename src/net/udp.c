/*
 * Datagrams in batches: one recvmmsg and one sendmmsg a turn. All the headers that the kernel wants are laid
 * out when the batch is opened; a turn writes only the lengths that change, and the pages of slots that were
 * never used are never touched. The front doors call this for every query.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"

#include "net/internal.h"

/* The destination of what is received and the source of what is sent, as ip(7) and ipv6(7) tell them. */
union control {
    struct cmsghdr head;
    uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct headers {
    struct mmsghdr messages[NET_UDP_BATCH];
    struct iovec parts[NET_UDP_BATCH];
    struct sockaddr_storage names[NET_UDP_BATCH];
    union control controls[NET_UDP_BATCH];
};

struct net_udp_batch {
    struct headers receive, send;
    size_t received; /* of the last receive: the slots whose lengths the kernel has changed */
    bool wildcard;   /* of the last receive */
    size_t pushed;
    int send_descriptor; /* of what was pushed */
    size_t dropped;      /* since a flush told it */
    uint8_t receive_data[NET_UDP_BATCH][NET_UDP_RECEIVE_MAX];
    uint8_t send_data[NET_UDP_BATCH][NET_UDP_SEND_MAX];
};

/* ---- binding ---- */

int net_udp_limit_path(int descriptor, int family)
{
    /* Neither fragments of ours nor a path MTU that somebody forged (RFC 9715 section 3.1). */
    int failed = family == AF_INET6
                     ? net_set_option(descriptor, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT)
                     : net_set_option(descriptor, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
    return failed == ERROR_INVALID || failed == ERROR_UNSUPPORTED ? 0 : failed; /* an old kernel */
}

static int destination_option(int descriptor, int family)
{
    return family == AF_INET6 ? net_set_option(descriptor, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                              : net_set_option(descriptor, IPPROTO_IP, IP_PKTINFO, 1);
}

static int no_error_queue_option(int descriptor, int family)
{
    return family == AF_INET6 ? net_set_option(descriptor, IPPROTO_IPV6, IPV6_RECVERR, 0)
                              : net_set_option(descriptor, IPPROTO_IP, IP_RECVERR, 0);
}

static int set_options(int descriptor, const struct address *local)
{
    int failed = net_udp_limit_path(descriptor, local->family);
    if (!failed) {
        failed = no_error_queue_option(descriptor, local->family);
    }
    if (!failed && address_is_any(local)) {
        failed = destination_option(descriptor, local->family);
    }
    return failed;
}

/* Asks for a buffer beyond the system's limit, else up to it. What was granted is told in the unit of the
 * wish: the kernel doubles it for its own needs (socket(7)). */
static size_t set_buffer(int descriptor, size_t wanted, int force, int plain)
{
    int value = wanted < INT_MAX / 2 ? (int)wanted : INT_MAX / 2;
    socklen_t size = sizeof value;
    if (wanted > 0 && net_set_option(descriptor, SOL_SOCKET, force, value) != 0) {
        (void)net_set_option(descriptor, SOL_SOCKET, plain, value);
    }
    return getsockopt(descriptor, SOL_SOCKET, plain, &value, &size) == 0 ? (size_t)value / 2 : 0;
}

static size_t set_buffers(int descriptor, size_t wanted)
{
    size_t receive = set_buffer(descriptor, wanted, SO_RCVBUFFORCE, SO_RCVBUF);
    size_t send = set_buffer(descriptor, wanted, SO_SNDBUFFORCE, SO_SNDBUF);
    return receive < send ? receive : send;
}

int net_udp_bind(const struct address *local, bool share, size_t buffer, int *descriptor, size_t *granted)
{
    int made;
    int failed = net_socket_bound(local, SOCK_DGRAM, share, &made);
    if (failed) {
        return failed;
    }
    failed = set_options(made, local);
    if (failed) {
        close(made);
        return failed;
    }
    *granted = set_buffers(made, buffer);
    *descriptor = made;
    return 0;
}

int net_udp_adopt(int descriptor, size_t buffer, size_t *granted)
{
    struct address local;
    int failed = net_local_address(descriptor, &local);
    if (!failed) {
        failed = net_never_block(descriptor);
    }
    if (!failed) {
        failed = set_options(descriptor, &local);
    }
    if (!failed) {
        *granted = set_buffers(descriptor, buffer);
    }
    return failed;
}

/* ---- the batch ---- */

static void prepare(struct headers *headers, uint8_t *data, size_t stride)
{
    for (size_t i = 0; i < NET_UDP_BATCH; i++) {
        headers->parts[i] = (struct iovec){.iov_base = data + i * stride, .iov_len = stride};
        headers->messages[i].msg_hdr = (struct msghdr){.msg_name = &headers->names[i],
                                                       .msg_namelen = sizeof headers->names[i],
                                                       .msg_iov = &headers->parts[i],
                                                       .msg_iovlen = 1,
                                                       .msg_control = &headers->controls[i],
                                                       .msg_controllen = sizeof headers->controls[i]};
    }
}

size_t net_udp_batch_memory(void)
{
    return sizeof(struct net_udp_batch);
}

int net_udp_batch_open(struct net_udp_batch **out)
{
    void *memory;
    int failed = memory_open(sizeof(struct net_udp_batch), &memory);
    if (failed) {
        return failed;
    }
    struct net_udp_batch *batch = memory;
    prepare(&batch->receive, batch->receive_data[0], NET_UDP_RECEIVE_MAX);
    prepare(&batch->send, batch->send_data[0], NET_UDP_SEND_MAX);
    *out = batch;
    return 0;
}

void net_udp_batch_close(struct net_udp_batch *batch)
{
    memory_close(batch, sizeof *batch);
}

/* ---- receiving ---- */

/* What an ICMP message about an earlier datagram of ours leaves on the socket. Reading it has taken it away.
 */
static bool is_of_earlier_send(int number)
{
    switch (number) {
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case EMSGSIZE:
    case EPROTO:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
        return true;
    default:
        return false;
    }
}

int net_udp_receive(struct net_udp_batch *batch, int descriptor, bool wildcard)
{
    struct headers *headers = &batch->receive;
    for (size_t i = 0; i < batch->received; i++) {
        headers->messages[i].msg_hdr.msg_namelen = sizeof headers->names[i];
        headers->messages[i].msg_hdr.msg_controllen = sizeof headers->controls[i];
    }
    batch->wildcard = wildcard;
    batch->received = 0;
    int skipped = 0, count;
    do {
        count = recvmmsg(descriptor, headers->messages, NET_UDP_BATCH, MSG_DONTWAIT, NULL);
    } while (count < 0 && (errno == EINTR || (is_of_earlier_send(errno) && skipped++ < NET_UDP_BATCH)));
    if (count < 0) {
        return is_of_earlier_send(errno) ? ERROR_AGAIN : error_from_errno(errno);
    }
    batch->received = (size_t)count;
    return count;
}

static void set_local(struct net_peer *peer, int family, const void *bytes, unsigned interface_index)
{
    struct sockaddr_storage kernel;
    if (family == AF_INET6) {
        struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_scope_id = interface_index};
        memcpy(&ipv6.sin6_addr, bytes, sizeof ipv6.sin6_addr);
        memcpy(&kernel, &ipv6, sizeof ipv6);
    } else {
        struct sockaddr_in ipv4 = {.sin_family = AF_INET};
        memcpy(&ipv4.sin_addr, bytes, sizeof ipv4.sin_addr);
        memcpy(&kernel, &ipv4, sizeof ipv4);
    }
    address_from_kernel((struct sockaddr *)&kernel, &peer->local);
    peer->interface_index = interface_index;
}

static void read_destination(const struct msghdr *message, struct net_peer *peer)
{
    const struct cmsghdr *control = CMSG_FIRSTHDR(message);
    if (control == NULL) {
        return;
    }
    if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo information;
        memcpy(&information, CMSG_DATA(control), sizeof information);
        /* Of ours: for a broadcast, ipi_addr would be no address to answer from. */
        set_local(peer, AF_INET, &information.ipi_spec_dst, (unsigned)information.ipi_ifindex);
    } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
        struct in6_pktinfo information;
        memcpy(&information, CMSG_DATA(control), sizeof information);
        set_local(peer, AF_INET6, &information.ipi6_addr, information.ipi6_ifindex);
    }
}

struct span net_udp_datagram(const struct net_udp_batch *batch, size_t i, struct net_peer *peer)
{
    assert(i < batch->received);
    const struct mmsghdr *message = &batch->receive.messages[i];
    *peer = (struct net_peer){0};
    address_from_kernel((const struct sockaddr *)&batch->receive.names[i], &peer->remote);
    if (batch->wildcard) {
        read_destination(&message->msg_hdr, peer);
    }
    return span_of(batch->receive_data[i], message->msg_hdr.msg_flags & MSG_TRUNC ? 0 : message->msg_len);
}

/* ---- sending ---- */

/* Writes the source to send from. The interface is left to the routes, except where the address means nothing
 * without it: an answer need not leave where its question came in. Returns the size. */
static size_t write_source(const struct address *local, union control *control)
{
    if (local->family == AF_INET) {
        struct in_pktinfo information = {0};
        memcpy(&information.ipi_spec_dst, local->bytes, sizeof information.ipi_spec_dst);
        control->head = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof information), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO};
        memcpy(CMSG_DATA(&control->head), &information, sizeof information);
        return CMSG_SPACE(sizeof information);
    }
    if (local->family == AF_INET6) {
        struct in6_pktinfo information = {.ipi6_ifindex = local->scope};
        memcpy(&information.ipi6_addr, local->bytes, sizeof information.ipi6_addr);
        control->head = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof information), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO};
        memcpy(CMSG_DATA(&control->head), &information, sizeof information);
        return CMSG_SPACE(sizeof information);
    }
    return 0;
}

static void send_pushed(struct net_udp_batch *batch)
{
    size_t done = 0;
    while (done < batch->pushed) {
        int sent = sendmmsg(batch->send_descriptor, batch->send.messages + done,
                            (unsigned)(batch->pushed - done), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            done += (size_t)sent;
        } else if (errno == EAGAIN || errno == ENOBUFS) {
            /* The socket is full: what is left would only be refused one by one. */
            batch->dropped += batch->pushed - done;
            break;
        } else if (errno != EINTR) {
            batch->dropped++;
            done++;
        }
    }
    batch->pushed = 0;
}

void net_udp_push(struct net_udp_batch *batch, int descriptor, const struct net_peer *peer,
                  struct span datagram)
{
    assert(datagram.size <= NET_UDP_SEND_MAX);
    if (batch->pushed == NET_UDP_BATCH || (batch->pushed > 0 && batch->send_descriptor != descriptor)) {
        send_pushed(batch);
    }
    size_t i = batch->pushed++;
    struct msghdr *message = &batch->send.messages[i].msg_hdr;
    batch->send_descriptor = descriptor;
    if (datagram.size > 0) {
        memcpy(batch->send_data[i], datagram.data, datagram.size);
    }
    batch->send.parts[i].iov_len = datagram.size;
    message->msg_namelen = address_to_kernel(&peer->remote, &batch->send.names[i]);
    message->msg_controllen = write_source(&peer->local, &batch->send.controls[i]);
}

size_t net_udp_flush(struct net_udp_batch *batch, int descriptor)
{
    if (batch->pushed > 0 && batch->send_descriptor == descriptor) {
        send_pushed(batch);
    }
    size_t dropped = batch->dropped;
    batch->dropped = 0;
    return dropped;
}
