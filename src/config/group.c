/*
 * Groups of servers: how each is chosen from, which names go to which, and what the listeners ask. Groups are
 * made by the upstreams that name them; everybody else who names one is checked against those when all layers
 * are read. A word of a list, such as "cluster.local=office", is the same as an entry of a mapping.
 */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/error.h"
#include "base/hash.h"

#include "config/table.h"

static const char *const policies[] = {"fastest", "round-robin", "random", "ordered", "hash"};

const char *config_policy_word(enum config_policy policy)
{
    return policies[policy];
}

bool config_group_name_is_valid(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return name[0] != '\0' && strlen(name) <= CONFIG_GROUP_NAME_MAX && strspn(name, letters) == strlen(name);
}

char *config_group_name(struct config_work *work, const struct config_node *node)
{
    const char *text = config_node_text(work, node);
    if (text == NULL) {
        return NULL;
    }
    if (!config_group_name_is_valid(text)) {
        config_complain(work, &node->place,
                        "\"%.80s\": expected the name of a group: letters, digits, - and _", text);
        return NULL;
    }
    char *copy = config_arena_text(work->arena, span_text(text));
    if (copy == NULL) {
        config_complain_memory(work);
    }
    return copy;
}

/* ---- entries of mappings and of lists ---- */

/* "KEY=VALUE" as an entry of a mapping; refused after a complaint. */
static bool split_word(struct config_work *work, const struct config_node *word, struct config_node *entry)
{
    if (word->kind == CONFIG_NODE_MAP) {
        config_complain(work, &word->place,
                        "expected NAME=VALUE, or instead of the list one mapping of NAME: VALUE");
        return false;
    }
    const char *text = config_node_text(work, word);
    const char *sign = text == NULL ? NULL : strrchr(text, '=');
    if (sign == NULL) {
        if (text != NULL) {
            config_complain(work, &word->place, "\"%.80s\": expected NAME=VALUE", text);
        }
        return false;
    }
    *entry = (struct config_node){.kind = CONFIG_NODE_SCALAR, .place = word->place, .key_place = word->place};
    entry->key = config_arena_text(work->arena, span_of(text, (size_t)(sign - text)));
    entry->text = config_arena_text(work->arena, span_text(sign + 1));
    if (entry->key == NULL || entry->text == NULL) {
        config_complain_memory(work);
        return false;
    }
    return true;
}

static void each_entry(struct config_work *work, const struct config_node *node,
                       void (*take)(struct config_work *, const struct config_node *))
{
    for (const struct config_node *child = node->first; child != NULL; child = child->next) {
        struct config_node entry;
        if (node->kind == CONFIG_NODE_MAP) {
            take(work, child);
        } else if (split_word(work, child, &entry)) {
            take(work, &entry);
        }
    }
}

/* ---- groups ---- */

static bool policy_of(struct config_work *work, const struct config_node *node, enum config_policy *out)
{
    const char *text = config_node_text(work, node);
    for (size_t i = 0; text != NULL && i < sizeof policies / sizeof policies[0]; i++) {
        if (strcmp(policies[i], text) == 0) {
            *out = (enum config_policy)i;
            return true;
        }
    }
    if (text != NULL) {
        config_complain(work, &node->place,
                        "\"%.80s\": expected fastest, round-robin, random, ordered or hash", text);
    }
    return false;
}

static void hedge_of(struct config_work *work, const struct config_node *node, bool *out)
{
    const char *text = config_node_text(work, node);
    if (text != NULL && strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
        config_complain(work, &node->place, "\"%.80s\": expected true or false", text);
    } else if (text != NULL) {
        *out = strcmp(text, "true") == 0;
    }
}

/* Who parts the names among servers does not want copies at others, unless it says so. */
static void setting_read(struct config_work *work, const struct config_node *node,
                         struct config_group_setting *out)
{
    struct config_field fields[] = {{"policy", NULL}, {"hedge", NULL}};
    if (node->kind == CONFIG_NODE_SCALAR) {
        fields[0].node = node;
    } else {
        config_node_fields(work, node, fields, sizeof fields / sizeof fields[0]);
    }
    if (fields[0].node != NULL) {
        policy_of(work, fields[0].node, &out->policy);
    }
    out->hedge = out->policy != CONFIG_HASH;
    if (fields[1].node != NULL) {
        hedge_of(work, fields[1].node, &out->hedge);
    }
}

