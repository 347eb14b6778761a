/*
 * Forgetting by name. A name has entries under many keys (types, classes, DO, CD, the denial of the name, a
 * failure), so all of the cache is looked through. Called at an operator's command.
 */
#include "base/list.h"

#include "dns/dns.h"

#include "keep/internal.h"

struct forgetting {
    struct cache_visitor visitor;
    struct span name;
    bool below;
    uint64_t forgotten;
};

static bool is_meant(const struct forgetting *forgetting, struct span name)
{
    struct span wanted = forgetting->name;
    size_t at = 0;
    while (forgetting->below && name.size - at > wanted.size) {
        at += name.data[at] + 1u;
    }
    return name.size - at == wanted.size && dns_name_equal(name.data + at, wanted.data, wanted.size);
}

/* A key that is none belongs to no name. */
static bool show(struct cache_visitor *visitor, struct span key, struct span value,
                 const struct cache_life *life)
{
    (void)value;
    (void)life;
    struct forgetting *forgetting = container_of(visitor, struct forgetting, visitor);
    struct span name;
    if (dns_key_name(key, &name) != 0 || !is_meant(forgetting, name)) {
        return true;
    }
    forgetting->forgotten++;
    return false;
}

int keep_forget(struct cache *cache, const char *name, bool below, uint64_t *forgotten)
{
    uint8_t wire[DNS_NAME_MAX];
    size_t size;
    int error = dns_name_from_text(span_text(name), wire, &size);
    if (error != 0) {
        return error;
    }
    struct forgetting forgetting = {.visitor.visit = show, .name = span_of(wire, size), .below = below};
    cache_begin_generation(cache);
    cache_visit(cache, &forgetting.visitor);
    *forgotten = forgetting.forgotten;
    return 0;
}

struct emptying {
    struct cache_visitor visitor;
    const bool *groups;
    uint64_t forgotten;
};

static bool show_group(struct cache_visitor *visitor, struct span key, struct span value,
                       const struct cache_life *life)
{
    (void)value;
    (void)life;
    struct emptying *emptying = container_of(visitor, struct emptying, visitor);
    struct span name;
    if (dns_key_name(key, &name) != 0 || !emptying->groups[dns_key_group(key)]) {
        return true;
    }
    emptying->forgotten++;
    return false;
}

uint64_t keep_forget_groups(struct cache *cache, const bool groups[DNS_KEY_GROUP_MAX + 1])
{
    struct emptying emptying = {.visitor.visit = show_group, .groups = groups};
    cache_begin_generation(cache);
    cache_visit(cache, &emptying.visitor);
    return emptying.forgotten;
}
