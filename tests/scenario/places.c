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

static void set(struct world *world, unsigned group, size_t server, const struct address_list *addresses)
{
    world->group[group].server[server].addresses = *addresses;
    if (world->started) {
        upstream_pool_set_addresses(world->pools[group], server, addresses);
    }
}

void places_of_server(struct world *world, struct words *words)
{
    const char *name = words_next(words);
    struct address_list addresses = {0};
    while (!words_done(words)) {
        address_list_add(&addresses, address_of(world, words_next(words)));
    }
    for (unsigned group = 0; group < world->group_count; group++) {
        for (size_t i = 0; i < world->group[group].count; i++) {
            if (strcmp(world->group[group].server[i].label, name) == 0) {
                set(world, group, i, &addresses);
                return;
            }
        }
    }
    play_fails("there is no server \"%s\"", name);
}
