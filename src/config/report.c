/*
 * Where a value came from, and the lines that complain about it. Nodes that do not come from YAML (the
 * environment, the command line, defaults) are made here, so that every layer takes the same way into the
 * snapshot.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "config/table.h"

enum { LINE_SIZE = 2048, ESCAPED_SIZE = 4 * LINE_SIZE };

static void send_line(struct config_work *work, const char *line)
{
    char escaped[ESCAPED_SIZE];
    size_t size = 0;
    for (const char *at = line; *at != '\0'; at++) {
        uint8_t byte = (uint8_t)*at;
        if (byte >= 0x20 && byte < 0x7f) {
            escaped[size++] = *at;
        } else {
            size += (size_t)snprintf(escaped + size, 5, "\\%03u", (unsigned)byte);
        }
    }
    escaped[size] = '\0';
    work->report->error(work->report, escaped);
}

static int write_place(const struct config_snapshot *snapshot, const struct config_place *place,
                       char out[CONFIG_PLACE_SIZE])
{
    static const char *const sources[] = {
        [CONFIG_FROM_DEFAULT] = "default",
        [CONFIG_FROM_ENVIRONMENT] = "environment",
        [CONFIG_FROM_COMMAND_LINE] = "command line",
    };
    const char *colon = place->name[0] == '\0' ? "" : ": ";
    return place->source == CONFIG_FROM_FILE
               ? snprintf(out, CONFIG_PLACE_SIZE, "%.500s:%zu:%zu%s%.500s", snapshot->file, place->line,
                          place->column, colon, place->name)
               : snprintf(out, CONFIG_PLACE_SIZE, "%s%s%.500s", sources[place->source], colon, place->name);
}

__attribute__((format(printf, 3, 0))) static void
complain(struct config_work *work, const struct config_place *place, const char *format, va_list arguments)
{
    work->complaints++;
    if (work->complaints > CONFIG_COMPLAINTS_MAX) {
        if (work->complaints == CONFIG_COMPLAINTS_MAX + 1) {
            send_line(work, "there are more errors, which are not shown");
        }
        return;
    }
    char line[LINE_SIZE];
    int size = write_place(work->snapshot, place, line);
    size += snprintf(line + size, sizeof line - (size_t)size, ": ");
    vsnprintf(line + size, sizeof line - (size_t)size, format, arguments);
    send_line(work, line);
}

void config_complain(struct config_work *work, const struct config_place *place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(work, place, format, arguments);
    va_end(arguments);
}

void config_complain_memory(struct config_work *work)
{
    work->complaints++;
    send_line(work, "out of memory");
}

static bool text_is_clean(struct span text)
{
    while (text.size > 0) {
        uint32_t point = 0;
        size_t length = config_utf8_next(text, &point);
        if (length == 0) {
            return false;
        }
        text = span_of(text.data + length, text.size - length);
    }
    return true;
}

struct config_node *config_node_scalar(struct config_work *work, const struct config_place *place,
                                       struct span text)
{
    struct config_node *node = config_arena_take(work->arena, sizeof *node);
    char *copy = config_arena_text(work->arena, text);
    if (node == NULL || copy == NULL) {
        config_complain_memory(work);
        return NULL;
    }
    *node = (struct config_node){.kind = CONFIG_NODE_SCALAR, .place = *place, .text = copy};
    if (!text_is_clean(text)) {
        config_complain(work, place, "holds a control character or is not UTF-8");
        node->kind = CONFIG_NODE_REFUSED;
    }
    return node;
}

static struct span trim(struct span text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = span_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

struct config_node *config_node_list(struct config_work *work, const struct config_place *place,
                                     struct span text)
{
    struct config_node *list = config_arena_take(work->arena, sizeof *list);
    if (list == NULL) {
        config_complain_memory(work);
        return NULL;
    }
    *list = (struct config_node){.kind = CONFIG_NODE_LIST, .place = *place};
    bool more = trim(text).size > 0;
    while (more) {
        const uint8_t *comma = memchr(text.data, ',', text.size);
        size_t size = comma == NULL ? text.size : (size_t)(comma - text.data);
        struct config_node *entry = config_node_scalar(work, place, trim(span_of(text.data, size)));
        if (entry == NULL) {
            return NULL;
        }
        config_node_append(list, entry);
        more = comma != NULL;
        text = more ? span_of(comma + 1, text.size - size - 1) : text;
    }
    return list;
}

void config_node_append(struct config_node *parent, struct config_node *child)
{
    if (parent->last == NULL) {
        parent->first = child;
    } else {
        parent->last->next = child;
    }
    parent->last = child;
    parent->count++;
}

const char *config_node_text(struct config_work *work, const struct config_node *node)
{
    switch (node->kind) {
    case CONFIG_NODE_SCALAR:
        if (node->absent) {
            config_complain(work, &node->place, "has no value; an empty text is written as \"\"");
            return NULL;
        }
        return node->text;
    case CONFIG_NODE_LIST:
        config_complain(work, &node->place, "expected one value, not a list");
        return NULL;
    case CONFIG_NODE_MAP:
        config_complain(work, &node->place, "expected one value, not a mapping");
        return NULL;
    case CONFIG_NODE_REFUSED:
        return NULL;
    }
    return NULL;
}

bool config_node_is_list(struct config_work *work, const struct config_node *node)
{
    if (node->kind != CONFIG_NODE_LIST && node->kind != CONFIG_NODE_REFUSED) {
        config_complain(work, &node->place, "expected a list; an empty one is written as []");
    }
    return node->kind == CONFIG_NODE_LIST;
}

static struct config_field *field_find(struct config_field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].name, name) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}

static void field_unknown(struct config_work *work, const struct config_node *node,
                          const struct config_field *fields, size_t count)
{
    struct config_suggestion suggestion;
    config_suggestion_init(&suggestion, node->key);
    for (size_t i = 0; i < count; i++) {
        config_suggestion_offer(&suggestion, fields[i].name);
    }
    if (suggestion.best[0] != '\0') {
        config_complain(work, &node->key_place, "unknown key; did you mean %s?", suggestion.best);
        return;
    }
    char names[CONFIG_NAME_SIZE * 2] = "";
    for (size_t i = 0, size = 0; i < count; i++) {
        const char *comma = i == 0 ? "" : i + 1 < count ? ", " : " and ";
        size += (size_t)snprintf(names + size, sizeof names - size, "%s%s", comma, fields[i].name);
        assert(size < sizeof names);
    }
    config_complain(work, &node->key_place, "unknown key; here stand %s", names);
}

void config_node_fields(struct config_work *work, const struct config_node *map, struct config_field *fields,
                        size_t count)
{
    for (const struct config_node *node = map->first; node != NULL; node = node->next) {
        struct config_field *field = field_find(fields, count, node->key);
        if (field == NULL) {
            field_unknown(work, node, fields, count);
        } else if (field->node != NULL) {
            config_complain(work, &node->key_place, "duplicate key; it stands in line %zu already",
                            field->node->key_place.line);
        } else {
            field->node = node;
        }
    }
}

/* ---- after the build ---- */

/* The snapshot begins with the configuration. */
static struct config_snapshot *snapshot_of(const struct config *config)
{
    return (struct config_snapshot *)(uintptr_t)config;
}

const struct config_place *config_place_of(const struct config *config, const char *path)
{
    return &snapshot_of(config)->places[config_option_index(config_option_find(path))];
}

const struct config_place *config_place_of_text(const struct config_texts *texts, size_t index)
{
    return &texts->places[index];
}

void config_place_write(const struct config *config, const struct config_place *place,
                        char out[CONFIG_PLACE_SIZE])
{
    write_place(snapshot_of(config), place, out);
}

void config_refuse(const struct config *config, struct config_report *report,
                   const struct config_place *place, const char *format, ...)
{
    struct config_work work = {.snapshot = snapshot_of(config), .report = report};
    va_list arguments;
    va_start(arguments, format);
    complain(&work, place, format, arguments);
    va_end(arguments);
}
