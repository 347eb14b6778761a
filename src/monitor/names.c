/*
 * What is answered here without asking anybody, from the configuration and the files that it names: read and
 * built before the engine is forked, which shares it then, and by --check as well. A file that cannot be
 * read, or a line of it that makes no sense, refuses the start.
 */
#include <stdlib.h>

#include "base/error.h"
#include "base/random.h"

#include "monitor/internal.h"

enum { LIST_MOST = 256 * 1024 * 1024 };

/* The plan's reports, as those of the configuration. */
struct names {
    struct local_report report;
    struct config_report *to;
    const struct config *config;
    struct local_plan *plan;
};

static void on_error(struct local_report *report, const char *line)
{
    struct names *names = container_of(report, struct names, report);
    names->to->error(names->to, line);
}

/* Goes on after what was told, so that all of it is told in one run. */
static int worse(int error, int another)
{
    return error != 0 && error != ERROR_INVALID ? error : another != 0 ? another : error;
}

static int refuse_file(struct names *names, const struct config_texts *paths, size_t index, int error)
{
    config_refuse(names->config, names->to, config_place_of_text(paths, index),
                  "\"%.200s\": cannot be read: %s", paths->items[index],
                  error == ERROR_MEMORY ? "it is larger than 256 MiB, or memory ran out" : error_text(error));
    return ERROR_INVALID;
}

static int add_file(struct names *names, const struct config_texts *paths, size_t index,
                    int (*add)(struct local_plan *, const char *, struct span))
{
    char *text;
    size_t size;
    int error = plan_read_file(paths->items[index], LIST_MOST, &text, &size);
    if (error != 0) {
        return refuse_file(names, paths, index, error);
    }
    error = add(names->plan, paths->items[index], span_of(text, size));
    free(text);
    return error;
}

static int add_files(struct names *names, const struct config_texts *paths,
                     int (*add)(struct local_plan *, const char *, struct span))
{
    int error = 0;
    for (size_t i = 0; i < paths->count; i++) {
        error = worse(error, add_file(names, paths, i, add));
    }
    return error;
}

static int add_texts(struct names *names, const struct config_texts *texts,
                     int (*add)(struct local_plan *, const char *, const char *))
{
    int error = 0;
    char place[CONFIG_PLACE_SIZE];
    for (size_t i = 0; i < texts->count; i++) {
        config_place_write(names->config, config_place_of_text(texts, i), place);
        error = worse(error, add(names->plan, place, texts->items[i]));
    }
    return error;
}

static int add_routes(struct names *names)
{
    const struct config *config = names->config;
    int error = 0;
    for (size_t i = 0; i < config->route_count; i++) {
        const struct config_route *route = &config->routes[i];
        error = worse(error, local_plan_route(names->plan, "routes", route->name, (uint8_t)route->group));
    }
    return error;
}

static int gather(struct names *names)
{
    const struct config *config = names->config;
    int error = add_texts(names, &config->local.forward, local_plan_forward);
    error = worse(error, add_routes(names));
    error = worse(error, add_texts(names, &config->local.records, local_plan_record));
    error = worse(error, add_files(names, &config->local.hosts, local_plan_hosts));
    return worse(error, add_files(names, &config->local.block, local_plan_block));
}

int names_build(const struct config *config, struct config_report *report, struct local **out)
{
    struct random random;
    random_init(&random);
    struct local_options options = {
        .hash_key = {{random_u64(&random), random_u64(&random)}},
        .special_use = config->local.special_use,
        .block_answer = config->local.block_answer,
    };
    struct names names = {.report.error = on_error, .to = report, .config = config};
    int error = local_plan_open(&options, &names.report, &names.plan);
    if (error == 0) {
        error = gather(&names);
        error = error == 0 ? local_build(names.plan, out) : error;
        local_plan_close(names.plan);
    }
    if (error != 0 && error != ERROR_INVALID) {
        complain_to(report, "local: the names cannot be kept: %s", error_text(error));
    }
    return error;
}
