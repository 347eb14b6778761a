/*
 * The JSON Schema (draft 2020-12) of the file, for editors. It knows what the table knows; an address or an
 * upstream URL is a text to it, which only the program itself judges.
 */
#include <inttypes.h>
#include <stdio.h>

#include "config/table.h"

static const char head[] = "{\n"
                           "  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
                           "  \"title\": \"dnseal.yaml\",\n"
                           "  \"type\": \"object\",\n"
                           "  \"additionalProperties\": false,\n"
                           "  \"properties\": {";

static const char listeners[] =
    "\"type\": \"array\", \"minItems\": 1, \"maxItems\": 64, \"items\": {\"anyOf\": [{\"type\": \"string\"}, "
    "{\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"address\"], \"properties\": "
    "{\"address\": {\"type\": \"string\"}, \"transport\": {\"type\": \"array\", \"minItems\": 1, \"items\": "
    "{\"enum\": [\"udp\", \"tcp\"]}}, \"upstreams\": {\"type\": \"string\"}}}]}";

static const char upstreams[] =
    "\"type\": \"array\", \"minItems\": 1, \"maxItems\": 32, \"items\": {\"anyOf\": [{\"type\": \"string\"}, "
    "{\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"url\"], \"properties\": "
    "{\"url\": {\"type\": \"string\"}, \"pins\": {\"type\": \"array\", \"maxItems\": 16, \"items\": "
    "{\"type\": \"string\", \"pattern\": \"^(sha256/)?[A-Za-z0-9+/]{43}=$\"}}, \"group\": {\"type\": "
    "\"string\", "
    "\"pattern\": \"^[A-Za-z0-9_-]{1,32}$\"}, \"weight\": {\"type\": \"integer\", \"minimum\": 1, "
    "\"maximum\": 100}, \"without_clock\": {\"type\": \"boolean\"}}}]}";

#define POLICY "{\"enum\": [\"fastest\", \"round-robin\", \"random\", \"ordered\", \"hash\"]}"
static const char groups[] =
    "\"type\": \"object\", \"maxProperties\": 32, \"additionalProperties\": {\"anyOf\": [" POLICY
    ", {\"type\": \"object\", \"additionalProperties\": false, \"properties\": {\"policy\": " POLICY
    ", \"hedge\": {\"type\": \"boolean\"}}}]}";

