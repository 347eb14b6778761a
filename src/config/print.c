/*
 * A snapshot as a complete YAML file. What is printed is what was understood, not what was written: addresses
 * in their canonical form, words spelt out as prefixes. A preset is printed by its word, because its IPv6
 * servers are optional, which an address of one's own cannot be.
 */
#include <stdarg.h>
#include <stdio.h>

#include "config/table.h"

enum { LINE_SIZE = 2048 };

void config_put(struct config_sink *sink, const char *text)
{
    sink->write(sink, span_text(text));
}

void config_putf(struct config_sink *sink, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    config_put(sink, line);
}

/* Double quotes, and everything that is not plain ASCII escaped. The text is clean UTF-8. */
static void put_quoted(struct config_sink *sink, const char *text)
{
    struct span left = span_text(text);
    config_put(sink, "\"");
    while (left.size > 0) {
        uint32_t point = 0;
        size_t length = config_utf8_next(left, &point);
        if (length == 0) {
            break;
        }
        if (point == '"' || point == '\\') {
            config_putf(sink, "\\%c", (int)point);
        } else if (point < 0x80) {
            sink->write(sink, span_of(left.data, 1));
        } else {
            config_putf(sink, "\\U%08X", (unsigned)point);
        }
        left = span_of(left.data + length, left.size - length);
    }
    config_put(sink, "\"");
}

static void put_listeners(const struct config *config, struct config_sink *sink)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *listen = &config->listen[i];
        char text[ADDRESS_TEXT_SIZE];
        address_format(&listen->address, true, text);
        config_putf(sink, "  - {address: \"%s\", transport: [%s%s%s]", text, listen->udp ? "udp" : "",
                    listen->udp && listen->tcp ? ", " : "", listen->tcp ? "tcp" : "");
        if (listen->group_name != NULL) {
            config_putf(sink, ", upstreams: \"%s\"", listen->group_name);
        }
        config_put(sink, "}\n");
    }
}

/* The preset whose servers begin at this upstream. Nothing else brings optional servers, and a preset's
 * servers stand together, the optional ones last. */
static const struct config_preset *preset_at(const struct config_upstream *upstreams, size_t count)
{
    bool begins = count >= CONFIG_PRESET_SERVERS && upstreams[CONFIG_PRESET_SERVERS / 2].optional;
    return begins ? config_preset_of(&upstreams[0].address) : NULL;
}

static void put_pins(const struct config_upstream *upstream, struct config_sink *sink)
{
    for (size_t i = 0; i < upstream->pin_count; i++) {
        char pin[TLS_PIN_TEXT_SIZE];
        tls_pin_format(upstream->pins[i], pin);
        config_putf(sink, "%s\"%s\"", i == 0 ? ", pins: [" : ", ", pin);
    }
    config_put(sink, upstream->pin_count > 0 ? "]" : "");
}

static bool is_bare(const struct config_upstream *upstream)
{
    return upstream->pin_count == 0 && upstream->weight == 1 &&
           strcmp(upstream->group_name, CONFIG_DEFAULT_GROUP) == 0;
}

static void put_upstreams(const struct config *config, struct config_sink *sink)
{
    for (size_t i = 0; i < config->upstream_count;) {
        const struct config_upstream *upstream = &config->upstreams[i];
        const struct config_preset *preset = preset_at(upstream, config->upstream_count - i);
        const char *url = preset != NULL ? preset->word : upstream->url;
        if (is_bare(upstream)) {
            config_putf(sink, "  - \"%s\"\n", url);
        } else {
            config_putf(sink, "  - {url: \"%s\"", url);
            put_pins(upstream, sink);
            config_putf(sink, ", group: \"%s\", weight: %u%s}\n", upstream->group_name, upstream->weight,
                        upstream->without_clock ? ", without_clock: true" : "");
        }
        i += preset != NULL ? CONFIG_PRESET_SERVERS : 1;
    }
}

static void put_bootstrap(const struct config *config, struct config_sink *sink)
{
    config_put(sink, " [");
    for (size_t i = 0; i < config->bootstrap_count;) {
        const struct config_upstream *server = &config->bootstrap[i];
        const struct config_preset *preset = preset_at(server, config->bootstrap_count - i);
        config_putf(sink, "%s\"%s\"", i == 0 ? "" : ", ", preset != NULL ? preset->word : server->url);
        i += preset != NULL ? CONFIG_PRESET_SERVERS : 1;
    }
    config_put(sink, "]\n");
}