static bool is_known_setting(const struct config_snapshot *snapshot, const char *name)
{
    for (size_t i = 0; i < snapshot->setting_count; i++) {
        if (strcmp(snapshot->settings[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void take_setting(struct config_work *work, const struct config_node *node)
{
    struct config_snapshot *snapshot = work->snapshot;
    if (!config_group_name_is_valid(node->key)) {
        config_complain(work, &node->key_place,
                        "\"%.80s\": expected the name of a group: letters, digits, - and _", node->key);
        return;
    }
    if (is_known_setting(snapshot, node->key) || snapshot->setting_count == CONFIG_GROUPS_MAX) {
        config_complain(work, &node->key_place, "\"%.80s\": %s", node->key,
                        snapshot->setting_count == CONFIG_GROUPS_MAX ? "there are more than 32 groups"
                                                                     : "stands here twice");
        return;
    }
    struct config_group_setting *setting = &snapshot->settings[snapshot->setting_count++];
    *setting = (struct config_group_setting){.name = node->key, .place = node->key_place};
    setting_read(work, node, setting);
}

void config_groups_set(struct config_work *work, const struct config_node *node)
{
    work->snapshot->setting_count = 0;
    each_entry(work, node, take_setting);
}

/* ---- routes ---- */

static void take_route(struct config_work *work, const struct config_node *node)
{
    struct config *config = &work->snapshot->config;
    bool is_rest = strcmp(node->key, ".") == 0;
    const char *refusal = is_rest ? NULL : local_route_refusal(node->key);
    if (refusal != NULL) {
        config_complain(work, &node->key_place, "\"%.80s\": %s", node->key, refusal);
        return;
    }
    char *group = config_group_name(work, node);
    char *name = config_arena_text(work->arena, span_text(node->key));
    if (group == NULL || name == NULL) {
        return;
    }
    work->snapshot->route_places[config->route_count] = node->place;
    config->routes[config->route_count++] = (struct config_route){.name = name, .group_name = group};
}

/* As far as names are equal as they are written; what only escapes hide is found when routes are built. */
struct written_route {
    struct span name; /* without a dot at the end */
    const struct config_place *place;
};

static int compare_written(const void *left, const void *right)
{
    const struct written_route *a = left, *b = right;
    size_t size = a->name.size < b->name.size ? a->name.size : b->name.size;
    int order = strncasecmp((const char *)a->name.data, (const char *)b->name.data, size);
    if (order == 0 && a->name.size != b->name.size) {
        order = a->name.size < b->name.size ? -1 : 1;
    }
    return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}

static bool is_written_alike(const struct written_route *a, const struct written_route *b)
{
    return a->name.size == b->name.size &&
           strncasecmp((const char *)a->name.data, (const char *)b->name.data, a->name.size) == 0;
}

static void find_twins(struct config_work *work)
{
    const struct config *config = &work->snapshot->config;
    struct written_route *sorted = config_arena_take(work->arena, (config->route_count + 1) * sizeof *sorted);
    if (sorted == NULL) {
        config_complain_memory(work);
        return;
    }
    for (size_t i = 0; i < config->route_count; i++) {
        struct span name = span_text(config->routes[i].name);
        name.size -= name.size > 1 && name.data[name.size - 1] == '.';
        sorted[i] = (struct written_route){.name = name, .place = &work->snapshot->route_places[i]};
    }
    qsort(sorted, config->route_count, sizeof *sorted, compare_written);
    for (size_t i = 1; i < config->route_count; i++) {
        if (is_written_alike(&sorted[i - 1], &sorted[i])) {
            config_complain(work, sorted[i].place, "\"%.*s\": stands here twice", (int)sorted[i].name.size,
                            (const char *)sorted[i].name.data);
        }
    }
}

void config_routes_set(struct config_work *work, const struct config_option *option,
                       const struct config_node *node)
{
    struct config_snapshot *snapshot = work->snapshot;
    struct config *config = &snapshot->config;
    config->route_count = 0;
    if (node->count > option->most) {
        config_complain(work, &node->place, "holds %zu routes; the most is %zu", node->count,
                        (size_t)option->most);
        return;
    }
    config->routes = config_arena_take(work->arena, (node->count + 1) * sizeof *config->routes);
    snapshot->route_places =
        config_arena_take(work->arena, (node->count + 1) * sizeof *snapshot->route_places);
    if (config->routes == NULL || snapshot->route_places == NULL) {
        config_complain_memory(work);
        return;
    }
    each_entry(work, node, take_route);
    find_twins(work);
}

/* ---- who asks whom ---- */

static struct config_group *group_find(struct config *config, const char *name)
{
    for (size_t i = 0; i < config->group_count; i++) {
        if (strcmp(config->groups[i].name, name) == 0) {
            return &config->groups[i];
        }
    }
    return NULL;
}

static void complain_no_group(struct config_work *work, const struct config_place *place, const char *name)
{
    const struct config *config = &work->snapshot->config;
    struct config_suggestion suggestion;
    config_suggestion_init(&suggestion, name);
    for (size_t i = 0; i < config->group_count; i++) {
        config_suggestion_offer(&suggestion, config->groups[i].name);
    }
    if (suggestion.best[0] != '\0') {
        config_complain(work, place, "no upstream is in the group %s; did you mean %s?", name,
                        suggestion.best);
    } else {
        config_complain(work, place,
                        "no upstream is in the group %s: write group: %s at those that belong to it", name,
                        name);
    }
}

/* The groups, in the order in which the upstreams name them. There are as many as upstreams at most. */
static bool is_taken(const struct config *config, const struct config_group *group)
{
    for (const struct config_group *other = config->groups; other < group; other++) {
        if (other->partition == group->partition) {
            return true;
        }
    }
    return false;
}

/* A number that the name leads to, so that groups may come and go between configurations; where another one
 * has it already, the next. */
static void find_partition(const struct config *config, struct config_group *group)
{
    uint64_t hash = hash_bytes(&(struct hash_key){{0, 0}}, span_text(group->name));
    group->partition = (uint8_t)(hash % CONFIG_PARTITIONS);
    while (is_taken(config, group)) {
        group->partition = (uint8_t)((group->partition + 1) % CONFIG_PARTITIONS);
    }
}

static bool make_groups(struct config_work *work)
{
    struct config *config = &work->snapshot->config;
    config->groups = config_arena_take(work->arena, (config->upstream_count + 1) * sizeof *config->groups);
    if (config->groups == NULL) {
        return false;
    }
    for (size_t i = 0; i < config->upstream_count; i++) {
        struct config_upstream *upstream = &config->upstreams[i];
        struct config_group *group = group_find(config, upstream->group_name);
        if (group == NULL) {
            group = &config->groups[config->group_count++];
            *group = (struct config_group){
                .name = upstream->group_name, .is_plain = upstream->transport != CONFIG_TLS, .hedge = true};
            find_partition(config, group);
        }
        upstream->group = (unsigned)(group - config->groups);
    }
    return true;
}

/* A server of another group than the default one is named with its group: it may be in several. */
static bool label_upstreams(struct config_work *work)
{
    struct config *config = &work->snapshot->config;
    for (size_t i = 0; i < config->upstream_count; i++) {
        struct config_upstream *upstream = &config->upstreams[i];
        char label[CONFIG_GROUP_NAME_MAX + CONFIG_HOST_NAME_MAX + ADDRESS_TEXT_SIZE + 32];
        bool is_default = strcmp(upstream->group_name, CONFIG_DEFAULT_GROUP) == 0;
        snprintf(label, sizeof label, "%s%s%s", is_default ? "" : upstream->group_name, is_default ? "" : "/",
                 upstream->url);
        upstream->label = config_arena_text(work->arena, span_text(label));
        if (upstream->label == NULL) {
            return false;
        }
    }
    return true;
}

static void apply_settings(struct config_work *work)
{
    const struct config_snapshot *snapshot = work->snapshot;
    for (size_t i = 0; i < snapshot->setting_count; i++) {
        const struct config_group_setting *setting = &snapshot->settings[i];
        struct config_group *group = group_find(&work->snapshot->config, setting->name);
        if (group == NULL) {
            complain_no_group(work, &setting->place, setting->name);
        } else {
            group->policy = setting->policy;
            group->hedge = setting->hedge;
        }
    }
}

/* Whoever asks the group `name`; NULL after a complaint. */
static struct config_group *ask_group(struct config_work *work, const char *name,
                                      const struct config_place *place)
{
    struct config_group *group = group_find(&work->snapshot->config, name);
    if (group == NULL) {
        complain_no_group(work, place, name);
        return NULL;
    }
    group->is_asked = true;
    return group;
}

/* Takes the route of "." out of the routes: it is what listeners ask that say nothing else. */
static struct config_group *resolve_routes(struct config_work *work)
{
    struct config *config = &work->snapshot->config;
    struct config_group *rest = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < config->route_count; i++) {
        struct config_route route = config->routes[i];
        const struct config_group *group =
            ask_group(work, route.group_name, &work->snapshot->route_places[i]);
        if (group == NULL) {
            continue;
        }
        if (strcmp(route.name, ".") == 0) {
            rest = &config->groups[group - config->groups];
            config->rest_group = rest->name;
            continue;
        }
        route.group = (unsigned)(group - config->groups);
        config->routes[kept++] = route;
    }
    config->route_count = kept;
    return rest != NULL ? rest : group_find(config, CONFIG_DEFAULT_GROUP);
}

static void resolve_listeners(struct config_work *work, struct config_group *rest)
{
    struct config *config = &work->snapshot->config;
    for (size_t i = 0; i < config->listen_count; i++) {
        struct config_listen *listen = &config->listen[i];
        const struct config_place *place = &work->snapshot->listen_places[i];
        struct config_group *group = rest;
        if (listen->group_name != NULL) {
            group = ask_group(work, listen->group_name, place);
        } else if (rest == NULL) {
            config_complain(work, place,
                            "no upstream is in the group default: name a group here, or for \".\" in routes");
        }
        if (group != NULL) {
            group->is_asked = true;
            listen->group = (unsigned)(group - config->groups);
        }
    }
}

static const struct config_place *first_place_of(const struct config_work *work, size_t group)
{
    size_t i = 0;
    while (work->snapshot->config.upstreams[i].group != group) {
        i++;
    }
    return &work->snapshot->upstream_places[i];
}

/* A group that nobody asks is a slip: a name was written in two ways. */
static void find_unasked(struct config_work *work)
{
    const struct config *config = &work->snapshot->config;
    for (size_t i = 0; i < config->group_count; i++) {
        if (!config->groups[i].is_asked) {
            config_complain(work, first_place_of(work, i),
                            "nobody asks the group %s: name it in routes, or at a listener",
                            config->groups[i].name);
        }
    }
}

/* In a group any server may be asked in the place of any other: one in clear text among encrypted ones would
 * get what was meant for them. */
static void find_mixed(struct config_work *work)
{
    const struct config *config = &work->snapshot->config;
    for (size_t i = 0; i < config->upstream_count; i++) {
        const struct config_upstream *upstream = &config->upstreams[i];
        bool is_plain = upstream->transport != CONFIG_TLS;
        if (is_plain != config->groups[upstream->group].is_plain) {
            config_complain(work, &work->snapshot->upstream_places[i],
                            "%s is %s, and others of the group %s are not: give it a group of its own",
                            upstream->url, is_plain ? "asked in clear text" : "encrypted",
                            upstream->group_name);
        }
    }
}

void config_groups_resolve(struct config_work *work)
{
    size_t before = work->complaints;
    if (!make_groups(work) || !label_upstreams(work)) {
        config_complain_memory(work);
        return;
    }
    find_mixed(work);
    apply_settings(work);
    struct config *config = &work->snapshot->config;
    struct config_group *rest = resolve_routes(work);
    resolve_listeners(work, rest);
    if (rest != NULL) {
        config->rest = (unsigned)(rest - config->groups);
    } else if (config->listen_count > 0) {
        config->rest = config->listen[0].group;
    }
    if (work->complaints == before) {
        find_unasked(work);
    }
}
