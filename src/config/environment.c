/*
 * The environment: a DNSEAL_ name for every option, and before them, so that they lose against them, the
 * seven names of older deployments. A misspelt DNSEAL_ name is an error, because nobody would notice
 * otherwise.
 */
#include <sys/socket.h>

#include "config/table.h"

static const char own_prefix[] = "DNSEAL_";

/* What Kubernetes tells every pod about a Service of the name dnseal. */
static const char *const foreign_prefixes[] = {"DNSEAL_PORT", "DNSEAL_SERVICE_"};

enum old_name {
    OLD_SERVER_IP,
    OLD_SERVER_PORT,
    OLD_SERVER_NAME,
    OLD_CA_PATH,
    OLD_LISTENING_PORT,
    OLD_PROXY_SERVER,
    OLD_PROXY_PORT,
    OLD_COUNT,
};

static const char *const old_names[OLD_COUNT] = {
    [OLD_SERVER_IP] = "DNS_SERVER_IP",       [OLD_SERVER_PORT] = "DNS_SERVER_PORT",
    [OLD_SERVER_NAME] = "DNS_SERVER_NAME",   [OLD_CA_PATH] = "CA_PATH",
    [OLD_LISTENING_PORT] = "LISTENING_PORT", [OLD_PROXY_SERVER] = "PROXY_SERVER",
    [OLD_PROXY_PORT] = "PROXY_PORT",
};

static struct config_place place_of(struct config_work *work, const char *name)
{
    char *copy = config_arena_text(work->arena, span_text(name));
    return (struct config_place){.source = CONFIG_FROM_ENVIRONMENT, .name = copy == NULL ? "?" : copy};
}

/* The value of the variable, or NULL when it is not set. Empty counts as not set where compose files would
 * hand on a variable that has no value. */
static const char *value_of(char *const *environment, const char *name)
{
    size_t size = strlen(name);
    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, name, size) == 0 && (*environment)[size] == '=') {
            const char *value = *environment + size + 1;
            return value[0] == '\0' ? NULL : value;
        }
    }
    return NULL;
}

static bool port_read(struct config_work *work, enum old_name name, const char *value, uint16_t *out)
{
    if (value != NULL && !config_port_parse(span_text(value), out)) {
        struct config_place place = place_of(work, old_names[name]);
        config_complain(work, &place, "\"%.80s\": expected a port from 1 to 65535", value);
        return false;
    }
    return true;
}

/* Sets a list option from addresses. The entries take the names' place in complaints. */
static void set_list(struct config_work *work, const char *path, const struct config_place *place,
                     struct config_node *const *entries, size_t count)
{
    struct config_node list = {.kind = CONFIG_NODE_LIST, .place = *place};
    for (size_t i = 0; i < count; i++) {
        if (entries[i] == NULL) {
            return;
        }
        config_node_append(&list, entries[i]);
    }
    config_option_set(work, config_option_find(path), &list);
}

/* ---- where to listen: PROXY_SERVER, PROXY_PORT, LISTENING_PORT ---- */

enum { LOOPBACKS = 2, CLEAR_PORT = 53 };

static struct config_node *listener_node(struct config_work *work, const struct config_place *place,
                                         const struct address *address)
{
    char text[ADDRESS_TEXT_SIZE];
    size_t size = address_format(address, true, text);
    return config_node_scalar(work, place, span_of(text, size));
}

static void read_listener(struct config_work *work, const char *const values[OLD_COUNT])
{
    static const char *const loopbacks[LOOPBACKS] = {"127.0.0.1", "::1"};
    const char *server = values[OLD_PROXY_SERVER];
    bool new_name = values[OLD_LISTENING_PORT] != NULL;
    enum old_name port_name = new_name ? OLD_LISTENING_PORT : OLD_PROXY_PORT;
    uint16_t port = CLEAR_PORT;
    bool usable = port_read(work, port_name, values[port_name], &port);
    struct config_place place =
        place_of(work, old_names[values[port_name] != NULL ? port_name : OLD_PROXY_SERVER]);
    if (server == NULL) {
        if (usable && values[port_name] != NULL) {
            config_listeners_move(work, &place, port);
        }
        return;
    }
    struct config_node *entries[LOOPBACKS] = {NULL};
    bool both = strcmp(server, "localhost") == 0;
    size_t count = both ? LOOPBACKS : 1;
    for (size_t i = 0; i < count && usable; i++) {
        struct address address;
        const char *text = both ? loopbacks[i] : server;
        if (address_parse(span_text(text), 0, &address) != 0 || address.port != 0) {
            place = place_of(work, old_names[OLD_PROXY_SERVER]);
            config_complain(work, &place, "\"%.80s\": expected an address without a port, or localhost",
                            text);
            return;
        }
        address.port = port;
        entries[i] = listener_node(work, &place, &address);
    }
    if (usable) {
        set_list(work, "listen", &place, entries, count);
    }
}

/* ---- whom to ask: DNS_SERVER_IP, DNS_SERVER_PORT, DNS_SERVER_NAME ---- */

enum { STANDARD_SERVERS = 2 };

static bool server_port_read(struct config_work *work, const char *value, uint16_t *out)
{
    if (!port_read(work, OLD_SERVER_PORT, value, out)) {
        return false;
    }
    struct address somewhere = config_preset_server(config_preset_at(0), 0);
    somewhere.port = *out;
    const char *refusal = config_server_refusal(CONFIG_TLS, &somewhere);
    if (refusal != NULL) {
        struct config_place place = place_of(work, old_names[OLD_SERVER_PORT]);
        config_complain(work, &place, "\"%.80s\": %s", value, refusal);
    }
    return refusal == NULL;
}

