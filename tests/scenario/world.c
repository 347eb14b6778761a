/*
 * The program is put together here as a worker does it, over the fake rooms; see world.h. Called by the
 * runner for every line of a play.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

enum { LOG_RING_SIZE = 1 << 20, BLOCKS = 64 };

/* The clocks take no argument: there is one play to a process. */
static uint64_t clock_of_wall = UINT64_C(1767225600) * CLOCK_SECOND;

static uint64_t wall(void)
{
    return clock_of_wall;
}

void world_set_wall(uint64_t nanoseconds)
{
    clock_of_wall = nanoseconds;
}

static const struct event_loop *clock_of_play;

static uint64_t boot(void)
{
    return event_now(clock_of_play);
}

/* ---- before the start ---- */

void world_init(struct world *world)
{
    *world = (struct world){
        .upstream = {.attempt_timeout = 1500 * CLOCK_MILLISECOND,
                     .connect_timeout = 1500 * CLOCK_MILLISECOND,
                     .handshake_timeout = 2500 * CLOCK_MILLISECOND,
                     .refused_retry = 250 * CLOCK_MILLISECOND,
                     .backoff_min = 250 * CLOCK_MILLISECOND,
                     .backoff_max = 30 * CLOCK_SECOND,
                     .handshakes_per_second = 5,
                     .in_flight = 512,
                     .links = 4,
                     .max_age = 600 * CLOCK_SECOND,
                     .warm = 600 * CLOCK_SECOND},
        .query = {.query_timeout = 4500 * CLOCK_MILLISECOND,
                  .pending = 16384,
                  .long_messages = 64,
                  .pending_per_client = 1000,
                  .padding_block = 128,
                  .strip_client_subnet = true,
                  .stale = {.client_timeout = 1800 * CLOCK_MILLISECOND},
                  .prefetch = true,
                  .udp_discard = 1900 * CLOCK_MILLISECOND,
                  .log_queries = QUERY_LOG_OFF},
        .listen = {.tcp_idle = 10 * CLOCK_SECOND,
                   .tcp_message_timeout = 5 * CLOCK_SECOND,
                   .tcp_write_timeout = 10 * CLOCK_SECOND,
                   .tcp_output = 256 * 1024,
                   .tcp_connections = 1000},
        .connections = 1000,
        .connections_per_client = 50,
        .lifetime_most = 86400,
        .denial_most = 3600,
        .failure = 5,
        .stale_most = 86400,
        .last_id = 1000,
    };
    fake_world_init();
    address_parse(span_text("127.0.0.1:5300"), 0, &fake.local);
}

static bool duration_option(struct world *world, const char *key, struct words *words)
{
    const struct {
        const char *key;
        uint64_t *value;
    } options[] = {{"upstream.attempt_timeout", &world->upstream.attempt_timeout},
                   {"upstream.max_age", &world->upstream.max_age},
                   {"upstream.connect_timeout", &world->upstream.connect_timeout},
                   {"upstream.handshake_timeout", &world->upstream.handshake_timeout},
                   {"upstream.refused_retry", &world->upstream.refused_retry},
                   {"upstream.backoff_min", &world->upstream.backoff_min},
                   {"upstream.backoff_max", &world->upstream.backoff_max},
                   {"limits.query_timeout", &world->query.query_timeout},
                   {"limits.udp_discard", &world->query.udp_discard},
                   {"cache.stale_client_timeout", &world->query.stale.client_timeout},
                   {"limits.tcp_idle", &world->listen.tcp_idle},
                   {"limits.tcp_message_timeout", &world->listen.tcp_message_timeout},
                   {"limits.tcp_write_timeout", &world->listen.tcp_write_timeout}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (strcmp(options[i].key, key) == 0) {
            *options[i].value = words_duration(words);
            return true;
        }
    }
    return false;
}

static bool unsigned_option(struct world *world, const char *key, struct words *words)
{
    const struct {
        const char *key;
        unsigned *value;
    } options[] = {{"cache.min_ttl", &world->lifetime_least},
                   {"cache.max_ttl", &world->lifetime_most},
                   {"cache.negative_max_ttl", &world->denial_most},
                   {"cache.failure_ttl", &world->failure},
                   {"cache.stale_max", &world->stale_most},
                   {"upstream.handshakes_per_second", &world->upstream.handshakes_per_second},
                   {"upstream.in_flight", &world->upstream.in_flight},
                   {"upstream.links", &world->upstream.links},
                   {"limits.pending_per_client", &world->query.pending_per_client},
                   {"limits.tcp_connections", &world->connections},
                   {"limits.tcp_connections_per_client", &world->connections_per_client}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (strcmp(options[i].key, key) == 0) {
            *options[i].value = (unsigned)words_number(words);
            return true;
        }
    }
    return false;
}

