/*
 * The file's text as a tree of nodes, through libyaml's events: the only file that knows libyaml. What a
 * configuration needs is a small part of YAML, and the rest is refused: anchors, aliases, tags, several
 * documents, keys that are not plain text, and trees that are deep, large, or not UTF-8.
 */
#include <stdio.h>
#include <yaml.h>

#include "config/table.h"

enum { DEPTH_MAX = 8, NODES_MAX = 65536, FILE_SIZE_MAX = 1 << 20, PATH_SIZE = 512, KEY_SHOWN = 48 };

struct reading {
    struct config_work *work;
    struct span text;
    struct config_node *root;
    struct config_node *open[DEPTH_MAX]; /* collections that have not ended, from the root */
    size_t depth;
    struct config_node *key; /* of a mapping, waiting for its value */
    size_t nodes;
    bool document_seen;
};

enum step { STEP_ON, STEP_DONE, STEP_FAILED };

static struct config_place place_of(yaml_mark_t mark, const char *name)
{
    return (struct config_place){
        .source = CONFIG_FROM_FILE, .name = name, .line = mark.line + 1, .column = mark.column + 1};
}

/* libyaml knows the offset alone of bytes that are no UTF-8. */
static yaml_mark_t mark_of_offset(struct span text, size_t offset)
{
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < offset && i < text.size; i++) {
        if (text.data[i] == '\n') {
            mark.line++;
            mark.column = 0;
        } else if ((text.data[i] & 0xc0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

static enum step refuse_syntax(struct reading *reading, const yaml_parser_t *parser)
{
    yaml_mark_t mark = parser->problem_mark;
    const char *problem = parser->problem == NULL ? "is not YAML" : parser->problem;
    if (parser->error == YAML_MEMORY_ERROR) {
        config_complain_memory(reading->work);
        return STEP_FAILED;
    }
    if (parser->error == YAML_READER_ERROR) {
        mark = mark_of_offset(reading->text, parser->problem_offset);
    }
    struct config_place place = place_of(mark, "");
    if (parser->context == NULL) {
        config_complain(reading->work, &place, "%s", problem);
    } else {
        config_complain(reading->work, &place, "%s, %s in line %zu", problem, parser->context,
                        parser->context_mark.line + 1);
    }
    return STEP_FAILED;
}

static enum step refuse(struct reading *reading, const yaml_event_t *event, const char *reason)
{
    struct config_place place = place_of(event->start_mark, "");
    config_complain(reading->work, &place, "%s", reason);
    return STEP_FAILED;
}

/* The path of the next child: "upstreams[1].pins[0]". NULL without memory. */
static const char *child_path(struct reading *reading)
{
    char path[PATH_SIZE];
    if (reading->depth == 0) {
        return "";
    }
    const struct config_node *parent = reading->open[reading->depth - 1];
    const char *before = parent->place.name;
    if (reading->key != NULL) {
        snprintf(path, sizeof path, "%.400s%s%.*s", before, before[0] == '\0' ? "" : ".", (int)KEY_SHOWN,
                 reading->key->text);
    } else {
        snprintf(path, sizeof path, "%.400s[%zu]", before, parent->count);
    }
    return config_arena_text(reading->work->arena, span_text(path));
}

static const char *anchor_or_tag(const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    return anchor != NULL ? "anchors are not allowed" : tag != NULL ? "tags are not allowed" : NULL;
}

/* The node that an event begins. */
static struct config_node *node_build(struct reading *reading, const yaml_event_t *event)
{
    struct config_place place = place_of(event->start_mark, child_path(reading));
    if (place.name == NULL) {
        config_complain_memory(reading->work);
        return NULL;
    }
    bool scalar = event->type == YAML_SCALAR_EVENT;
    struct span text = scalar ? span_of(event->data.scalar.value, event->data.scalar.length) : span_of("", 0);
    struct config_node *node = config_node_scalar(reading->work, &place, text);
    if (node == NULL) {
        return NULL;
    }
    if (scalar) {
        node->absent = text.size == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    } else if (event->type == YAML_ALIAS_EVENT) {
        config_complain(reading->work, &place, "aliases are not allowed");
        node->kind = CONFIG_NODE_REFUSED;
    } else {
        node->kind = event->type == YAML_MAPPING_START_EVENT ? CONFIG_NODE_MAP : CONFIG_NODE_LIST;
    }
    const char *reason = anchor_or_tag(event);
    if (reason != NULL) {
        config_complain(reading->work, &place, "%s", reason);
    }
    return node;
}

static void node_attach(struct reading *reading, struct config_node *node)
{
    if (reading->depth == 0) {
        reading->root = node;
        return;
    }
    if (reading->key != NULL) {
        node->key = reading->key->text;
        node->key_place = reading->key->place;
        node->key_place.name = node->place.name;
        reading->key = NULL;
    }
    config_node_append(reading->open[reading->depth - 1], node);
}

static bool at_key(const struct reading *reading)
{
    return reading->depth > 0 && reading->open[reading->depth - 1]->kind == CONFIG_NODE_MAP &&
           reading->key == NULL;
}

static enum step read_key(struct reading *reading, const yaml_event_t *event)
{
    if (event->type != YAML_SCALAR_EVENT) {
        return refuse(reading, event, "a key must be plain text");
    }
    struct config_place place = place_of(event->start_mark, reading->open[reading->depth - 1]->place.name);
    reading->key = config_node_scalar(reading->work, &place,
                                      span_of(event->data.scalar.value, event->data.scalar.length));
    if (reading->key == NULL || reading->key->kind == CONFIG_NODE_REFUSED) {
        return STEP_FAILED;
    }
    const char *reason = anchor_or_tag(event);
    return reason == NULL ? STEP_ON : refuse(reading, event, reason);
}

static enum step read_node(struct reading *reading, const yaml_event_t *event)
{
    reading->nodes++;
    if (reading->nodes > NODES_MAX) {
        return refuse(reading, event, "the file holds too many values");
    }
    if (at_key(reading)) {
        return read_key(reading, event);
    }
    struct config_node *node = node_build(reading, event);
    if (node == NULL) {
        return STEP_FAILED;
    }
    node_attach(reading, node);
    if (node->kind == CONFIG_NODE_MAP || node->kind == CONFIG_NODE_LIST) {
        if (reading->depth == DEPTH_MAX) {
            return refuse(reading, event, "lists and mappings are nested too deep");
        }
        reading->open[reading->depth++] = node;
    }
    return STEP_ON;
}

static enum step read_event(struct reading *reading, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_STREAM_END_EVENT:
        return STEP_DONE;
    case YAML_DOCUMENT_START_EVENT:
        if (reading->document_seen) {
            return refuse(reading, event, "the file must be one document; here begins another");
        }
        reading->document_seen = true;
        return STEP_ON;
    case YAML_SCALAR_EVENT:
    case YAML_ALIAS_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return read_node(reading, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        reading->depth--;
        return STEP_ON;
    default:
        return STEP_ON;
    }
}

static enum step read_events(struct reading *reading, yaml_parser_t *parser)
{
    enum step step = STEP_ON;
    while (step == STEP_ON) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            return refuse_syntax(reading, parser);
        }
        step = read_event(reading, &event);
        yaml_event_delete(&event);
    }
    return step;
}

struct config_node *config_yaml_read(struct config_work *work, struct span text)
{
    struct reading reading = {.work = work, .text = text};
    yaml_parser_t parser;
    if (text.size > FILE_SIZE_MAX) {
        config_complain(work, &(struct config_place){CONFIG_FROM_FILE, "", 1, 1},
                        "the file is larger than 1 MiB");
        return NULL;
    }
    if (!yaml_parser_initialize(&parser)) {
        config_complain_memory(work);
        return NULL;
    }
    /* Left to itself libyaml would take UTF-16 as well. */
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, text.data, text.size);
    enum step step = read_events(&reading, &parser);
    yaml_parser_delete(&parser);
    return step == STEP_DONE ? reading.root : NULL;
}
