/*
 * The file's tree into the snapshot: finds the option of each key, and helps with the keys that are none.
 */
#include "config/table.h"

/* A key that is an option's path, or its last part, somewhere else in the file. */
static const struct config_option *option_elsewhere(const char *key)
{
    for (size_t i = 0; i < config_option_count(); i++) {
        const struct config_option *option = config_option_at(i);
        bool inside = config_option_section(option) > 0;
        if (strcmp(option->path, key) == 0 || (inside && strcmp(config_option_key(option), key) == 0)) {
            return option;
        }
    }
    return NULL;
}

/* Offers every key that may stand in the section ("" for the top of the file). */
static void offer_keys(struct config_suggestion *suggestion, const char *section)
{
    for (size_t i = 0; i < config_option_count(); i++) {
        const struct config_option *option = config_option_at(i);
        size_t size = config_option_section(option);
        char name[CONFIG_NAME_SIZE];
        if (section[0] != '\0') {
            if (size == strlen(section) && strncmp(option->path, section, size) == 0) {
                config_suggestion_offer(suggestion, config_option_key(option));
            }
            continue;
        }
        size = size > 0 ? size : strlen(option->path);
        memcpy(name, option->path, size);
        name[size] = '\0';
        config_suggestion_offer(suggestion, name);
    }
}

static void complain_unknown(struct config_work *work, const struct config_node *node, const char *section)
{
    struct config_suggestion suggestion;
    config_suggestion_init(&suggestion, node->key);
    offer_keys(&suggestion, section);
    const struct config_option *elsewhere = option_elsewhere(node->key);
    if (suggestion.best[0] != '\0') {
        config_complain(work, &node->key_place, "unknown key; did you mean %s?", suggestion.best);
    } else if (elsewhere == NULL) {
        config_complain(work, &node->key_place, "unknown key");
    } else if (config_option_section(elsewhere) == 0) {
        config_complain(work, &node->key_place, "unknown key; %s stands at the top of the file",
                        elsewhere->path);
    } else {
        config_complain(work, &node->key_place, "unknown key; %s stands in %.*s",
                        config_option_key(elsewhere), (int)config_option_section(elsewhere), elsewhere->path);
    }
}

/* "upstream" with a list is a slip for "upstreams". */
static void complain_no_mapping(struct config_work *work, const struct config_node *section)
{
    struct config_suggestion suggestion;
    config_suggestion_init(&suggestion, section->key);
    for (size_t i = 0; i < config_option_count(); i++) {
        if (config_option_section(config_option_at(i)) == 0) {
            config_suggestion_offer(&suggestion, config_option_at(i)->path);
        }
    }
    if (suggestion.best[0] != '\0') {
        config_complain(work, &section->place, "expected a mapping; did you mean %s?", suggestion.best);
    } else {
        config_complain(work, &section->place, "expected a mapping");
    }
}

static void complain_duplicate(struct config_work *work, const struct config_node *node, size_t line)
{
    config_complain(work, &node->key_place, "duplicate key; it stands in line %zu already", line);
}

/* Sets the option, once: lines[] remembers where each stood. */
static void set_once(struct config_work *work, const struct config_option *option,
                     const struct config_node *node, size_t *lines)
{
    size_t *line = &lines[config_option_index(option)];
    if (*line != 0) {
        complain_duplicate(work, node, *line);
        return;
    }
    *line = node->key_place.line;
    config_option_set(work, option, node);
}

static void read_section(struct config_work *work, const struct config_node *section, size_t *lines)
{
    char path[CONFIG_NAME_SIZE * 2];
    size_t size = strlen(section->key);
    memcpy(path, section->key, size);
    path[size] = '.';
    if (section->kind != CONFIG_NODE_MAP) {
        /* A section whose options are all commented out says nothing. */
        if (section->kind != CONFIG_NODE_REFUSED && !section->absent) {
            complain_no_mapping(work, section);
        }
        return;
    }
    for (const struct config_node *node = section->first; node != NULL; node = node->next) {
        const struct config_option *option = NULL;
        if (strlen(node->key) < CONFIG_NAME_SIZE) {
            memcpy(path + size + 1, node->key, strlen(node->key) + 1);
            option = config_option_find(path);
        }
        if (option == NULL) {
            complain_unknown(work, node, section->key);
        } else {
            set_once(work, option, node, lines);
        }
    }
}

static void read_top(struct config_work *work, const struct config_node *node, size_t *lines,
                     size_t *section_lines)
{
    const struct config_option *option = config_option_find(node->key);
    const struct config_option *section = config_section_find(node->key);
    if (section != NULL) {
        size_t *line = &section_lines[config_option_index(section)];
        if (*line != 0) {
            complain_duplicate(work, node, *line);
            return;
        }
        *line = node->key_place.line;
        read_section(work, node, lines);
    } else if (option != NULL && config_option_section(option) == 0) {
        set_once(work, option, node, lines);
    } else {
        complain_unknown(work, node, "");
    }
}

void config_read_tree(struct config_work *work, const struct config_node *root)
{
    size_t lines[CONFIG_OPTIONS_MAX] = {0}, section_lines[CONFIG_OPTIONS_MAX] = {0};
    if (root->kind == CONFIG_NODE_MAP) {
        for (const struct config_node *node = root->first; node != NULL; node = node->next) {
            read_top(work, node, lines, section_lines);
        }
    } else if (root->kind != CONFIG_NODE_REFUSED && !root->absent) {
        config_complain(work, &root->place, "expected a mapping of options");
    }
}