static bool size_option(struct world *world, const char *key, struct words *words)
{
    const struct {
        const char *key;
        size_t *value;
    } options[] = {{"cache.size", &world->cache_size},
                   {"limits.pending", &world->query.pending},
                   {"limits.tcp_output", &world->listen.tcp_output},
                   {"limits.tcp_connections_per_worker", &world->listen.tcp_connections},
                   {"tls.padding", &world->query.padding_block}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (strcmp(options[i].key, key) == 0) {
            *options[i].value = words_number(words);
            return true;
        }
    }
    return false;
}

static void prefix_option(struct address_prefix *prefixes, size_t *count, struct words *words)
{
    const char *text = words_next(words);
    if (*count == PREFIXES_MAX || address_prefix_parse(span_text(text), &prefixes[(*count)++]) != 0) {
        play_fails("\"%s\" is not a prefix, or there are too many", text);
    }
}

static void log_option(struct world *world, struct words *words)
{
    if (words_take(words, "anonymous")) {
        world->query.log_queries = QUERY_LOG_ANONYMOUS;
    } else if (words_take(words, "full")) {
        world->query.log_queries = QUERY_LOG_FULL;
    }
}

static void on_refusal(struct local_report *report, const char *line)
{
    (void)report;
    play_fails("%s", line);
}

/* The rest of the line, its words with one space between them. */
static const char *rest_of_line(struct words *words)
{
    static char text[LINE_MAX_SIZE];
    size_t size = 0;
    while (!words_done(words)) {
        size +=
            (size_t)snprintf(text + size, sizeof text - size, "%s%s", size > 0 ? " " : "", words_next(words));
    }
    return text;
}

/* The plan is opened with what was said of it so far. */
static struct local_plan *plan_of(struct world *world)
{
    world->report.error = on_refusal;
    if (world->plan == NULL && local_plan_open(&world->names, &world->report, &world->plan) != 0) {
        play_fails("no memory");
    }
    return world->plan;
}

static enum local_block_answer block_answer(struct words *words)
{
    static const char *const answers[] = {"nxdomain", "null", "refused"};
    for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        if (words_take(words, answers[i])) {
            return (enum local_block_answer)i;
        }
    }
    play_fails("expected nxdomain, null or refused");
}

/* Only with one of these is anything answered here; the two that are no lists come first. */
static bool local_option(struct world *world, const char *key, struct words *words)
{
    world->has_names |= strncmp(key, "local.", 6) == 0;
    if (strcmp(key, "local.special_use") == 0 && world->plan == NULL) {
        world->names.special_use = strcmp(words_next(words), "true") == 0;
    } else if (strcmp(key, "local.block_answer") == 0 && world->plan == NULL) {
        world->names.block_answer = block_answer(words);
    } else if (strcmp(key, "local.forward") == 0) {
        local_plan_forward(plan_of(world), key, words_next(words));
    } else if (strcmp(key, "local.records") == 0) {
        local_plan_record(plan_of(world), key, rest_of_line(words));
    } else if (strcmp(key, "local.hosts") == 0) {
        local_plan_hosts(plan_of(world), "hosts", span_text(rest_of_line(words)));
    } else if (strcmp(key, "local.block") == 0) {
        local_plan_block(plan_of(world), "block", span_text(rest_of_line(words)));
    } else {
        return false;
    }
    return true;
}

