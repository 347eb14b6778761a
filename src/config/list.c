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

static bool listen_port_is_clear(struct config_work *work, const struct config_place *place,
                                 const struct address *address)
{
    if (address->port == CONFIG_DOT_PORT) {
        char text[ADDRESS_TEXT_SIZE];
        address_format(address, true, text);
        config_complain(work, place,
                        "\"%s\": port 853 is for DNS over TLS; clear text is never served there (RFC 7858, "
                        "section 3.1)",
                        text);
        return false;
    }
    return true;
}

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
    return listen_port_is_clear(work, &node->place, out);
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
    struct config_field fields[] = {{"address", NULL}, {"transport", NULL}, {"upstreams", NULL}};
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
    if (fields[2].node != NULL) {
        out->group_name = config_group_name(work, fields[2].node);
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

static bool listen_is_new(struct config_work *work, const struct config_place *place,
                          const struct config_listen *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct config_listen *other = &work->snapshot->config.listen[i];
        bool shared = (wanted->udp && other->udp) || (wanted->tcp && other->tcp);
        if (shared && address_equal(&wanted->address, &other->address)) {
            char text[ADDRESS_TEXT_SIZE];
            address_format(&wanted->address, true, text);
            bool is_same = wanted->udp == other->udp && wanted->tcp == other->tcp;
            config_complain(work, place, "%s stands here twice%s", text,
                            is_same ? ""
                                    : ": each transport may be at one entry, and an entry that names none "
                                      "is for both");
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
        if (listen_entry(work, node, &entry) &&
            listen_is_new(work, &node->place, &entry, config->listen_count)) {
            work->snapshot->listen_places[config->listen_count] = node->place;
            config->listen[config->listen_count++] = entry;
        }
    }
}

void config_listeners_move(struct config_work *work, const struct config_place *place, uint16_t port)
{
    struct config *config = &work->snapshot->config;
    for (size_t i = 0; i < config->listen_count; i++) {
        struct config_listen moved = config->listen[i];
        moved.address.port = port;
        if (!listen_port_is_clear(work, place, &moved.address) || !listen_is_new(work, place, &moved, i)) {
            return;
        }
        config->listen[i] = moved;
        work->snapshot->listen_places[i] = *place;
    }
}

/* ---- upstreams ---- */

static bool names_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Dates count for nothing where pins are the whole identity, and where there are no pins nothing else would
 * be left of an authority's word. */
static const char *without_clock_refusal(const struct config_upstream *server,
                                         const struct config_upstream *entry)
{
    if (!entry->without_clock) {
        return NULL;
    }
    if (server->transport != CONFIG_TLS) {
        return "in clear text there is no certificate, and without_clock has no use: leave it out";
    }
    if (entry->pin_count == 0) {
        return "without_clock needs pins: without a clock they are what the server is believed by";
    }
    return server->name == NULL
               ? "without_clock has no use: pins without a name are believed whatever the clock says"
               : NULL;
}

bool config_servers_are_same(const struct config_upstream *a, const struct config_upstream *b)
{
    return a->transport == b->transport && address_equal(&a->address, &b->address) &&
           names_equal(a->host, b->host) && names_equal(a->name, b->name);
}

/* Adds a server with what its entry says besides. The pool's key is transport, address or host, port and
 * name, so that they must be new in their group. */
static void upstream_add(struct config_work *work, const struct config_node *node,
                         const struct config_upstream *server, const struct config_upstream *entry)
{
    struct config *config = &work->snapshot->config;
    const char *refusal = without_clock_refusal(server, entry);
    if (refusal != NULL) {
        config_complain(work, &node->place, "%s: %s", server->url, refusal);
        return;
    }
    for (size_t i = 0; i < config->upstream_count; i++) {
        const struct config_upstream *other = &config->upstreams[i];
        if (config_servers_are_same(server, other) && strcmp(entry->group_name, other->group_name) == 0) {
            config_complain(work, &node->place, "%s stands here twice", server->url);
            return;
        }
    }
    if (config->upstream_count == CONFIG_UPSTREAMS_MAX) {
        config_complain(work, &node->place, "there are more than %d upstreams", CONFIG_UPSTREAMS_MAX);
        return;
    }
    struct config_upstream *added = &config->upstreams[config->upstream_count];
    *added = *server;
    added->pins = entry->pins;
    added->pin_count = entry->pin_count;
    added->group_name = entry->group_name;
    added->weight = entry->weight;
    added->without_clock = entry->without_clock;
    work->snapshot->upstream_places[config->upstream_count++] = node->place;
}

static void preset_add(struct config_work *work, const struct config_node *node,
                       const struct config_preset *preset, const struct config_upstream *entry)
{
    for (size_t i = 0; i < CONFIG_PRESET_SERVERS; i++) {
        struct address address = config_preset_server(preset, i);
        struct config_upstream server;
        if (!config_upstream_fill(work->arena, CONFIG_TLS, &address, preset->name, &server)) {
            config_complain_memory(work);
            return;
        }
        server.optional = i >= CONFIG_PRESET_SERVERS / 2;
        upstream_add(work, node, &server, entry);
    }
}

/* One URL or preset. */
static void upstream_text(struct config_work *work, const struct config_node *node, const char *text,
                          const struct config_upstream *entry)
{
    const struct config_preset *preset = config_preset_find(text);
    if (preset != NULL) {
        preset_add(work, node, preset, entry);
        return;
    }
    struct config_url url;
    const char *refusal = config_url_parse(text, &url);
    if (refusal == NULL && url.transport != CONFIG_TLS && entry->pin_count > 0) {
        refusal = "in clear text there is no key that could be pinned: leave out the pins";
    }
    if (refusal != NULL) {
        config_complain(work, &node->place, "\"%.80s\": %s", text, refusal);
        return;
    }
    struct config_upstream server;
    if (!config_url_fill(work->arena, &url, &server)) {
        config_complain_memory(work);
        return;
    }
    upstream_add(work, node, &server, entry);
}

static const char default_group[] = CONFIG_DEFAULT_GROUP;

/* A URL or preset alone, or "GROUP=URL". */
static void upstream_word(struct config_work *work, const struct config_node *node)
{
    struct config_upstream entry = {.group_name = default_group, .weight = 1};
    const char *text = config_node_text(work, node);
    const char *sign = text == NULL ? NULL : strchr(text, '=');
    if (text == NULL) {
        return;
    }
    if (sign != NULL) {
        struct config_node group = *node;
        group.text = config_arena_text(work->arena, span_of(text, (size_t)(sign - text)));
        entry.group_name = group.text == NULL ? NULL : config_group_name(work, &group);
        text = sign + 1;
    }
    if (entry.group_name != NULL) {
        upstream_text(work, node, text, &entry);
    }
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
                            "\"%.80s\": expected sha256/ and the Base64 of the SHA-256 of a public key, as "
                            "--check --connect prints it",
                            text);
        }
    }
}

