/*
 * What leaves readable for whoever watches the line, told at the start: the groups of servers that are asked
 * in clear text, and what goes there; and who is asked so for the addresses of servers. Called by engine.c.
 */
#include "engine/clear_text.h"

#include <string.h>

enum { LIST_SIZE = 256 };

/* Names with commas between them. Those for which there is no room are left out, and dots stand for them. */
struct names {
    char text[LIST_SIZE];
    size_t size;
    bool is_full;
};

static void names_append(struct names *names, const char *text)
{
    size_t size = strlen(text);
    memcpy(names->text + names->size, text, size + 1);
    names->size += size;
}

static void names_add(struct names *names, const char *name)
{
    static const char more[] = ",...";
    if (names->is_full) {
        return;
    }
    if (names->size + 1 + strlen(name) + sizeof more > sizeof names->text) {
        names->is_full = true;
        names_append(names, more);
        return;
    }
    names_append(names, names->size > 0 ? "," : "");
    names_append(names, name);
}

static const char *name_upstreams(struct names *names, const struct config *config, unsigned group)
{
    *names = (struct names){.size = 0};
    for (size_t i = 0; i < config->upstream_count; i++) {
        if (config->upstreams[i].group == group) {
            names_add(names, config->upstreams[i].url);
        }
    }
    return names->text;
}

static const char *name_routes(struct names *names, const struct config *config, unsigned group)
{
    *names = (struct names){.size = 0};
    for (size_t i = 0; i < config->route_count; i++) {
        if (config->routes[i].group == group) {
            names_add(names, config->routes[i].name);
        }
    }
    return names->text;
}

static const char *name_listeners(struct names *names, const struct config *config, unsigned group)
{
    *names = (struct names){.size = 0};
    for (size_t i = 0; i < config->listen_count; i++) {
        if (config->listen[i].group == group) {
            char text[ADDRESS_TEXT_SIZE];
            address_format(&config->listen[i].address, true, text);
            names_add(names, text);
        }
    }
    return names->text;
}

bool clear_text_begin(struct log *log, const struct config *config, unsigned group)
{
    struct names names;
    if (!config->groups[group].is_plain || !log_begin(log, LOG_WARNING, "clear_text")) {
        return false;
    }
    log_text(log, "group", config->groups[group].name);
    log_text(log, "upstreams", name_upstreams(&names, config, group));
    log_text(log, "routes", name_routes(&names, config, group));
    log_text(log, "listeners", name_listeners(&names, config, group));
    log_text(log, "hint",
             "everybody on the way reads what these names and listeners ask: mean it, or use tls://");
    return true;
}

static const char *name_bootstrap(struct names *names, const struct config *config)
{
    *names = (struct names){.size = 0};
    for (size_t i = 0; i < config->bootstrap_count; i++) {
        if (config->bootstrap[i].transport != CONFIG_TLS) {
            names_add(names, config->bootstrap[i].url);
        }
    }
    return names->text;
}

static const char *name_hosts(struct names *names, const struct config *config)
{
    *names = (struct names){.size = 0};
    for (size_t i = 0; i < config->upstream_count; i++) {
        if (config->upstreams[i].host != NULL) {
            names_add(names, config->upstreams[i].host);
        }
    }
    return names->text;
}

bool clear_text_begin_bootstrap(struct log *log, const struct config *config)
{
    struct names asked, hosts;
    if (name_bootstrap(&asked, config)[0] == '\0' || !log_begin(log, LOG_WARNING, "clear_text")) {
        return false;
    }
    log_text(log, "bootstrap", asked.text);
    log_text(log, "names", name_hosts(&hosts, config));
    log_text(log, "hint",
             "everybody on the way reads these names and can change their addresses, which a server over TLS "
             "does not suffer from, and one in clear text does: mean it, or use tls://");
    return true;
}
