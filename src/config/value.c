/*
 * Single values: text to the field of the snapshot, and back. What a text means is the table's matter alone,
 * so that "no", "0123" and "1.2" are what their option makes of them.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"

#include "config/table.h"

/* Words are stored as the number of the word, which is what an enum without negative values is made of. */
static_assert(sizeof(enum log_level) == sizeof(unsigned), "an enum is an unsigned int");
static_assert(sizeof(enum log_format) == sizeof(unsigned), "an enum is an unsigned int");
static_assert(sizeof(enum config_log_queries) == sizeof(unsigned), "an enum is an unsigned int");
static_assert(sizeof(enum local_block_answer) == sizeof(unsigned), "an enum is an unsigned int");

struct unit {
    const char *word;
    uint64_t size;
};

/* From large to small. */
static const struct unit durations[] = {{"h", 3600 * CLOCK_SECOND},
                                        {"m", 60 * CLOCK_SECOND},
                                        {"s", CLOCK_SECOND},
                                        {"ms", CLOCK_MILLISECOND},
                                        {NULL, 0}};
static const struct unit sizes[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}, {NULL, 0}};
static const struct unit numbers[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(enum config_type type)
{
    return type == CONFIG_DURATION ? durations : type == CONFIG_SIZE ? sizes : numbers;
}

/* Decimal digits without a leading zero; the rest begins at *end. */
static bool digits_parse(const char *text, uint64_t *out, const char **end)
{
    uint64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value)) {
            return false;
        }
    }
    *out = value;
    *end = at;
    return at > text && (text[0] != '0' || at == text + 1);
}

static bool amount_parse(const char *text, const struct unit *units, uint64_t *out)
{
    uint64_t count;
    const char *rest;
    if (!digits_parse(text, &count, &rest)) {
        return false;
    }
    for (; units->word != NULL; units++) {
        if (strcmp(rest, units->word) == 0) {
            return !__builtin_mul_overflow(count, units->size, out);
        }
    }
    return false;
}

void config_value_format(const struct config_option *option, uint64_t value, char out[CONFIG_VALUE_SIZE])
{
    if (option->type == CONFIG_DURATION && value == 0) {
        snprintf(out, CONFIG_VALUE_SIZE, "0s");
        return;
    }
    const struct unit *unit = units_of(option->type);
    while (value < unit->size || value % unit->size != 0) {
        if (unit[1].word == NULL) {
            break;
        }
        unit++;
    }
    snprintf(out, CONFIG_VALUE_SIZE, "%" PRIu64 "%s", value / unit->size, unit->word);
}

static void *field_of(const struct config_option *option, const struct config *config)
{
    return (char *)(uintptr_t)config + option->offset;
}

uint64_t config_value_get(const struct config_option *option, const struct config *config)
{
    const void *field = field_of(option, config);
    switch (option->type) {
    case CONFIG_SWITCH:
        return *(const bool *)field;
    case CONFIG_WORD:
        return *(const unsigned *)field;
    default:
        return *(const uint64_t *)field;
    }
}

const char *config_text_get(const struct config_option *option, const struct config *config)
{
    return *(char *const *)field_of(option, config);
}

static void value_put(const struct config_option *option, struct config *config, uint64_t value)
{
    void *field = field_of(option, config);
    switch (option->type) {
    case CONFIG_SWITCH:
        *(bool *)field = value != 0;
        break;
    case CONFIG_WORD:
        *(unsigned *)field = (unsigned)value;
        break;
    default:
        *(uint64_t *)field = value;
    }
}