void world_option(struct world *world, struct words *words)
{
    if (world->started) {
        play_fails("options come before everything else");
    }
    const char *key = words_next(words);
    if (duration_option(world, key, words) || unsigned_option(world, key, words) ||
        size_option(world, key, words) || local_option(world, key, words)) {
        return;
    }
    if (strcmp(key, "access.allow") == 0) {
        prefix_option(world->allow, &world->allow_count, words);
    } else if (strcmp(key, "access.deny") == 0) {
        prefix_option(world->deny, &world->deny_count, words);
    } else if (strcmp(key, "privacy.strip_client_subnet") == 0) {
        world->query.strip_client_subnet = strcmp(words_next(words), "true") == 0;
    } else if (strcmp(key, "cache.prefetch") == 0) {
        world->query.prefetch = strcmp(words_next(words), "true") == 0;
    } else if (strcmp(key, "log.queries") == 0) {
        log_option(world, words);
    } else {
        play_fails("there is no option \"%s\"", key);
    }
}

static void add_server(struct world *world, struct group *group, enum upstream_transport transport,
                       const char *name)
{
    bool is_tls = transport == UPSTREAM_TLS;
    const struct server *server = place_add(world, name, is_tls ? 853 : 53);
    group->server[group->count++] =
        (struct upstream_server_options){.label = server->name,
                                         .transport = transport,
                                         .addresses = {1, {server->fake->address}},
                                         .client = is_tls ? (struct tls_client *)(uintptr_t)server : NULL,
                                         .page = (size_t)(server - world->server),
                                         .weight = 1};
}

void world_add_servers(struct world *world, struct group *group, struct words *words)
{
    enum upstream_transport transport = UPSTREAM_TLS;
    while (!words_done(words)) {
        if (words_take(words, "udp")) {
            transport = UPSTREAM_UDP;
        } else if (words_take(words, "tcp")) {
            transport = UPSTREAM_TCP;
        } else {
            add_server(world, group, transport, words_next(words));
        }
    }
}

void world_servers(struct world *world, const char *name, struct words *words)
{
    struct group *group = &world->group[world->group_count++];
    snprintf(group->name, sizeof group->name, "%s", name);
    world_add_servers(world, group, words);
}

static unsigned group_number(const struct world *world, const char *name)
{
    for (unsigned i = 0; i < world->group_count; i++) {
        if (strcmp(world->group[i].name, name) == 0) {
            return i;
        }
    }
    play_fails("there is no group \"%s\"", name);
}

void world_route(struct world *world, struct words *words)
{
    const char *name = words_next(words);
    world->has_names = true;
    local_plan_route(plan_of(world), "routes", name, (uint8_t)group_number(world, words_next(words)));
}

void world_door(struct world *world, struct words *words)
{
    unsigned *group = words_take(words, "udp asks") ? &world->udp_group : &world->tcp_group;
    if (group == &world->tcp_group && !words_take(words, "tcp asks")) {
        play_fails("expected udp asks or tcp asks, and a group");
    }
    *group = group_number(world, words_next(words));
}

void world_policy(struct world *world, struct words *words)
{
    static const char *const policies[] = {"ordered", "fastest", "round-robin", "random", "hash"};
    struct group *group = &world->group[group_number(world, words_next(words))];
    for (unsigned i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        if (words_take(words, policies[i])) {
            group->policy = (enum upstream_policy)i;
            return;
        }
    }
    play_fails("there is no such policy");
}

void world_weight(struct world *world, struct words *words)
{
    const char *name = words_next(words);
    unsigned weight = (unsigned)words_number(words);
    for (size_t i = 0; i < world->group_count; i++) {
        for (size_t k = 0; k < world->group[i].count; k++) {
            if (strcmp(world->group[i].server[k].label, name) == 0) {
                world->group[i].server[k].weight = weight;
                return;
            }
        }
    }
    play_fails("there is no server \"%s\"", name);
}

void world_hedge(struct world *world, struct words *words)
{
    world->group[group_number(world, words_next(words))].hedge = true;
}

/* ---- the start ---- */

void world_must(int error)
{
    if (error != 0) {
        play_fails("the program does not start: %s", error_text(error));
    }
}

static void open_ground(struct world *world)
{
    random_init_repeatable(&world->random, 1);
    log_init(&world->log, LOG_DEBUG, calloc(1, LOG_RING_SIZE), LOG_RING_SIZE);
    world_must(event_loop_open(&world->loop));
    world_must(stream_shop_open(&world->shop, world->loop, BLOCKS));
    world_must(metrics_open(1, &world->metrics, &world->metrics_descriptor));
    for (size_t i = 0; i < fake.server_count; i++) {
        metrics_label_upstream(world->metrics, i, world->server[i].name);
    }
    if (world->allow_count == 0) {
        world_must(address_prefix_parse(span_text("10.0.0.0/8"), &world->allow[world->allow_count++]));
    }
    world_must(
        guard_access_build(world->allow, world->allow_count, world->deny, world->deny_count, &world->access));
    world_must(guard_connections_open((struct hash_key){0}, world->connections, world->connections_per_client,
                                      &world->guard));
}

