/*
 * Sockets: the only room with socket calls. Everything is non-blocking and closed on exec. Descriptors belong
 * to the caller; errors are of base/error.h.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/address.h"

/* ---- datagrams (udp.c) ---- */

enum { NET_UDP_BATCH = 64, NET_UDP_RECEIVE_MAX = 4096 + 512, NET_UDP_SEND_MAX = 1232 };

/* Where a datagram came from and to: what is needed to answer from the address that was asked. */
struct net_peer {
    struct address remote;
    struct address local; /* the address that was asked; AF_UNSPEC when the socket is bound to one address */
    unsigned interface_index; /* of `local`, 0 when not known */
};

/* Binds a UDP socket. With share, SO_REUSEPORT is set, so that each worker has one of its own. A wildcard
 * address asks the kernel for the destination of each datagram. IPv6 sockets take IPv6 only. Path MTU
 * discovery never makes fragments of what we send: IP_MTU_DISCOVER is set to IP_PMTUDISC_OMIT where there is
 * one. `buffer` is the size in bytes wanted for both socket buffers; `granted` tells the smaller of what the
 * kernel gave (SO_RCVBUFFORCE is tried first). ERROR_ADDRESS_IN_USE, ERROR_ADDRESS_MISSING, ERROR_PERMISSION,
 * ... */
int net_udp_bind(const struct address *local, bool share, size_t buffer, int *descriptor, size_t *granted);

/* Makes a UDP socket that somebody else has bound one like those: only whether it is shared stays as it is.
 */
int net_udp_adopt(int descriptor, size_t buffer, size_t *granted);

/* Datagrams on their way in or out. Opened once, used for every turn. */
struct net_udp_batch;

/* Memory for one receive and one send batch; the caller closes it. ERROR_MEMORY. */
int net_udp_batch_open(struct net_udp_batch **out);
size_t net_udp_batch_memory(void);
void net_udp_batch_close(struct net_udp_batch *batch);

/* Receives up to NET_UDP_BATCH datagrams in one call. Returns their number, ERROR_AGAIN when none waits,
 * other errors as they are (an ICMP error of an earlier send is not one: it is skipped). A datagram that was
 * longer than NET_UDP_RECEIVE_MAX has size 0. */
int net_udp_receive(struct net_udp_batch *batch, int descriptor, bool wildcard);

/* The i-th datagram of the last receive; valid until the next. */
struct span net_udp_datagram(const struct net_udp_batch *batch, size_t i, struct net_peer *peer);

/* Puts a datagram (at most NET_UDP_SEND_MAX bytes, copied) into the send batch of the descriptor. Sends the
 * batch first when it is full. */
void net_udp_push(struct net_udp_batch *batch, int descriptor, const struct net_peer *peer,
                  struct span datagram);

/* Sends what was pushed, in one sendmmsg where the kernel takes it all. A datagram that the kernel refuses is
 * dropped; the number of dropped ones is returned. */
size_t net_udp_flush(struct net_udp_batch *batch, int descriptor);

/* ---- datagrams to one server (datagram.c) ---- */

/* A UDP socket that is bound to the port and hears the server alone. Path MTU discovery as above.
 * ERROR_ADDRESS_IN_USE, ERROR_UNREACHABLE, ERROR_DESCRIPTORS, ... */
int net_datagram_open(const struct address *remote, uint16_t port, int *descriptor);

/* ERROR_REFUSED (an ICMP message about an earlier datagram), ERROR_UNREACHABLE, ERROR_AGAIN, ... */
int net_datagram_send(int descriptor, struct span datagram);

/* Size of the next datagram of the server; what is longer than `size` is cut. ERROR_AGAIN when none waits,
 * ERROR_REFUSED (an ICMP message), ... */
int net_datagram_receive(int descriptor, const struct address *remote, uint8_t *out, size_t size);

/* ---- streams (tcp.c) ---- */

/* A listening TCP socket, with the same meaning of share. What the kernel buffers for each connection that is
 * accepted from it is bounded. TCP_DEFER_ACCEPT is not set. */
int net_tcp_listen(const struct address *local, bool share, int backlog, int *descriptor);

/* Makes a listening TCP socket of somebody else's one like those; its backlog stays as it is. */
int net_tcp_adopt(int descriptor);

/* The next connection, TCP_NODELAY set. ERROR_AGAIN; ERROR_DESCRIPTORS when there is no descriptor left;
 * connections that died in the queue are skipped. */
