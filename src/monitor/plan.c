/*
 * What a configuration needs, worked out before anything is opened: the snapshot from all its sources, then
 * authorities, names, servers, workers and memory. Whatever is missing refuses it, by name and with a way
 * out. Called at the start, by --check, and for every reload.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"

#include "net/net.h"

#include "monitor/internal.h"

static const char default_file[] = "/etc/dnseal/dnseal.yaml";

enum { FILE_MOST = 16 * 1024 * 1024, READ_LEAST = 64 * 1024, MEBIBYTE = 1024 * 1024 };

/* ---- files ---- */

/* Room for the whole file at once where its size is known, and a byte to see its end. */
static size_t first_capacity(int descriptor, size_t most)
{
    struct stat status;
    bool is_known = fstat(descriptor, &status) == 0 && status.st_size > 0 && (size_t)status.st_size < most;
    return is_known ? (size_t)status.st_size + 1 : READ_LEAST;
}

static int read_descriptor(int descriptor, size_t most, char **text, size_t *size)
{
    size_t capacity = first_capacity(descriptor, most), used = 0;
    char *buffer = malloc(capacity);
    while (buffer != NULL) {
        ssize_t count = read(descriptor, buffer + used, capacity - used);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            *text = buffer;
            *size = used;
            return count == 0 ? 0 : error_from_errno(errno);
        }
        used += (size_t)count;
        if (used == capacity) {
            capacity *= 2;
            char *larger = capacity <= most ? realloc(buffer, capacity) : NULL;
            if (larger == NULL) {
                break;
            }
            buffer = larger;
        }
    }
    free(buffer);
    *text = NULL;
    return ERROR_MEMORY;
}

static int irregular(int descriptor)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0) {
        return error_from_errno(errno);
    }
    return S_ISREG(status.st_mode) ? 0 : S_ISDIR(status.st_mode) ? ERROR_DIRECTORY : ERROR_IRREGULAR;
}

static int read_path(const char *path, int flags, size_t most, char **text, size_t *size)
{
    *text = NULL;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | flags);
    if (descriptor < 0) {
        return error_from_errno(errno);
    }
    int error = flags & O_NONBLOCK ? irregular(descriptor) : 0;
    error = error == 0 ? read_descriptor(descriptor, most, text, size) : error;
    close(descriptor);
    if (error != 0) {
        free(*text);
        *text = NULL;
    }
    return error;
}

/* Opening a pipe without a writer would wait for one, and reading one for what it writes. */
int plan_read_file(const char *path, size_t most, char **text, size_t *size)
{
    return read_path(path, O_NONBLOCK | O_NOCTTY, most, text, size);
}

/* ---- the configuration ---- */

static int read_configuration_file(struct plan *plan, const char *named, struct config_report *report,
                                   struct config_sources *sources)
{
    const char *path = named != NULL ? named : default_file;
    int error = read_path(path, 0, FILE_MOST, &plan->file_text, &plan->file_size); /* -c /dev/stdin */
    if (error == ERROR_NOT_FOUND && named == NULL) {
        return 0;
    }
    if (error != 0) {
        complain_to(report, "%s: the configuration file cannot be read: %s", path, error_text(error));
        return ERROR_INVALID;
    }
    sources->file = path;
    sources->text = span_of(plan->file_text, plan->file_size);
    sources->file_read = true;
    return 0;
}

/* `passed` is room for what a service manager passed. */
static struct config_sources sources_of(const struct sources *sources,
                                        struct config_listen passed[CONFIG_LISTEN_MAX])
{
    const struct arguments *arguments = sources->arguments;
    return (struct config_sources){
        .environment = sources->environment,
        .passed = passed,
        .passed_count = activation_listeners(sources->service, passed),
        .listen = arguments->listen,
        .listen_count = arguments->listen_count,
        .upstream = arguments->upstream,
        .upstream_count = arguments->upstream_count,
    };
}

int plan_configure(struct plan *plan, const struct sources *sources, struct config_report *report)
{
    struct config_listen passed[CONFIG_LISTEN_MAX];
    struct config_sources all = sources_of(sources, passed);
    int error = read_configuration_file(plan, sources->arguments->file, report, &all);
    return error == 0 ? config_build(&all, report, &plan->config) : error;
}

int plan_find_control(struct plan *plan, const struct sources *sources, struct config_report *report,
                      char **out)
{
    struct config_listen passed[CONFIG_LISTEN_MAX];
    struct config_sources all = sources_of(sources, passed);
    int error = read_configuration_file(plan, sources->arguments->file, report, &all);
    *out = error == 0 ? config_control_socket(&all) : NULL;
    return error == 0 && *out == NULL ? ERROR_MEMORY : error;
}

/* Who checks wants to hear at once of all files; a start goes no further. */
int plan_check(const struct plan *plan, const struct sources *sources, struct config_report *report)
{
    bool is_thorough = sources->arguments->action == ACTION_CHECK;
    int error = config_check(plan->config, report, is_thorough);
    if (error != 0 && is_thorough) {
        struct local *local = NULL;
        (void)names_build(plan->config, report, &local);
        local_free(local);
    }
    return error;
}

/* ---- the plan ---- */

