/*
 * The option `bootstrap`: the servers that are asked for the addresses of others. They have addresses
 * themselves, or it would begin with them anew.
 */
#include <stdio.h>

#include "config/table.h"

static void add(struct config_work *work, const struct config_node *node,
                const struct config_upstream *server)
{
    struct config *config = &work->snapshot->config;
    for (size_t i = 0; i < config->bootstrap_count; i++) {
        if (config_servers_are_same(server, &config->bootstrap[i])) {
            config_complain(work, &node->place, "%s stands here twice", server->url);
            return;
        }
    }
    if (config->bootstrap_count == CONFIG_BOOTSTRAP_MAX) {
        config_complain(work, &node->place, "there are more than %d servers", CONFIG_BOOTSTRAP_MAX);
        return;
    }
    char label[CONFIG_HOST_NAME_MAX + ADDRESS_TEXT_SIZE + 32];
    snprintf(label, sizeof label, "bootstrap:%s", server->url);
    struct config_upstream *added = &config->bootstrap[config->bootstrap_count];
    *added = *server;
    added->weight = 1;
    added->label = config_arena_text(work->arena, span_text(label));
    if (added->label == NULL) {
        config_complain_memory(work);
        return;
    }
    work->snapshot->bootstrap_places[config->bootstrap_count++] = node->place;
}

static void add_preset(struct config_work *work, const struct config_node *node,
                       const struct config_preset *preset)
{
    for (size_t i = 0; i < CONFIG_PRESET_SERVERS; i++) {
        struct address address = config_preset_server(preset, i);
        struct config_upstream server;
        if (!config_upstream_fill(work->arena, CONFIG_TLS, &address, preset->name, &server)) {
            config_complain_memory(work);
            return;
        }
        server.optional = i >= CONFIG_PRESET_SERVERS / 2;
        add(work, node, &server);
    }
}

static void add_url(struct config_work *work, const struct config_node *node, const char *text)
{
    struct config_url url;
    const char *refusal = config_url_parse(text, &url);
    if (refusal == NULL && url.host.size > 0) {
        refusal = "who is asked for addresses needs one itself, as in tls://ADDRESS#NAME or udp://ADDRESS";
    }
    struct config_upstream server;
    if (refusal != NULL) {
        config_complain(work, &node->place, "\"%.80s\": %s", text, refusal);
    } else if (!config_url_fill(work->arena, &url, &server)) {
        config_complain_memory(work);
    } else {
        add(work, node, &server);
    }
}

void config_bootstrap_set(struct config_work *work, const struct config_option *option,
                          const struct config_node *list)
{
    struct config *config = &work->snapshot->config;
    config->bootstrap_count = 0;
    config->bootstrap = config_arena_take(work->arena, (size_t)option->most * sizeof *config->bootstrap);
    if (config->bootstrap == NULL) {
        config_complain_memory(work);
        return;
    }
    for (const struct config_node *node = list->first; node != NULL; node = node->next) {
        const char *text = config_node_text(work, node);
        const struct config_preset *preset = text == NULL ? NULL : config_preset_find(text);
        if (preset != NULL) {
            add_preset(work, node, preset);
        } else if (text != NULL) {
            add_url(work, node, text);
        }
    }
}
