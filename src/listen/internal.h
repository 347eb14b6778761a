/*
 * What the files of the front doors share: udp.c, connection.c (one TCP client), accept.c (a listening
 * socket), passing.c (connections that another engine goes on with), hall.c (what the doors of a worker have
 * in common).
 */
#ifndef LISTEN_INTERNAL_H
#define LISTEN_INTERNAL_H

#include "base/slab.h"

#include "listen/listen.h"

enum {
    LISTEN_SOCKETS_MAX = 64,
    LISTEN_INHERITANCES = 4,
};

/* Of a connection that passes. */
enum { LISTEN_PACKET_HEAD = 47, LISTEN_PACKET_SIZE = LISTEN_PACKET_HEAD + STREAM_UNREAD_MAX };

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
    struct address local;
    struct event_timer pause; /* until accepting is tried again after descriptors ran out */
};

struct listen_connection {
    struct query_door door;
    struct stream stream;
    struct listen_hall *hall;
    const struct listen_tcp *tcp; /* by which it came */
    struct list node;             /* in the hall's list, the one longest without a message first */
    struct net_peer peer;
    struct event_timer timer;
    uint64_t active_at; /* last message or answer */
    bool ended;         /* the client will send nothing more */
    bool overfull;      /* an answer found no room */
};

/* From where connections come that another engine has accepted. */
struct listen_inheritance {
    struct listen_hall *hall;
    struct event_watch watch;
};

struct listen_hall {
    struct listen_options options;
    struct listen_surroundings around;
    struct slab connections;
    struct list open; /* connections, idle longest first */
    bool draining;
    struct event_after last_look; /* what connections had sent by then has been read */
    int heir;                     /* who takes connections in a drain, or -1 */
    struct event_timer retry;     /* when it took no more */
    struct listen_inheritance inheritances[LISTEN_INHERITANCES];
    uint64_t limit_logged_at;
    size_t udp_count, tcp_count;
    struct listen_udp udp[LISTEN_SOCKETS_MAX];
    struct listen_tcp tcp[LISTEN_SOCKETS_MAX];
    uint8_t packet[LISTEN_PACKET_SIZE];
};

/* ---- udp.c ---- */

/* Takes the questions that had arrived, and reads no more. */
void listen_udp_drain(struct listen_udp *udp);

/* ---- connection.c ---- */

/* Takes over an accepted descriptor. Closed and counted when the client may hold no more, or there is no room
 * that an idle connection could give: then NULL. */
struct listen_connection *listen_connection_open(const struct listen_tcp *tcp, int descriptor,
                                                 const struct address *remote);

/* Closes, counts the reason, and lets the connection's questions go on without a client. */
void listen_connection_close(struct listen_connection *connection, enum metrics_meter reason);

/* Whether no question and no answer of it is on its way. */
bool listen_connection_is_idle(const struct listen_connection *connection);

/* Closes the connection that has been without a question the longest; false when every one has some. */
bool listen_close_idle(struct listen_hall *hall, enum metrics_meter reason);

/* ---- passing.c ---- */

/* Lets an idle and paused connection go on with the heir of the hall; closes it where there is none. False
 * when it has to wait for that, and is still there. */
bool listen_pass(struct listen_connection *connection);

/* The same with all that are idle, until one has to wait. */
void listen_pass_idle(struct listen_hall *hall);

/* Whether an engine of before may still send some. */
bool listen_is_inheriting(const struct listen_hall *hall);

void listen_stop_inheriting(struct listen_hall *hall);

#endif