static void open_pools(struct world *world)
{
    struct upstream_surroundings around = {
        .loop = world->loop,
        .shop = &world->shop,
        .random = &world->random,
        .log = &world->log,
        .metrics = &world->metrics->worker[0],
        .wall = wall,
    };
    places_open(world, &around);
    for (size_t i = 0; i < world->group_count; i++) {
        world->upstream.servers = world->group[i].server;
        world->upstream.server_count = world->group[i].count;
        world->upstream.policy = world->group[i].policy;
        world->upstream.hedge = world->group[i].hedge;
        world_must(upstream_pool_open(&world->upstream, &around, &world->pools[i]));
    }
    places_begin(world);
}

static void open_cache(struct world *world)
{
    clock_of_play = world->loop;
    if (world->cache_size > 0) {
        world_must(cache_open(world->cache_size, (struct hash_key){{1, 2}}, 1, &world->cache));
    }
    world->query.lifetimes = (struct query_lifetimes){.least = world->lifetime_least,
                                                      .most = world->lifetime_most,
                                                      .denial_most = world->denial_most,
                                                      .failure = world->failure};
    world->query.stale.most = world->stale_most;
}

static void open_names(struct world *world)
{
    if (world->has_names) {
        world_must(local_build(plan_of(world), &world->local));
        local_plan_close(world->plan);
    }
}

static void open_hall(struct world *world)
{
    static const uint8_t partitions[FAKE_SERVERS_MAX] = {5, 9, 2, 127, 0, 1, 64, 3};
    open_cache(world);
    open_names(world);
    struct query_surroundings around = {
        .cache = world->cache_size > 0 ? &world->cache : NULL,
        .local = world->local,
        .boot = boot,
        .loop = world->loop,
        .pools = world->pools,
        .partitions = partitions,
        .access = world->access,
        .log = &world->log,
        .metrics = &world->metrics->worker[0],
        .wall = wall,
    };
    world_must(query_hall_open(&world->query, &around, &world->hall));
}

static void open_doors(struct world *world)
{
    struct listen_surroundings around = {
        .loop = world->loop,
        .shop = &world->shop,
        .hall = world->hall,
        .connections = world->guard,
        .log = &world->log,
        .metrics = &world->metrics->worker[0],
        .wall = wall,
    };
    world_must(listen_hall_open(&world->listen, &around, &world->doors));
    world_must(listen_udp_open(world->doors, FAKE_UDP, world->udp_group));
    world_must(listen_tcp_open(world->doors, FAKE_TCP, world->tcp_group));
}

void world_start(struct world *world)
{
    if (world->started) {
        return;
    }
    if (fake.server_count == 0) {
        struct words words;
        words_split(&words, "one two");
        world_servers(world, "default", &words);
    }
    world->started = true;
    open_ground(world);
    open_pools(world);
    open_hall(world);
    open_doors(world);
}

/* ---- handing round ---- */

struct letter *letter_new(struct list *list, struct fake_connection *connection, struct span bytes)
{
    struct letter *letter = calloc(1, sizeof *letter + bytes.size);
    if (letter == NULL) {
        abort();
    }
    letter->connection = connection;
    letter->size = bytes.size;
    if (bytes.size > 0) {
        memcpy(letter->bytes, bytes.data, bytes.size);
    }
    list_append(list, &letter->node);
    return letter;
}

void letter_free(struct letter *letter)
{
    list_remove(&letter->node);
    free(letter);
}

static void hand_out_datagrams(struct world *world)
{
    struct list *node;
    while ((node = list_take_first(&fake.answers)) != NULL) {
        struct fake_datagram *datagram = container_of(node, struct fake_datagram, node);
        struct client *client = client_by_address(world, &datagram->peer.remote);
        if (client == NULL) {
            play_fails("a datagram went to somebody who is no client");
        }
        client_receive(client, NULL, span_of(datagram->bytes, datagram->size));
        free(datagram);
    }
}

