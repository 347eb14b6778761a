/*
 * The options that are lists: where to listen, whom to ask, who may ask. A list replaces the list of a lower
 * layer as a whole. Entries that are wrong are left out, after a complaint.
 */
#include "base/error.h"

#include "config/table.h"

/* The field of a list in the snapshot; its type is the caller's knowledge. */
static void *field_of(struct config_work *work, const struct config_option *option)
{
    return (char *)&work->snapshot->config + option->offset;
}

/* Memory for a list's entries; complains when there are too many. */
static void *entries_open(struct config_work *work, const struct config_node *list, size_t most, size_t size)
{
    if (list->count > most) {
        config_complain(work, &list->place, "holds %zu entries; the most is %zu", list->count, most);
        return NULL;
    }
    void *entries = config_arena_take(work->arena, (list->count + 1) * size);
    if (entries == NULL) {
        config_complain_memory(work);
    }
    return entries;
}

/* ---- listen ---- */

static bool listen_address(struct config_work *work, const struct config_node *node, struct address *out)
{
    const char *text = config_node_text(work, node);
    if (text == NULL) {
        return false;
    }
    int error = address_parse(span_text(text), 0, out);
    if (error != 0) {
        config_complain(work, &node->place, "\"%.80s\": expected %s", text,
                        error == ERROR_RANGE ? "a port from 1 to 65535"
                                             : "an address and a port, such as 127.0.0.1:53 or [::1]:53");
        return false;
    }
    if (address_is_multicast(out)) {
        config_complain(work, &node->place, "\"%.80s\": nobody can be answered from this address", text);
        return false;
    }
    if (out->port == 0) {
        config_complain(work, &node->place, "\"%.80s\": the port is missing, as in 127.0.0.1:53 or [::1]:53",
                        text);
        return false;
    }
    if (out->port == CONFIG_DOT_PORT) {
        config_complain(
            work, &node->place,
            "\"%.80s\": port 853 is for DNS over TLS; clear text is never served there (RFC 7858, "
            "section 3.1)",
            text);
        return false;
    }
    return true;
}

static bool listen_transport(struct config_work *work, const struct config_node *list,
                             struct config_listen *out)
{
    if (!config_node_is_list(work, list)) {
        return false;
    }
    for (const struct config_node *entry = list->first; entry != NULL; entry = entry->next) {
        const char *word = config_node_text(work, entry);
        if (word == NULL) {
            return false;
        }
        bool *transport = strcmp(word, "udp") == 0 ? &out->udp : strcmp(word, "tcp") == 0 ? &out->tcp : NULL;
        if (transport == NULL) {
            config_complain(work, &entry->place, "\"%.80s\": expected udp or tcp", word);
            return false;
        }
        *transport = true;
    }
    if (!out->udp && !out->tcp) {
        config_complain(work, &list->place, "expected udp, tcp or both");
        return false;
    }
    return true;
}

static bool listen_map(struct config_work *work, const struct config_node *node, struct config_listen *out)
{
    struct config_field fields[] = {{"address", NULL}, {"transport", NULL}};
    size_t before = work->complaints;
    config_node_fields(work, node, fields, sizeof fields / sizeof fields[0]);
    if (fields[0].node == NULL) {
        config_complain(work, &node->place, "the address is missing");
    } else {
        listen_address(work, fields[0].node, &out->address);
    }
    if (fields[1].node == NULL) {
        out->udp = out->tcp = true;
    } else {
        listen_transport(work, fields[1].node, out);
    }
    return work->complaints == before;
}

static bool listen_entry(struct config_work *work, const struct config_node *node, struct config_listen *out)
{
    if (node->kind == CONFIG_NODE_MAP) {
        return listen_map(work, node, out);
    }
    out->udp = out->tcp = true;
    return listen_address(work, node, &out->address);
}