static void weight_read(struct config_work *work, const struct config_node *node, unsigned *out)
{
    const char *text = config_node_text(work, node);
    uint16_t weight;
    if (text == NULL) {
        return;
    }
    if (config_port_parse(span_text(text), &weight) && weight <= CONFIG_WEIGHT_MAX) {
        *out = weight;
    } else {
        config_complain(work, &node->place, "\"%.80s\": expected a weight from 1 to %d", text,
                        CONFIG_WEIGHT_MAX);
    }
}

static void switch_read(struct config_work *work, const struct config_node *node, bool *out)
{
    const char *text = config_node_text(work, node);
    if (text == NULL) {
        return;
    }
    *out = strcmp(text, "true") == 0;
    if (!*out && strcmp(text, "false") != 0) {
        config_complain(work, &node->place, "\"%.80s\": expected true or false", text);
    }
}

static void upstream_map(struct config_work *work, const struct config_node *node)
{
    struct config_field fields[] = {
        {"url", NULL}, {"pins", NULL}, {"group", NULL}, {"weight", NULL}, {"without_clock", NULL}};
    struct config_upstream entry = {.group_name = default_group, .weight = 1};
    config_node_fields(work, node, fields, sizeof fields / sizeof fields[0]);
    if (fields[1].node != NULL) {
        pins_read(work, fields[1].node, &entry);
    }
    if (fields[2].node != NULL) {
        entry.group_name = config_group_name(work, fields[2].node);
    }
    if (fields[3].node != NULL) {
        weight_read(work, fields[3].node, &entry.weight);
    }
    if (fields[4].node != NULL) {
        switch_read(work, fields[4].node, &entry.without_clock);
    }
    const char *text = fields[0].node == NULL ? NULL : config_node_text(work, fields[0].node);
    if (fields[0].node == NULL) {
        config_complain(work, &node->place, "the url is missing");
    } else if (text != NULL && entry.group_name != NULL) {
        upstream_text(work, fields[0].node, text, &entry);
    }
}

void config_upstreams_set(struct config_work *work, const struct config_option *option,
                          const struct config_node *list)
{
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
            upstream_word(work, node);
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
