/* The far ends of connections: each has an address, and a server may have several of them. */
#include <stdio.h>

#include "world.h"

struct server *place_add(struct world *world, const char *name, unsigned port)
{
    size_t i = fake.server_count++;
    struct server *server = &world->server[i];
    if (i == FAKE_SERVERS_MAX || world->started) {
        play_fails("too many servers, or too late");
    }
    snprintf(server->name, sizeof server->name, "%s", name);
    server->fake = &fake.server[i];
    char text[ADDRESS_TEXT_SIZE];
    bool is_six = strncmp(name, "six", 3) == 0;
    snprintf(text, sizeof text, is_six ? "[fd00::%zu]:%u" : "127.0.1.%zu:%u", i + 1, port);
    if (address_parse(span_text(text), 0, &server->fake->address) != 0) {
        play_fails("no address for %s", name);
    }
    list_init(&server->unheard);
    list_init(&server->unanswered);
    return server;
}

void places_add(struct world *world, struct words *words)
{
    while (!words_done(words)) {
        place_add(world, words_next(words), 853);
    }
}

static const struct address *address_of(const struct world *world, const char *name)
{
    for (size_t i = 0; i < fake.server_count; i++) {
        if (strcmp(world->server[i].name, name) == 0) {
            return &world->server[i].fake->address;
        }
    }
    play_fails("there is no place \"%s\"", name);
}

/* The group and the index of a server. */
static struct named find_server(const struct world *world, const char *name)
{
    for (unsigned group = 0; group < world->group_count; group++) {
        for (size_t i = 0; i < world->group[group].count; i++) {
            if (strcmp(world->group[group].server[i].label, name) == 0) {
                return (struct named){.group = group, .server = i};
            }
        }
    }
    play_fails("there is no server \"%s\"", name);
}

void places_of_server(struct world *world, struct words *words)
{
    struct named found = find_server(world, words_next(words));
    struct address_list addresses = {0};
    while (!words_done(words)) {
        address_list_add(&addresses, address_of(world, words_next(words)));
    }
    world->group[found.group].server[found.server].addresses = addresses;
    if (world->started) {
        upstream_pool_set_addresses(world->pools[found.group], found.server, &addresses);
    }
}

void places_of_bootstrap(struct world *world, struct words *words)
{
    world_add_servers(world, &world->asked, words);
}

void places_named(struct world *world, struct words *words)
{
    struct named named = find_server(world, words_next(words));
    snprintf(named.host, sizeof named.host, "%s", words_next(words));
    words_end(words);
    world->group[named.group].server[named.server].addresses.count = 0;
    world->named[world->named_count++] = named;
}

/* The address that no place has is where clients ask. */
static bool is_own(void *owner, size_t name, const struct address *address)
{
    const struct world *world = owner;
    return name < world->named_count && address->family == AF_INET && address->bytes[0] == 127 &&
           address->bytes[2] == 0;
}

static void on_found(void *owner, size_t name, const struct address_list *addresses)
{
    struct world *world = owner;
    if (name >= world->named_count || addresses->count == 0) {
        play_fails("addresses of nobody");
    }
}

void places_open(struct world *world, const struct upstream_surroundings *around)
{
    if (world->named_count == 0) {
        return;
    }
    struct bootstrap_options options = {
        .upstream = world->upstream,
        .name_count = world->named_count,
        .padding_block = world->query.padding_block,
        .is_own = is_own,
        .found = on_found,
        .owner = world,
    };
    options.upstream.servers = world->asked.server;
    options.upstream.server_count = world->asked.count;
    world_must(bootstrap_open(&options, around, &world->bootstrap));
    for (size_t i = 0; i < world->named_count; i++) {
        const struct named *named = &world->named[i];
        world->group[named->group].server[named->server].lookup = bootstrap_lookup(world->bootstrap, i);
    }
}

void places_begin(struct world *world)
{
    for (size_t i = 0; i < world->named_count; i++) {
        const struct named *named = &world->named[i];
        struct bootstrap_target target = {
            .host = named->host,
            .port = 853,
            .pool = world->pools[named->group],
            .server = named->server,
            .known = world->group[named->group].server[named->server].addresses,
        };
        bootstrap_begin(world->bootstrap, i, &target);
    }
}