static bool listen_is_new(struct config_work *work, const struct config_node *node,
                          const struct config_listen *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct config_listen *other = &work->snapshot->config.listen[i];
        bool shared = (wanted->udp && other->udp) || (wanted->tcp && other->tcp);
        if (shared && address_equal(&wanted->address, &other->address)) {
            char text[ADDRESS_TEXT_SIZE];
            address_format(&wanted->address, true, text);
            config_complain(work, &node->place, "%s stands here twice", text);
            return false;
        }
    }
    return true;
}

void config_listeners_set(struct config_work *work, const struct config_option *option,
                          const struct config_node *list)
{
    struct config *config = &work->snapshot->config;
    config->listen_count = 0;
    config->listen = entries_open(work, list, (size_t)option->most, sizeof *config->listen);
    if (config->listen == NULL) {
        return;
    }
    if (list->first == NULL) {
        config_complain(work, &list->place, "at least one address is needed");
    }
    for (const struct config_node *node = list->first; node != NULL; node = node->next) {
        struct config_listen entry = {0};
        if (listen_entry(work, node, &entry) && listen_is_new(work, node, &entry, config->listen_count)) {
            config->listen[config->listen_count++] = entry;
        }
    }
}

/* ---- upstreams ---- */

static bool names_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Adds an upstream with the pins of `entry`; the pool's key is address, port and name, so that they must be
 * new. */
static void upstream_add(struct config_work *work, const struct config_node *node,
                         const struct config_upstream *entry)
{
    struct config *config = &work->snapshot->config;
    for (size_t i = 0; i < config->upstream_count; i++) {
        const struct config_upstream *other = &config->upstreams[i];
        if (address_equal(&entry->address, &other->address) && names_equal(entry->name, other->name)) {
            config_complain(work, &node->place, "%s stands here twice", entry->label);
            return;
        }
    }
    if (config->upstream_count == CONFIG_UPSTREAMS_MAX) {
        config_complain(work, &node->place, "there are more than %d upstreams", CONFIG_UPSTREAMS_MAX);
        return;
    }
    work->snapshot->upstream_places[config->upstream_count] = node->place;
    config->upstreams[config->upstream_count++] = *entry;
}

static void preset_add(struct config_work *work, const struct config_node *node,
                       const struct config_preset *preset, const struct config_upstream *pins)
{
    for (size_t i = 0; i < CONFIG_PRESET_SERVERS; i++) {
        struct address address = config_preset_server(preset, i);
        struct config_upstream entry;
        if (!config_upstream_fill(work->arena, &address, preset->name, &entry)) {
            config_complain_memory(work);
            return;
        }
        entry.pins = pins->pins;
        entry.pin_count = pins->pin_count;
        entry.optional = i >= CONFIG_PRESET_SERVERS / 2;
        upstream_add(work, node, &entry);
    }
}

/* One URL or preset. `pins` lends its pins. */
static void upstream_text(struct config_work *work, const struct config_node *node,
                          const struct config_upstream *pins)
{
    const char *text = config_node_text(work, node);
    if (text == NULL) {
        return;
    }
    const struct config_preset *preset = config_preset_find(text);
    if (preset != NULL) {
        preset_add(work, node, preset, pins);
        return;
    }
    struct address address;
    const char *name;
    const char *refusal = config_url_parse(text, &address, &name);
    if (refusal != NULL) {
        config_complain(work, &node->place, "\"%.80s\": %s", text, refusal);
        return;
    }
    struct config_upstream entry;
    if (!config_upstream_fill(work->arena, &address, name, &entry)) {
        config_complain_memory(work);
        return;
    }
    entry.pins = pins->pins;
    entry.pin_count = pins->pin_count;
    upstream_add(work, node, &entry);
}

static void pins_read(struct config_work *work, const struct config_node *list, struct config_upstream *out)
{
    if (!config_node_is_list(work, list)) {
        return;
    }
    out->pins = entries_open(work, list, CONFIG_PINS_MAX, sizeof *out->pins);
    if (out->pins == NULL) {
        return;
    }
    for (const struct config_node *node = list->first; node != NULL; node = node->next) {
        const char *text = config_node_text(work, node);
        if (text == NULL) {
            continue;
        }
        if (tls_pin_parse(span_text(text), out->pins[out->pin_count]) == 0) {
            out->pin_count++;
        } else {
            config_complain(work, &node->place,
                            "\"%.80s\": expected sha256/ and the Base64 of the SHA-256 of a public key",
                            text);
        }
    }
}

