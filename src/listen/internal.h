/*
 * What the files of the front doors share: udp.c, connection.c (one TCP client), accept.c (a listening
 * socket), hall.c (what the doors of a worker have in common).
 */
#ifndef LISTEN_INTERNAL_H
#define LISTEN_INTERNAL_H

#include "base/slab.h"

#include "listen/listen.h"

enum { LISTEN_SOCKETS_MAX = 64 };

struct listen_udp {
    struct query_door door;
    struct listen_hall *hall;
    struct event_watch watch;
    struct event_after flush;
    struct net_udp_batch *batch;
    bool wildcard;
};

struct listen_tcp {
    struct listen_hall *hall;
    struct event_watch watch;
    unsigned group;
    struct event_timer pause; /* until accepting is tried again after descriptors ran out */
};

struct listen_connection {
    struct query_door door;
    struct stream stream;
    struct listen_hall *hall;
    struct list node; /* in the hall's list, the one longest without a message first */
    struct net_peer peer;
    struct event_timer timer;
    uint64_t active_at; /* last message or answer */
    bool ended;         /* the client will send nothing more */
    bool overfull;      /* an answer found no room */
};

struct listen_hall {
    struct listen_options options;
    struct listen_surroundings around;
    struct slab connections;
    struct list open; /* connections, idle longest first */
    bool draining;
    struct event_after last_look; /* what connections had sent by then has been read */
    uint64_t limit_logged_at;
    size_t udp_count, tcp_count;
    struct listen_udp udp[LISTEN_SOCKETS_MAX];
    struct listen_tcp tcp[LISTEN_SOCKETS_MAX];
};

/* ---- udp.c ---- */

/* Takes the questions that had arrived, and reads no more. */
void listen_udp_drain(struct listen_udp *udp);

/* ---- connection.c ---- */

/* Takes over an accepted descriptor. Closed and counted when the client may hold no more, or there is no room
 * that an idle connection could give. */
void listen_connection_open(const struct listen_tcp *tcp, int descriptor, const struct address *remote);

/* Closes, counts the reason, and lets the connection's questions go on without a client. */
void listen_connection_close(struct listen_connection *connection, enum metrics_meter reason);

/* Closes the connection that has been without a question the longest; false when every one has some. */
bool listen_close_idle(struct listen_hall *hall, enum metrics_meter reason);

#endif