static void hand_out_frames(struct world *world, struct fake_connection *connection)
{
    struct span frame;
    size_t used;
    while (dns_frame_next(span_of(connection->out.data, connection->out.size), &frame, &used) == 0) {
        if (connection->server != NULL) {
            letter_new(&world->server[connection->server - fake.server].unheard, connection, frame);
        } else {
            client_receive(client_by_address(world, &connection->remote), connection, frame);
        }
        fake_bytes_drop(&connection->out, used);
    }
}

static void hand_out_questions(struct world *world, struct fake_socket *socket)
{
    struct list *node;
    while ((node = list_take_first(&socket->heard)) != NULL) {
        struct fake_datagram *datagram = container_of(node, struct fake_datagram, node);
        struct list *unheard = &world->server[socket->server - fake.server].unheard;
        letter_new(unheard, NULL, span_of(datagram->bytes, datagram->size))->socket = socket;
        free(datagram);
    }
}

static void take_log(struct world *world)
{
    char line[LOG_LINE_MAX + 1];
    size_t size;
    while ((size = log_take(&world->log, LOG_FORMAT_TEXT, line)) > 0) {
        line[size - 1] = '\0';
        if (world->line_count == LOG_LINES_MAX) {
            play_fails("too many log lines");
        }
        world->line[world->line_count++] = strdup(line);
    }
}

static void hand_round(struct world *world)
{
    hand_out_datagrams(world);
    for (struct list *node = fake.connections.next; node != &fake.connections; node = node->next) {
        hand_out_frames(world, container_of(node, struct fake_connection, node));
    }
    for (struct list *node = fake.sockets.next; node != &fake.sockets; node = node->next) {
        hand_out_questions(world, container_of(node, struct fake_socket, node));
    }
    take_log(world);
}

void world_settle(struct world *world)
{
    if (!fake_event_settle(world->loop)) {
        play_fails("the program spins");
    }
    hand_round(world);
}

void world_advance(struct world *world, uint64_t nanoseconds)
{
    if (!fake_event_advance(world->loop, nanoseconds)) {
        play_fails("the program spins");
    }
    world_settle(world);
}

/* ---- the end ---- */

static void check_letters(const struct list *letters, const char *what, const char *whose)
{
    if (!list_empty(letters)) {
        play_fails("at the end %s has %s that the play does not tell of", whose, what);
    }
}

static void free_letters(struct list *letters)
{
    while (!list_empty(letters)) {
        letter_free(container_of(letters->next, struct letter, node));
    }
}

static void end_people(struct world *world)
{
    for (size_t i = 0; i < world->client_count; i++) {
        check_letters(&world->client[i].received, "an answer", world->client[i].name);
        free_letters(&world->client[i].asked);
    }
    for (size_t i = 0; i < fake.server_count; i++) {
        check_letters(&world->server[i].unheard, "a question", world->server[i].name);
        free_letters(&world->server[i].unanswered);
    }
    while (world->line_count > 0) {
        free(world->line[--world->line_count]);
    }
}

static void check_connections(void)
{
    for (struct list *node = fake.connections.next; node != &fake.connections; node = node->next) {
        if (!container_of(node, struct fake_connection, node)->closed) {
            play_fails("at the end a connection is left open");
        }
    }
    for (struct list *node = fake.sockets.next; node != &fake.sockets; node = node->next) {
        if (!container_of(node, struct fake_socket, node)->closed) {
            play_fails("at the end a socket is left open");
        }
    }
}

void world_end(struct world *world)
{
    world_start(world);
    world_settle(world);
    end_people(world);
    listen_hall_close(world->doors);
    query_hall_close(world->hall);
    if (world->bootstrap != NULL) {
        bootstrap_close(world->bootstrap);
    }
    for (size_t i = 0; i < world->group_count; i++) {
        upstream_pool_close(world->pools[i]);
    }
    if (world->cache_size > 0) {
        cache_close(&world->cache);
    }
    if (fake_event_leftovers(world->loop) > 0) {
        play_fails("at the end a timer, a watch or after-work is left over");
    }
    check_connections();
    stream_shop_close(&world->shop);
    guard_connections_close(world->guard);
    guard_access_free(world->access);
    local_free(world->local);
    metrics_close(world->metrics, world->metrics_descriptor);
    event_loop_close(world->loop);
    free(world->log.ring);
    fake_world_fini();
}