static void upstream_map(struct config_work *work, const struct config_node *node)
{
    struct config_field fields[] = {{"url", NULL}, {"pins", NULL}};
    struct config_upstream pins = {0};
    config_node_fields(work, node, fields, sizeof fields / sizeof fields[0]);
    if (fields[1].node != NULL) {
        pins_read(work, fields[1].node, &pins);
    }
    if (fields[0].node == NULL) {
        config_complain(work, &node->place, "the url is missing");
    } else {
        upstream_text(work, fields[0].node, &pins);
    }
}

void config_upstreams_set(struct config_work *work, const struct config_option *option,
                          const struct config_node *list)
{
    static const struct config_upstream no_pins = {0};
    struct config *config = &work->snapshot->config;
    config->upstream_count = 0;
    config->upstreams = config_arena_take(work->arena, (size_t)option->most * sizeof *config->upstreams);
    if (config->upstreams == NULL) {
        config_complain_memory(work);
        return;
    }
    if (list->first == NULL) {
        config_complain(work, &list->place, "at least one upstream is needed");
    }
    for (const struct config_node *node = list->first; node != NULL; node = node->next) {
        if (node->kind == CONFIG_NODE_MAP) {
            upstream_map(work, node);
        } else {
            upstream_text(work, node, &no_pins);
        }
    }
}

/* ---- access ---- */

static const char *const private_prefixes[] = {"127.0.0.0/8",    "10.0.0.0/8",     "172.16.0.0/12",
                                               "192.168.0.0/16", "169.254.0.0/16", "::1/128",
                                               "fe80::/10",      "fc00::/7"};
static const char *const any_prefixes[] = {"0.0.0.0/0", "::/0"};

enum {
    PRIVATE_COUNT = sizeof private_prefixes / sizeof private_prefixes[0],
    ANY_COUNT = sizeof any_prefixes / sizeof any_prefixes[0],
    PREFIXES_MAX = 4096,
};

static void prefixes_add_words(struct config_prefixes *prefixes, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (address_prefix_parse(span_text(texts[i]), &prefixes->items[prefixes->count]) == 0) {
            prefixes->count++;
        }
    }
}

static void prefixes_add(struct config_work *work, const struct config_node *node,
                         struct config_prefixes *prefixes)
{
    const char *text = config_node_text(work, node);
    if (text == NULL) {
        return;
    }
    if (strcmp(text, "private") == 0) {
        prefixes_add_words(prefixes, private_prefixes, PRIVATE_COUNT);
    } else if (strcmp(text, "any") == 0) {
        prefixes_add_words(prefixes, any_prefixes, ANY_COUNT);
    } else if (address_prefix_parse(span_text(text), &prefixes->items[prefixes->count]) == 0) {
        prefixes->count++;
    } else {
        config_complain(
            work, &node->place,
            "\"%.80s\": expected an address, a prefix without host bits such as 192.0.2.0/24, private or "
            "any",
            text);
    }
}

void config_prefixes_set(struct config_work *work, const struct config_option *option,
                         const struct config_node *list)
{
    struct config_prefixes *prefixes = field_of(work, option);
    prefixes->count = 0;
    prefixes->items = entries_open(work, list, PREFIXES_MAX, PRIVATE_COUNT * sizeof *prefixes->items);
    if (prefixes->items == NULL) {
        return;
    }
    for (const struct config_node *node = list->first; node != NULL; node = node->next) {
        prefixes_add(work, node, prefixes);
    }
    if (prefixes->count > PREFIXES_MAX) {
        config_complain(work, &list->place, "stands for %zu prefixes; the most is %d", prefixes->count,
                        PREFIXES_MAX);
    }
}