/* Without DNS_SERVER_IP the two IPv4 addresses of the standard preset are meant. */
static size_t server_addresses(struct config_work *work, const char *text,
                               struct address out[STANDARD_SERVERS])
{
    if (text == NULL) {
        for (size_t i = 0; i < STANDARD_SERVERS; i++) {
            out[i] = config_preset_server(config_preset_at(0), i);
        }
        return STANDARD_SERVERS;
    }
    bool is_address = address_parse(span_text(text), 0, &out[0]) == 0 && out[0].port == 0;
    const char *refusal =
        is_address ? config_server_refusal(CONFIG_TLS, &out[0]) : "expected an address without a port";
    if (refusal != NULL) {
        struct config_place place = place_of(work, old_names[OLD_SERVER_IP]);
        config_complain(work, &place, "\"%.80s\": %s", text, refusal);
        return 0;
    }
    return 1;
}

static struct config_node *server_node(struct config_work *work, const struct config_place *place,
                                       const struct address *address, const char *name)
{
    const struct config_preset *preset = config_preset_of(address);
    struct config_upstream upstream;
    if (name == NULL && preset != NULL) {
        name = preset->name;
    }
    if (!config_upstream_fill(work->arena, CONFIG_TLS, address, name, &upstream)) {
        config_complain_memory(work);
        return NULL;
    }
    return config_node_scalar(work, place, span_text(upstream.url));
}

static bool server_name_is_valid(struct config_work *work, const char *name)
{
    const char *refusal = name == NULL ? NULL : config_host_name_refusal(name);
    if (refusal != NULL) {
        struct config_place place = place_of(work, old_names[OLD_SERVER_NAME]);
        config_complain(work, &place, "\"%.80s\": %s", name, refusal);
    }
    return refusal == NULL;
}

static void read_server(struct config_work *work, const char *const values[OLD_COUNT])
{
    const char *ip = values[OLD_SERVER_IP], *name = values[OLD_SERVER_NAME],
               *port_text = values[OLD_SERVER_PORT];
    if (ip == NULL && name == NULL && port_text == NULL) {
        return;
    }
    uint16_t port = CONFIG_DOT_PORT;
    bool port_usable = server_port_read(work, port_text, &port);
    bool name_usable = server_name_is_valid(work, name);
    struct address addresses[STANDARD_SERVERS];
    size_t count = server_addresses(work, ip, addresses);
    if (!port_usable || !name_usable || count == 0) {
        return;
    }
    enum old_name told = ip != NULL ? OLD_SERVER_IP : port_text != NULL ? OLD_SERVER_PORT : OLD_SERVER_NAME;
    struct config_place place = place_of(work, old_names[told]);
    struct config_node *entries[STANDARD_SERVERS] = {NULL};
    for (size_t i = 0; i < count; i++) {
        addresses[i].port = port;
        entries[i] = server_node(work, &place, &addresses[i], name);
    }
    set_list(work, "upstreams", &place, entries, count);
}

static void read_old_names(struct config_work *work, char *const *environment)
{
    const char *values[OLD_COUNT];
    for (size_t i = 0; i < OLD_COUNT; i++) {
        values[i] = value_of(environment, old_names[i]);
    }
    read_listener(work, values);
    read_server(work, values);
    if (values[OLD_CA_PATH] != NULL) {
        struct config_place place = place_of(work, old_names[OLD_CA_PATH]);
        struct config_node *node = config_node_scalar(work, &place, span_text(values[OLD_CA_PATH]));
        if (node != NULL) {
            config_option_set(work, config_option_find("tls.ca"), node);
        }
    }
}

/* ---- DNSEAL_ names ---- */

static const struct config_option *option_of(const char *name)
{
    for (size_t i = 0; i < config_option_count(); i++) {
        char variable[CONFIG_NAME_SIZE];
        config_option_variable(config_option_at(i), variable);
        if (strcmp(variable, name) == 0) {
            return config_option_at(i);
        }
    }
    return NULL;
}

static bool is_foreign(const char *name)
{
    for (size_t i = 0; i < sizeof foreign_prefixes / sizeof foreign_prefixes[0]; i++) {
        if (strncmp(name, foreign_prefixes[i], strlen(foreign_prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void complain_unknown(struct config_work *work, const struct config_place *place)
{
    struct config_suggestion suggestion;
    config_suggestion_init(&suggestion, place->name);
    for (size_t i = 0; i < config_option_count(); i++) {
        char variable[CONFIG_NAME_SIZE];
        config_option_variable(config_option_at(i), variable);
        config_suggestion_offer(&suggestion, variable);
    }
    if (suggestion.best[0] != '\0') {
        config_complain(work, place, "unknown name; did you mean %s?", suggestion.best);
    } else {
        config_complain(work, place, "unknown name");
    }
}

static void read_own_name(struct config_work *work, const char *entry)
{
    size_t size = strcspn(entry, "=");
    const char *name = config_arena_text(work->arena, span_of(entry, size));
    if (name == NULL) {
        config_complain_memory(work);
        return;
    }
    if (entry[size] == '\0' || is_foreign(name)) {
        return;
    }
    struct config_place place = {.source = CONFIG_FROM_ENVIRONMENT, .name = name};
    const struct config_option *option = option_of(name);
    if (option == NULL) {
        complain_unknown(work, &place);
        return;
    }
    struct span value = span_text(entry + size + 1);
    struct config_node *node = config_type_is_list(option->type) ? config_node_list(work, &place, value)
                                                                 : config_node_scalar(work, &place, value);
    if (node != NULL) {
        config_option_set(work, option, node);
    }
}

void config_read_environment(struct config_work *work, char *const *environment)
{
    read_old_names(work, environment);
    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, own_prefix, sizeof own_prefix - 1) == 0) {
            read_own_name(work, *environment);
        }
    }
}