static int read_authorities(struct plan *plan, struct config_report *report)
{
    char *text;
    if (!config_needs_authorities(plan->config)) {
        return 0;
    }
    plan->authorities_stamp = watch_stamp(plan->config->tls.ca);
    int error = plan_read_file(plan->config->tls.ca, FILE_MOST, &text, &plan->authorities_size);
    if (error == 0) {
        error = memory_store(span_of(text, plan->authorities_size), "dnseal-authorities", &plan->authorities);
    }
    free(text);
    if (error != 0) {
        complain_to(report, "tls.ca: %s: cannot be read: %s (on Debian: apt-get install ca-certificates)",
                    plan->config->tls.ca, error_text(error));
    }
    return error;
}

static int build_names(struct plan *plan, struct config_report *report)
{
    return names_build(plan->config, report, &plan->local);
}

/* The same of those that are asked for addresses; nobody is where no server is known by name. */
static void choose_bootstrap(struct plan *plan)
{
    struct config *config = plan->config;
    size_t kept = 0, hosts = 0;
    for (size_t i = 0; i < plan->upstreams_used; i++) {
        hosts += config->upstreams[i].host != NULL;
    }
    for (size_t i = 0; i < config->bootstrap_count && hosts > 0; i++) {
        if (!config->bootstrap[i].optional || net_has_route(&config->bootstrap[i].address)) {
            config->bootstrap[kept++] = config->bootstrap[i];
        }
    }
    config->bootstrap_count = kept > 0 || hosts == 0 ? kept : config->bootstrap_count;
}

/* Servers that only a preset named are left out where no route leads to them, unless none would be left. */
static void choose_upstreams(struct plan *plan)
{
    struct config *config = plan->config;
    size_t kept = 0;
    for (size_t i = 0; i < config->upstream_count; i++) {
        struct config_upstream upstream = config->upstreams[i];
        if (!upstream.optional || net_has_route(&upstream.address)) {
            config->upstreams[i] = config->upstreams[kept];
            config->upstreams[kept++] = upstream;
        }
    }
    plan->upstreams_used = kept > 0 ? kept : config->upstream_count;
    choose_bootstrap(plan);
}

static struct engine_budget budget_for(const struct plan *plan, unsigned workers)
{
    return engine_budget(plan->config, plan->upstreams_used, workers, plan->authorities_size,
                         local_memory(plan->local));
}

/* As many as there are processors, or as many as memory bears. */
static unsigned fitting_workers(const struct plan *plan, unsigned wanted)
{
    unsigned workers = wanted;
    while (workers > 1 && budget_for(plan, workers).stream_blocks == 0) {
        workers--;
    }
    return workers;
}

static void count_workers(struct plan *plan)
{
    cpu_set_t usable;
    plan->workers = plan->workers_wanted = (unsigned)plan->config->workers;
    if (plan->workers == 0) {
        int cores = sched_getaffinity(0, sizeof usable, &usable) == 0 ? CPU_COUNT(&usable) : 1;
        plan->workers_wanted = cores < METRICS_WORKERS_MAX ? (unsigned)cores : METRICS_WORKERS_MAX;
        plan->workers = fitting_workers(plan, plan->workers_wanted);
    }
}

static size_t in_mebibytes(size_t bytes)
{
    return (bytes + MEBIBYTE - 1) / MEBIBYTE;
}

static int share_memory(struct plan *plan, struct config_report *report)
{
    struct engine_budget budget = budget_for(plan, plan->workers);
    plan->stream_blocks = budget.stream_blocks;
    if (plan->stream_blocks > 0) {
        return 0;
    }
    config_refuse(
        plan->config, report, config_place_of(plan->config, "limits.memory"),
        "%zuMiB is too little, this configuration needs %zuMiB for %u worker%s: %zuMiB for "
        "queries that wait (limits.pending), %zuMiB for connections to servers (upstream.links, "
        "upstream.in_flight), %zuMiB for listeners and clients (limits.tcp_connections), %zuMiB for buffers "
        "(limits.tcp_output), %zuMiB for the cache (cache.size), %zuMiB for names that are answered here "
        "(local.block, local.hosts), %zuMiB for the rest; raise limits.memory, or lower one of the others",
        (size_t)plan->config->limits.memory / MEBIBYTE, in_mebibytes(budget.needed), plan->workers,
        plan->workers == 1 ? "" : "s", in_mebibytes(budget.queries), in_mebibytes(budget.links),
        in_mebibytes(budget.clients), in_mebibytes(budget.buffers), in_mebibytes(budget.cache),
        in_mebibytes(budget.local), in_mebibytes(budget.shared));
    return ERROR_MEMORY;
}

int plan_work_out(struct plan *plan, struct config_report *report)
{
    int error = read_authorities(plan, report);
    if (error == 0) {
        error = build_names(plan, report);
    }
    if (error != 0) {
        return error;
    }
    choose_upstreams(plan);
    count_workers(plan);
    return share_memory(plan, report);
}

/* ---- its life ---- */

void plan_init(struct plan *plan)
{
    *plan = (struct plan){.authorities = -1};
}

void plan_free(struct plan *plan)
{
    if (plan->facts != NULL) {
        upstream_facts_close(plan->facts, plan->facts_descriptor);
    }
    if (plan->authorities >= 0) {
        memory_close_shared(plan->authorities);
    }
    free(plan->sockets);
    local_free(plan->local);
    free(plan->file_text);
    config_free(plan->config);
    plan_init(plan);
}
