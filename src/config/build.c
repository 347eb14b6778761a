/*
 * Builds a snapshot layer by layer: defaults, sockets that were passed, file, environment, command line.
 * Every layer is read to its end, so that all errors are told in one run.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#include "config/table.h"

static void set_default(struct config_work *work, const struct config_option *option)
{
    struct config_place place = {.source = CONFIG_FROM_DEFAULT, .name = option->path};
    struct span text = span_text(option->default_text);
    struct config_node *node = config_type_is_list(option->type) ? config_node_list(work, &place, text)
                                                                 : config_node_scalar(work, &place, text);
    if (node != NULL) {
        config_option_set(work, option, node);
    }
}

static void read_defaults(struct config_work *work)
{
    for (size_t i = 0; i < config_option_count(); i++) {
        set_default(work, config_option_at(i));
    }
}

/* Somebody opened these sockets for us, and nobody need write them down a second time. */
static void read_passed(struct config_work *work, const struct config_sources *sources)
{
    struct config_place place = {.source = CONFIG_FROM_ENVIRONMENT, .name = "LISTEN_FDS"};
    struct config_node list = {.kind = CONFIG_NODE_LIST, .place = place};
    struct config *config = &work->snapshot->config;
    for (size_t i = 0; i < sources->passed_count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        size_t size = address_format(&sources->passed[i].address, true, text);
        struct config_node *node = config_node_scalar(work, &place, span_of(text, size));
        if (node == NULL) {
            return;
        }
        config_node_append(&list, node);
    }
    if (list.count == 0) {
        return;
    }
    config_option_set(work, config_option_find("listen"), &list);
    for (size_t i = 0; i < config->listen_count && config->listen_count == list.count; i++) {
        config->listen[i].udp = sources->passed[i].udp;
        config->listen[i].tcp = sources->passed[i].tcp;
    }
}

static void read_file(struct config_work *work, const struct config_sources *sources)
{
    const struct config_node *root = config_yaml_read(work, sources->text);
    if (root != NULL) {
        config_read_tree(work, root);
    }
}

static void read_arguments(struct config_work *work, const char *path, const char *name,
                           const char *const *values, size_t count)
{
    struct config_place place = {.source = CONFIG_FROM_COMMAND_LINE, .name = name};
    struct config_node list = {.kind = CONFIG_NODE_LIST, .place = place};
    for (size_t i = 0; i < count; i++) {
        struct config_node *node = config_node_scalar(work, &place, span_text(values[i]));
        if (node == NULL) {
            return;
        }
        config_node_append(&list, node);
    }
    if (count > 0) {
        config_option_set(work, config_option_find(path), &list);
    }
}

static int open_snapshot(struct config_work *work, const struct config_sources *sources)
{
    work->snapshot = calloc(1, sizeof *work->snapshot);
    if (work->snapshot == NULL) {
        config_complain_memory(work);
        return ERROR_INVALID;
    }
    work->arena = &work->snapshot->arena;
    const char *file = sources->file == NULL ? CONFIG_DEFAULT_FILE : sources->file;
    work->snapshot->file = config_arena_text(work->arena, span_text(file));
    if (work->snapshot->file == NULL) {
        config_complain_memory(work);
        config_free(&work->snapshot->config);
        return ERROR_INVALID;
    }
    return 0;
}

static void read_sources(struct config_work *work, const struct config_sources *sources)
{
    read_defaults(work);
    read_passed(work, sources);
    if (sources->file_read) {
        read_file(work, sources);
    }
    if (sources->environment != NULL) {
        config_read_environment(work, sources->environment);
    }
    read_arguments(work, "listen", "--listen", sources->listen, sources->listen_count);
    read_arguments(work, "upstreams", "--upstream", sources->upstream, sources->upstream_count);
}

int config_build(const struct config_sources *sources, struct config_report *report, struct config **out)
{
    struct config_work work = {.report = report};
    if (open_snapshot(&work, sources) != 0) {
        return ERROR_INVALID;
    }
    read_sources(&work, sources);
    config_cross_check(&work);
    if (work.complaints > 0) {
        config_free(&work.snapshot->config);
        return ERROR_INVALID;
    }
    *out = &work.snapshot->config;
    return 0;
}

static void say_nothing(struct config_report *report, const char *line)
{
    (void)report;
    (void)line;
}

char *config_control_socket(const struct config_sources *sources)
{
    struct config_report report = {.error = say_nothing};
    struct config_work work = {.report = &report};
    if (open_snapshot(&work, sources) != 0) {
        return NULL;
    }
    read_sources(&work, sources);
    const char *path = work.snapshot->config.control.socket;
    char *copy = path != NULL ? strdup(path) : NULL;
    config_free(&work.snapshot->config);
    return copy;
}

void config_free(struct config *config)
{
    /* The snapshot begins with the configuration. */
    static_assert(offsetof(struct config_snapshot, config) == 0, "config must come first");
    struct config_snapshot *snapshot = (struct config_snapshot *)config;
    if (snapshot != NULL) {
        config_arena_free(&snapshot->arena);
        free(snapshot);
    }
}
