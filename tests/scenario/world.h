/*
 * The program under test and everybody it talks to: clients, servers, the clock, the log and the meters.
 */
#ifndef SCENARIO_WORLD_H
#define SCENARIO_WORLD_H

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"

#include "guard/guard.h"
#include "metrics/metrics.h"

#include "stream/stream.h"

#include "upstream/upstream.h"

#include "query/query.h"

#include "listen/listen.h"

#include "bootstrap/bootstrap.h"
#include "fake/fake.h"
#include "local/local.h"
#include "message.h"
#include "parse.h"

enum { CLIENTS_MAX = 512, PREFIXES_MAX = 16, LOG_LINES_MAX = 4096 };

/* A message that came to a client or a server and was not looked at yet, or that waits for its answer. */
struct letter {
    struct list node;
    struct fake_connection *connection; /* NULL: a datagram */
    struct fake_socket *socket;         /* that brought it to a server */
    size_t size;
    uint8_t bytes[];
};

struct client {
    char name[32];
    struct address address;
    struct fake_connection *connection; /* NULL while it has none */
    struct list asked;                  /* its own questions that have no answer yet */
    struct list received;               /* not looked at yet */
};

struct server {
    char name[32];
    struct fake_server *fake;
    struct list unheard;    /* questions that came */
    struct list unanswered; /* questions that were heard */
    unsigned connects_seen;
};

/* Servers, and the program's pool of them; the first group is the default one. */
struct group {
    char name[32];
    size_t count;
    struct upstream_server_options server[FAKE_SERVERS_MAX];
    enum upstream_policy policy;
    bool hedge;
};

/* A server that is known by name. */
struct named {
    char host[64];
    unsigned group;
    size_t server;
};

struct world {
    /* Set before the start. */
    struct upstream_options upstream;
    struct query_options query;
    struct listen_options listen;
    unsigned connections, connections_per_client;
    unsigned lifetime_least, lifetime_most, denial_most, failure, stale_most;
    size_t cache_size; /* 0: none */
    struct address_prefix allow[PREFIXES_MAX], deny[PREFIXES_MAX];
    size_t allow_count, deny_count;

    bool has_names; /* some are answered here */
    struct local_options names;
    struct local_plan *plan;
    struct local_report report;

    bool started;
    struct server server[FAKE_SERVERS_MAX];
    struct group group[FAKE_SERVERS_MAX];
    size_t group_count;
    unsigned udp_group, tcp_group;
    struct group asked; /* for the addresses of those that are known by name */
    struct named named[FAKE_SERVERS_MAX];
    size_t named_count;
    size_t client_count;
    struct client client[CLIENTS_MAX];
    uint16_t last_id;

    /* The program. */
    struct event_loop *loop;
    struct stream_shop shop;
    struct random random;
    struct log log;
    struct metrics *metrics;
    int metrics_descriptor;
    struct cache cache;
    struct local *local;
    struct guard_access *access;
    struct guard_connections *guard;
    struct upstream_pool *pools[FAKE_SERVERS_MAX];
    struct bootstrap *bootstrap; /* NULL: no server is known by name */
    struct query_hall *hall;
    struct listen_hall *doors;

    size_t line_count;
    char *line[LOG_LINES_MAX];
};

/* ---- world.c ---- */

void world_init(struct world *world);
void world_option(struct world *world, struct words *words);
/* The servers of a new group; what goes to which group. */
void world_servers(struct world *world, const char *group, struct words *words);
void world_route(struct world *world, struct words *words);
void world_door(struct world *world, struct words *words);
/* How a group is chosen from, what a server weighs in it, whether late answers are asked for once more. */
void world_policy(struct world *world, struct words *words);
void world_weight(struct world *world, struct words *words);
void world_hedge(struct world *world, struct words *words);

/* Servers of a line, with the words of clear text among them. */
void world_add_servers(struct world *world, struct group *group, struct words *words);

/* The play ends where the start fails. */
void world_must(int error);

/* Starts the program; nothing is done when it runs already. */
void world_start(struct world *world);

/* Lets the program do what it can at this moment, and hands round what came of it. */
void world_settle(struct world *world);
/* Puts the clock on the wall, in nanoseconds since the epoch; nothing else moves. */
void world_set_wall(uint64_t nanoseconds);
void world_advance(struct world *world, uint64_t nanoseconds);

/* Stops the program; nothing may be left over: no timer, no connection, no message that nobody looked at. */
void world_end(struct world *world);

struct letter *letter_new(struct list *list, struct fake_connection *connection, struct span bytes);
void letter_free(struct letter *letter);

/* ---- places.c ---- */

/* What can be connected to, with an address of its own: IPv6 where its name begins with "six". */
struct server *place_add(struct world *world, const char *name, unsigned port);
void places_add(struct world *world, struct words *words);

/* At which places a server is: at its own, unless this says otherwise. Once the program runs, it is told. */
void places_of_server(struct world *world, struct words *words);

/* Who is asked for addresses, and for which server's. */
void places_of_bootstrap(struct world *world, struct words *words);
void places_named(struct world *world, struct words *words);

/* Before the pools are opened, and after. */
void places_open(struct world *world, const struct upstream_surroundings *around);
void places_begin(struct world *world);

/* ---- client.c, server.c, check.c: the sentences of a play ---- */

void client_sentence(struct world *world, struct words *words);
void client_receive(struct client *client, struct fake_connection *connection, struct span message);
struct client *client_by_address(struct world *world, const struct address *address);

void server_sentence(struct world *world, struct words *words);

void meter_sentence(struct world *world, struct words *words);
void log_sentence(struct world *world, struct words *words);

#endif