static void put_groups(const struct config *config, struct config_sink *sink)
{
    config_put(sink, " {");
    for (size_t i = 0; i < config->group_count; i++) {
        config_putf(sink, "%s\"%s\": {policy: %s, hedge: %s}", i == 0 ? "" : ", ", config->groups[i].name,
                    config_policy_word(config->groups[i].policy), config->groups[i].hedge ? "true" : "false");
    }
    config_put(sink, "}\n");
}

static void put_routes(const struct config *config, struct config_sink *sink)
{
    const char *between = "";
    config_put(sink, " {");
    for (size_t i = 0; i < config->route_count; i++) {
        config_put(sink, between);
        put_quoted(sink, config->routes[i].name);
        config_putf(sink, ": \"%s\"", config->routes[i].group_name);
        between = ", ";
    }
    if (config->rest_group != NULL) {
        config_putf(sink, "%s\".\": \"%s\"", between, config->rest_group);
    }
    config_put(sink, "}\n");
}

static void put_prefixes(const struct config_prefixes *prefixes, struct config_sink *sink)
{
    config_put(sink, " [");
    for (size_t i = 0; i < prefixes->count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        address_format(&prefixes->items[i].address, false, text);
        config_putf(sink, "%s\"%s/%u\"", i == 0 ? "" : ", ", text, (unsigned)prefixes->items[i].length);
    }
    config_put(sink, "]\n");
}

static void put_texts(const struct config_texts *texts, struct config_sink *sink)
{
    config_put(sink, " [");
    for (size_t i = 0; i < texts->count; i++) {
        config_put(sink, i == 0 ? "" : ", ");
        put_quoted(sink, texts->items[i]);
    }
    config_put(sink, "]\n");
}

static void put_number(const struct config_option *option, const struct config *config,
                       struct config_sink *sink)
{
    char text[CONFIG_VALUE_SIZE];
    uint64_t value = config_value_get(option, config);
    if (value == 0 && option->words[0] != NULL) {
        config_putf(sink, " %s\n", option->words[0]);
        return;
    }
    config_value_format(option, value, text);
    config_putf(sink, " %s\n", text);
}

/* Quoted where another reader of YAML would see a number, nothing, or (YAML 1.1) a truth value that is none.
 */
static void put_word(const char *word, struct config_sink *sink)
{
    bool is_other =
        (word[0] >= '0' && word[0] <= '9') || strcmp(word, "null") == 0 || strcmp(word, "off") == 0;
    const char *quote = is_other ? "\"" : "";
    config_putf(sink, " %s%s%s\n", quote, word, quote);
}

static void put_value(const struct config_option *option, const struct config *config,
                      struct config_sink *sink)
{
    switch (option->type) {
    case CONFIG_LISTENERS:
        config_put(sink, "\n");
        put_listeners(config, sink);
        break;
    case CONFIG_UPSTREAMS:
        config_put(sink, "\n");
        put_upstreams(config, sink);
        break;
    case CONFIG_BOOTSTRAP:
        put_bootstrap(config, sink);
        break;
    case CONFIG_GROUPS:
        put_groups(config, sink);
        break;
    case CONFIG_ROUTES:
        put_routes(config, sink);
        break;
    case CONFIG_PREFIXES:
        put_prefixes((const struct config_prefixes *)(const void *)((const char *)config + option->offset),
                     sink);
        break;
    case CONFIG_FILES:
    case CONFIG_NAMES:
    case CONFIG_RECORDS:
        put_texts((const struct config_texts *)(const void *)((const char *)config + option->offset), sink);
        break;
    case CONFIG_SWITCH:
    case CONFIG_WORD:
        put_word(option->words[config_value_get(option, config)], sink);
        break;
    case CONFIG_FILE:
    case CONFIG_PATH:
    case CONFIG_USER:
        config_put(sink, " ");
        put_quoted(sink, config_text_get(option, config));
        config_put(sink, "\n");
        break;
    default:
        put_number(option, config, sink);
    }
}

void config_print(const struct config *config, struct config_sink *sink)
{
    const struct config_option *before = NULL;
    for (size_t i = 0; i < config_option_count(); i++) {
        const struct config_option *option = config_option_at(i);
        size_t section = config_option_section(option);
        bool same = before != NULL && config_option_section(before) == section &&
                    strncmp(before->path, option->path, section) == 0;
        if (section > 0 && !same) {
            config_putf(sink, "%.*s:\n", (int)section, option->path);
        }
        config_putf(sink, "%s%s:", section > 0 ? "  " : "", config_option_key(option));
        put_value(option, config, sink);
        before = option;
    }
}
