/* What the files of this room share: making a socket, and the options that both kinds of it get. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include "net/net.h"

/* A non-blocking socket that is closed on exec, for addresses of the family (IPv6 sockets take IPv6 only). */
int net_socket(int family, int type, int *descriptor);

/* The same, bound. */
int net_socket_bound(const struct address *local, int type, bool share, int *descriptor);

/* For a descriptor of somebody else's: what net_socket does for ours. */
int net_never_block(int descriptor);

/* Path MTU discovery of a UDP socket: see net_udp_bind. */
int net_udp_limit_path(int descriptor, int family);

/* Sets an option that has an int for its value. */
int net_set_option(int descriptor, int level, int option, int value);

#endif