static void put_string(struct config_sink *sink, const char *text)
{
    config_put(sink, "\"");
    for (; *text != '\0'; text++) {
        config_putf(sink, "%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
    }
    config_put(sink, "\"");
}

/* An editor may read an unquoted 1.2 as a number, true as a truth value, null as nothing: they are listed
 * beside the text. */
static bool word_is_literal(const char *word)
{
    return (word[0] >= '0' && word[0] <= '9') || strcmp(word, "true") == 0 || strcmp(word, "false") == 0 ||
           strcmp(word, "null") == 0;
}

static void put_words(struct config_sink *sink, const struct config_option *option)
{
    config_put(sink, "\"enum\": [");
    for (size_t i = 0; option->words[i] != NULL; i++) {
        config_put(sink, i == 0 ? "" : ", ");
        put_string(sink, option->words[i]);
        if (word_is_literal(option->words[i])) {
            config_putf(sink, ", %s", option->words[i]);
        }
    }
    config_put(sink, "]");
}

static void put_number(struct config_sink *sink, const struct config_option *option)
{
    if (option->words[0] != NULL) {
        config_put(sink, "\"anyOf\": [{");
        put_words(sink, option);
        config_put(sink, "}, {");
    }
    config_putf(sink, "\"type\": \"integer\", \"minimum\": %" PRIu64 ", \"maximum\": %" PRIu64, option->least,
                option->most);
    config_put(sink, option->words[0] != NULL ? "}]" : "");
}

/* What a text with a unit comes to, the program alone judges. */
static void put_size(struct config_sink *sink, const struct config_option *option)
{
    config_put(sink, "\"anyOf\": [{");
    if (option->words[0] != NULL) {
        put_words(sink, option);
        config_put(sink, "}, {");
    }
    config_putf(sink,
                "\"type\": \"integer\", \"minimum\": %" PRIu64 ", \"maximum\": %" PRIu64
                "}, {\"type\": \"string\", \"pattern\": \"^(0|[1-9][0-9]*)(KiB|MiB|GiB)?$\"}]",
                option->least, option->most);
}

static void put_type(struct config_sink *sink, const struct config_option *option)
{
    switch (option->type) {
    case CONFIG_DURATION:
        config_put(sink, "\"type\": \"string\", \"pattern\": \"^(0|[1-9][0-9]*)(ms|s|m|h)$\"");
        break;
    case CONFIG_SIZE:
        put_size(sink, option);
        break;
    case CONFIG_NUMBER:
        put_number(sink, option);
        break;
    case CONFIG_SWITCH:
    case CONFIG_WORD:
        put_words(sink, option);
        break;
    case CONFIG_FILE:
    case CONFIG_PATH:
    case CONFIG_USER:
        config_putf(sink, "\"type\": \"string\", \"maxLength\": %" PRIu64, option->most);
        break;
    case CONFIG_LISTENERS:
        config_put(sink, listeners);
        break;
    case CONFIG_UPSTREAMS:
        config_put(sink, upstreams);
        break;
    case CONFIG_GROUPS:
        config_put(sink, groups);
        break;
    case CONFIG_ROUTES:
        config_putf(sink,
                    "\"type\": \"object\", \"maxProperties\": %" PRIu64
                    ", \"additionalProperties\": {\"type\": \"string\"}",
                    option->most);
        break;
    case CONFIG_PREFIXES:
        config_put(sink, "\"type\": \"array\", \"items\": {\"type\": \"string\"}");
        break;
    case CONFIG_FILES:
    case CONFIG_NAMES:
    case CONFIG_RECORDS:
    case CONFIG_BOOTSTRAP:
        config_putf(sink, "\"type\": \"array\", \"maxItems\": %" PRIu64 ", \"items\": {\"type\": \"string\"}",
                    option->most);
        break;
    }
}

static void put_option(struct config_sink *sink, const struct config_option *option, bool first,
                       const char *indent)
{
    config_putf(sink, "%s\n%s\"%s\": {\n%s  \"description\": ", first ? "" : ",", indent,
                config_option_key(option), indent);
    put_string(sink, option->description);
    config_putf(sink, ",\n%s  ", indent);
    put_type(sink, option);
    config_putf(sink, "\n%s}", indent);
}

/* All options of the section that begins at `index`. Returns the index behind them. */
static size_t put_section(struct config_sink *sink, size_t index)
{
    const struct config_option *first = config_option_at(index);
    size_t size = config_option_section(first);
    config_putf(sink,
                "%s\n    \"%.*s\": {\n      \"type\": \"object\",\n      \"additionalProperties\": false,\n"
                "      \"properties\": {",
                index == 0 ? "" : ",", (int)size, first->path);
    bool begun = false;
    for (; index < config_option_count(); index++) {
        const struct config_option *option = config_option_at(index);
        if (config_option_section(option) != size || strncmp(option->path, first->path, size) != 0) {
            break;
        }
        put_option(sink, option, !begun, "        ");
        begun = true;
    }
    config_put(sink, "\n      }\n    }");
    return index;
}

void config_print_schema(struct config_sink *sink)
{
    config_put(sink, head);
    for (size_t index = 0; index < config_option_count();) {
        const struct config_option *option = config_option_at(index);
        if (config_option_section(option) > 0) {
            index = put_section(sink, index);
        } else {
            put_option(sink, option, index == 0, "    ");
            index++;
        }
    }
    config_put(sink, "\n  }\n}\n");
}
