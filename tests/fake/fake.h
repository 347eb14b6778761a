/*
 * The world behind the fake rooms: event, net, tls and stream, replaced at link time by files that keep the
 * exported symbols and do no input or output. A test holds the far end of every socket and turns the clock by
 * hand.
 *
 * There is one world a process, `fake`, since the calls of net have no context.
 */
#ifndef FAKE_FAKE_H
#define FAKE_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/list.h"

#include "event/event.h"
#include "net/net.h"
#include "tls/tls.h"

#include "stream/stream.h"

/* ---- bytes and datagrams on their way ---- */

struct fake_bytes {
    uint8_t *data;
    size_t size, capacity;
};

void fake_bytes_append(struct fake_bytes *bytes, struct span more);
void fake_bytes_drop(struct fake_bytes *bytes, size_t size);
void fake_bytes_free(struct fake_bytes *bytes);

struct fake_datagram {
    struct list node;
    struct net_peer peer;
    size_t size;
    uint8_t bytes[];
};

/* ---- connections ---- */

/* What becomes of a connection that is begun. */
enum fake_fate {
    FAKE_ACCEPT,
    FAKE_REFUSE,
    FAKE_UNREACHABLE, /* told at once, by the call */
    FAKE_SILENT,      /* TCP is never established */
    FAKE_STALL,       /* the handshake is never finished */
    FAKE_FAIL,        /* the handshake fails */
};

struct fake_server {
    struct address address;
    enum fake_fate fate;          /* of connections */
    enum fake_fate datagram_fate; /* FAKE_SILENT: they are lost */
    enum tls_reason reason;       /* of FAKE_FAIL */
    unsigned connects;            /* begun */
    bool undated;                 /* believed without a clock */
    bool vanished;                /* what is written to it is never acknowledged */
};

struct fake_connection {
    struct list node; /* in fake.connections or in fake.accepting */
    int descriptor;
    struct address remote;
    struct fake_server *server; /* NULL: a client's */
    enum fake_fate fate;
    struct tls_failure failure;
    bool open;                /* connected, and over TLS proven */
    bool closed;              /* by the program */
    struct fake_bytes in;     /* on their way to the program */
    bool looked;              /* it has seen all of them, and they are not a whole message */
    int end;                  /* behind them: 0 nothing, 1 the end, or an error */
    struct fake_bytes out;    /* what the far end has taken */
    struct fake_bytes unsent; /* what waits until the far end takes more */
    bool reads;               /* the far end takes what comes */
    size_t takes;             /* so many bytes more, although it does not read */
};

/* A UDP socket of the program's to a server. */
struct fake_socket {
    struct list node; /* in fake.sockets */
    int descriptor;
    struct fake_server *server;
    struct list coming; /* datagrams on their way to the program */
    struct list heard;  /* by the server */
    bool is_refused;    /* there is an ICMP message */
    bool closed;        /* by the program */
};

enum { FAKE_UDP = 3, FAKE_TCP = 4, FAKE_FIRST_CONNECTION = 16, FAKE_SERVERS_MAX = 8 };

struct fake_world {
    struct address local;    /* of both listening sockets */
    struct list datagrams;   /* towards the program */
    struct list answers;     /* from it */
    struct list accepting;   /* connections that wait for being accepted */
    struct list connections; /* all others, the oldest first */
    struct list sockets;
    int last_descriptor;
    bool descriptors_gone;
    size_t server_count;
    struct fake_server server[FAKE_SERVERS_MAX];
};

extern struct fake_world fake;

void fake_world_init(void);

/* Frees what is left of the world. */
void fake_world_fini(void);

/* ---- for the tests ---- */

/* Turns until nothing is left to do at this moment. False when that never comes: something spins. */
bool fake_event_settle(struct event_loop *loop);

/* Moves the clock, from timer to timer. False as above. */
bool fake_event_advance(struct event_loop *loop, uint64_t nanoseconds);

/* Timers, watches and after-work that are still there. */
size_t fake_event_leftovers(const struct event_loop *loop);

void fake_net_put(const struct net_peer *peer, struct span datagram);

/* Begins a connection of a client; the program accepts it in the next turn. */
struct fake_connection *fake_net_dial(const struct address *client);

/* Bytes of the far end. */
void fake_connection_send(struct fake_connection *connection, struct span bytes);

/* A datagram of the far end. */
void fake_socket_send(struct fake_socket *socket, struct span bytes);

/* ---- for the fakes among themselves ---- */

unsigned fake_net_readiness(int descriptor);
struct fake_connection *fake_connection_open(const struct address *remote);
struct fake_connection *fake_connection_find(int descriptor);
struct fake_socket *fake_socket_find(int descriptor);
unsigned fake_socket_readiness(const struct fake_socket *socket);
void fake_connection_close(int descriptor);

#endif
