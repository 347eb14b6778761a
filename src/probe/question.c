/*
 * What a server is asked: harmless questions about a name that it is there for. A server of a group that only
 * some names go to may know nothing else. Called by dial.c.
 */
#include <string.h>

#include "probe/internal.h"

enum { TYPE_MX = 15, TYPE_CAA = 257, LABEL_SIZE = 12 };

static const uint8_t root[] = {0};

/* The first of those at once is for the fresh name: it takes its time. */
static const uint16_t types[PROBE_TOGETHER] = {DNS_TYPE_A,   DNS_TYPE_A,   DNS_TYPE_AAAA, DNS_TYPE_NS,
                                               DNS_TYPE_SOA, DNS_TYPE_TXT, TYPE_MX,       TYPE_CAA};

/* Whether questions that no route has go to the group. */
static bool is_for_the_rest(const struct config *config, unsigned group)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        if (config->listen[i].group == group) {
            return true;
        }
    }
    return false;
}

static const char *route_to(const struct config *config, unsigned group)
{
    for (size_t i = 0; i < config->route_count; i++) {
        if (config->routes[i].group == group) {
            return config->routes[i].name;
        }
    }
    return NULL;
}

static void set_root(struct probe_theme *out)
{
    memcpy(out->base, root, sizeof root);
    out->base_size = sizeof root;
}

/* A label of letters in front of the name; nobody else's where it would not fit. */
static void put_fresh(uint64_t chance, const uint8_t *name, size_t size, struct probe_theme *out)
{
    size_t label = size + LABEL_SIZE + 1 <= sizeof out->fresh ? LABEL_SIZE : 0;
    for (size_t i = 1; i <= label; i++) {
        out->fresh[i] = (uint8_t)('a' + chance % 26);
        chance /= 26;
    }
    out->fresh[0] = (uint8_t)label;
    size_t at = label > 0 ? label + 1 : 0;
    memcpy(out->fresh + at, name, size);
    out->fresh_size = at + size;
}

void probe_theme_choose(const struct config *config, unsigned group, uint64_t chance, struct probe_theme *out)
{
    static const uint8_t example[] = "\7example\3com"; /* RFC 2606: its final 0 is the root */
    const char *route = is_for_the_rest(config, group) ? NULL : route_to(config, group);
    if (route == NULL || dns_name_from_text(span_text(route), out->base, &out->base_size) != 0) {
        set_root(out);
        put_fresh(chance, example, sizeof example, out);
    } else {
        put_fresh(chance, out->base, out->base_size, out);
    }
}

size_t probe_question(const struct probe_theme *theme, unsigned index, uint8_t out[PROBE_NAME_MAX])
{
    bool is_fresh = index == PROBE_SINGLE;
    const uint8_t *name = is_fresh ? theme->fresh : theme->base;
    size_t size = is_fresh ? theme->fresh_size : theme->base_size;
    memcpy(out, name, size);
    bytes_put_u16(out + size, index < PROBE_SINGLE ? DNS_TYPE_NS : types[index - PROBE_SINGLE]);
    bytes_put_u16(out + size + 2, DNS_CLASS_IN);
    return size + 4;
}