int net_tcp_accept(int listener, int *descriptor, struct address *remote);

/* Begins to connect, TCP_NODELAY and keepalive set. 0 when it is under way or done: the socket becomes
 * writable. ERROR_REFUSED, ERROR_UNREACHABLE, ERROR_DESCRIPTORS, ... */
int net_tcp_connect(const struct address *remote, int *descriptor);

/* The outcome of net_tcp_connect once the socket is writable: 0 or its error. */
int net_tcp_connected(int descriptor);

/* How long written bytes may stay without acknowledgement, in nanoseconds, before the kernel gives the
 * connection up (TCP_USER_TIMEOUT). */
void net_tcp_limit_silence(int descriptor, uint64_t limit);

/* What the kernel knows of the way to the peer. */
struct net_tcp_path {
    uint64_t round_trip;     /* smoothed, nanoseconds */
    uint64_t silent_for;     /* since the last acknowledgement came, new or repeated, nanoseconds */
    uint64_t acknowledged;   /* bytes so far */
    unsigned unacknowledged; /* segments */
    unsigned retransmits;    /* timeouts in a row without a new acknowledgement */
};
int net_tcp_path(int descriptor, struct net_tcp_path *out);

/* Bytes read; 0 at the end of the stream; ERROR_AGAIN, ERROR_RESET, ... */
int net_tcp_read(int descriptor, uint8_t *out, size_t size);

/* Bytes written, which may be fewer than given; ERROR_AGAIN, ERROR_RESET, ... Never raises SIGPIPE. */
int net_tcp_write(int descriptor, const struct iovec *parts, int count);

/* ---- options and small things (option.c) ---- */

/* The address a socket is bound to. */
int net_local_address(int descriptor, struct address *out);

/* What a descriptor of somebody else's is, where it is one that this program can serve: a bound UDP socket
 * without a peer, or a listening TCP socket. ERROR_UNSUPPORTED for everything else. */
struct net_served {
    struct address address;
    bool udp;
    bool takes_ipv4; /* an IPv6 socket that takes IPv4 as well */
};
int net_served(int descriptor, struct net_served *out);

/* A listening or connected local (UNIX) socket of sequenced packets. The path's old socket is removed first
 * when nobody listens there; the file gets mode 0600. ERROR_ADDRESS_IN_USE when somebody does. */
int net_local_listen(const char *path, int *descriptor);
int net_local_accept(int listener, int *descriptor);
int net_local_connect(const char *path, int *descriptor);
/* Two ends of a channel between processes. */
int net_local_pair(int descriptor[2]);

/* One packet, with a descriptor along it when `passed` is not -1. ERROR_AGAIN, ERROR_CLOSED, ... */
int net_local_send(int descriptor, struct span packet, int passed);

/* Size of the packet received; 0 at the end. `passed` may be NULL (a descriptor that comes is closed) or
 * receives the descriptor or -1. */
int net_local_receive(int descriptor, uint8_t *out, size_t size, int *passed);

/* The first descriptor is another's from here on, at once for every thread; the second one stays as it is.
 * ERROR_SYSTEM, ... */
int net_replace(int descriptor, int by);

/* Whether the machine has a route to the address (a connected UDP socket; nothing is sent). */
bool net_has_route(const struct address *remote);

/* ---- words to a service manager (notify.c) ---- */

enum { NET_NOTIFY_PASSED_MAX = 16 };

/* A socket for datagrams to the name that NOTIFY_SOCKET holds: a path, or '@' and an abstract name.
 * ERROR_INVALID for anything else, ERROR_RANGE, ERROR_NOT_FOUND, ERROR_REFUSED, ... */
int net_notify_open(const char *name, int *descriptor);

/* One datagram, with copies of these descriptors along. ERROR_AGAIN where the manager has no room for it now.
 */
int net_notify_send(int descriptor, struct span text, const int *passed, size_t count);

/* Whether the manager has read all that was sent. */
bool net_notify_is_read(int descriptor);

/* ---- changes of the network (netlink.c) ---- */

/* A socket that becomes readable when addresses, links or routes of the machine change. ERROR_UNSUPPORTED,
 * ... */
int net_changes_open(int *descriptor);

/* Empties it. True when something changed that can matter to a connection: an address came or went, a link
 * came up or went down, a default route changed; and true when changes were lost. */
bool net_changes_read(int descriptor);

void net_close(int descriptor);

#endif