static bool word_find(const struct config_option *option, const char *text, uint64_t *out)
{
    for (size_t i = 0; option->words[i] != NULL; i++) {
        if (strcmp(option->words[i], text) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

static void complain_words(struct config_work *work, const struct config_option *option,
                           const struct config_node *node)
{
    char list[128];
    size_t size = 0;
    list[0] = '\0';
    for (size_t i = 0; option->words[i] != NULL && size < sizeof list; i++) {
        const char *between = i == 0 ? "" : option->words[i + 1] == NULL ? " or " : ", ";
        size += (size_t)snprintf(list + size, sizeof list - size, "%s%s", between, option->words[i]);
    }
    config_complain(work, &node->place, "\"%.80s\": expected %s", node->text, list);
}

static void complain_amount(struct config_work *work, const struct config_option *option,
                            const struct config_node *node)
{
    static const char *const expected[] = {
        [CONFIG_DURATION] = "a duration with its unit (ms, s, m, h), such as 500ms",
        [CONFIG_SIZE] = "a size in bytes or with its unit (KiB, MiB, GiB), such as 64KiB",
        [CONFIG_NUMBER] = "a whole number",
    };
    const char *word = option->words[0];
    config_complain(work, &node->place, "\"%.80s\": expected %s%s%s", node->text, word == NULL ? "" : word,
                    word == NULL ? "" : " or ", expected[option->type]);
}

static bool amount_set(struct config_work *work, const struct config_option *option,
                       const struct config_node *node, uint64_t *out)
{
    /* The word of a number stands for 0, below what the number itself may be. */
    if (word_find(option, node->text, out)) {
        return true;
    }
    if (!amount_parse(node->text, units_of(option->type), out)) {
        complain_amount(work, option, node);
        return false;
    }
    if (*out < option->least || *out > option->most) {
        char least[CONFIG_VALUE_SIZE], most[CONFIG_VALUE_SIZE];
        config_value_format(option, option->least, least);
        config_value_format(option, option->most, most);
        config_complain(work, &node->place, "\"%.80s\": must be from %s to %s", node->text, least, most);
        return false;
    }
    return true;
}

static bool user_name_is_valid(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char others[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789.-";
    return text[0] != '\0' && strchr(letters, text[0]) != NULL && strspn(text, others) == strlen(text);
}

/* NULL, or what is wrong with a text. */
static const char *text_refusal(const struct config_option *option, const char *text)
{
    uint64_t word;
    if (word_find(option, text, &word)) {
        return NULL;
    }
    if (strlen(text) > option->most) {
        return "is too long";
    }
    switch (option->type) {
    case CONFIG_FILE:
        return text[0] == '\0' ? "expected the path of a file" : NULL;
    case CONFIG_PATH:
        return text[0] != '/' ? "expected an absolute path" : NULL;
    default:
        return user_name_is_valid(text) ? NULL : "is not the name of a user";
    }
}

static bool text_set(struct config_work *work, const struct config_option *option,
                     const struct config_node *node)
{
    const char *refusal = text_refusal(option, node->text);
    if (refusal == NULL) {
        char *copy = config_arena_text(work->arena, span_text(node->text));
        if (copy == NULL) {
            config_complain_memory(work);
            return false;
        }
        *(char **)field_of(option, &work->snapshot->config) = copy;
        return true;
    }
    const char *word = option->type == CONFIG_PATH ? option->words[0] : "";
    if (word[0] != '\0' && node->text[0] != '/') {
        config_complain(work, &node->place, "\"%.80s\": %s, %s or %s", node->text, refusal, word,
                        option->words[1]);
    } else {
        config_complain(work, &node->place, "\"%.80s\": %s", node->text, refusal);
    }
    return false;
}

static bool scalar_set(struct config_work *work, const struct config_option *option,
                       const struct config_node *node)
{
    uint64_t value = 0;
    if (config_node_text(work, node) == NULL) {
        return false;
    }
    switch (option->type) {
    case CONFIG_DURATION:
    case CONFIG_SIZE:
    case CONFIG_NUMBER:
        if (!amount_set(work, option, node, &value)) {
            return false;
        }
        break;
    case CONFIG_SWITCH:
    case CONFIG_WORD:
        if (!word_find(option, node->text, &value)) {
            complain_words(work, option, node);
            return false;
        }
        break;
    default:
        return text_set(work, option, node);
    }
    value_put(option, &work->snapshot->config, value);
    return true;
}

void config_option_set(struct config_work *work, const struct config_option *option,
                       const struct config_node *node)
{
    size_t index = config_option_index(option), before = work->complaints;
    work->snapshot->places[index] = node->place;
    if (!config_type_is_list(option->type)) {
        work->bad[index] |= !scalar_set(work, option, node);
        return;
    }
    bool may_map = option->type == CONFIG_GROUPS || option->type == CONFIG_ROUTES;
    if ((may_map && node->kind == CONFIG_NODE_MAP) || config_node_is_list(work, node)) {
        if (option->type == CONFIG_LISTENERS) {
            config_listeners_set(work, option, node);
        } else if (option->type == CONFIG_UPSTREAMS) {
            config_upstreams_set(work, option, node);
        } else if (option->type == CONFIG_BOOTSTRAP) {
            config_bootstrap_set(work, option, node);
        } else if (option->type == CONFIG_PREFIXES) {
            config_prefixes_set(work, option, node);
        } else if (option->type == CONFIG_GROUPS) {
            config_groups_set(work, node);
        } else if (option->type == CONFIG_ROUTES) {
            config_routes_set(work, option, node);
        } else {
            config_texts_set(work, option, node);
        }
    }
    work->bad[index] |= work->complaints > before || node->kind == CONFIG_NODE_REFUSED;
}
