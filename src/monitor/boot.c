/*
 * From words to open things: the configuration from all its sources, then log, authorities, meters and
 * sockets. Whatever is missing refuses the start, by name and with a way out.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

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
int boot_read_file(const char *path, size_t most, char **text, size_t *size)
{
    return read_path(path, O_NONBLOCK | O_NOCTTY, most, text, size);
}

/* ---- the configuration ---- */

static void report_error(struct config_report *report, const char *line)
{
    (void)report;
    fprintf(stderr, "%s\n", line);
}

static struct config_report report = {.error = report_error};

static int read_configuration_file(const struct arguments *arguments, struct boot *boot,
                                   struct config_sources *sources)
{
    const char *path = arguments->file != NULL ? arguments->file : default_file;
    int error = read_path(path, 0, FILE_MOST, &boot->file_text, &boot->file_size); /* -c /dev/stdin */
    if (error == ERROR_NOT_FOUND && arguments->file == NULL) {
        return 0;
    }
    if (error != 0) {
        complain("%s: the configuration file cannot be read: %s", path, error_text(error));
        return ERROR_INVALID;
    }
    sources->file = path;
    sources->text = span_of(boot->file_text, boot->file_size);
    sources->file_read = true;
    return 0;
}

static struct config_sources sources_of(const struct arguments *arguments, char *const *environment)
{
    return (struct config_sources){
        .environment = environment,
        .listen = arguments->listen,
        .listen_count = arguments->listen_count,
        .upstream = arguments->upstream,
        .upstream_count = arguments->upstream_count,
    };
}

int boot_configure(struct boot *boot, const struct arguments *arguments, char *const *environment)
{
    struct config_sources sources = sources_of(arguments, environment);
    int error = read_configuration_file(arguments, boot, &sources);
    return error == 0 ? config_build(&sources, &report, &boot->config) : error;
}

int boot_check(struct boot *boot, const struct arguments *arguments)
{
    return config_check(boot->config, &report, arguments->action == ACTION_CHECK);
}

/* ---- what a run opens ---- */

/* Opening a pipe without a reader would wait for one: then the monitor could neither serve nor stop. */
static int open_log_file(const char *path)
{
    int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
    int descriptor = open(path, flags | O_NONBLOCK, 0640);
    if (descriptor >= 0 && fcntl(descriptor, F_SETFL, O_APPEND) != 0) {
        close(descriptor);
        return -1;
    }
    return descriptor;
}

const char *boot_log_trouble(int number)
{
    return number == ENXIO ? "a pipe that nobody reads" : strerror(number);
}

int boot_open_log(const struct config *config)
{
    if (strcmp(config->log.target, "stderr") == 0) {
        return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    }
    if (strcmp(config->log.target, "stdout") == 0) {
        return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    }
    return open_log_file(config->log.target);
}

static int open_log(struct boot *boot)
{
    boot->log_descriptor = boot_open_log(boot->config);
    if (boot->log_descriptor < 0) {
        complain("log.target: %s: cannot be opened: %s", boot->config->log.target, boot_log_trouble(errno));
        return ERROR_INVALID;
    }
    return journal_open(&boot->journal, boot->config->log.level, boot->config->log.format,
                        boot->log_descriptor);
}

static int read_authorities(struct boot *boot)
{
    char *text;
    if (!config_needs_authorities(boot->config)) {
        return 0;
    }
    int error = boot_read_file(boot->config->tls.ca, FILE_MOST, &text, &boot->authorities_size);
    if (error == 0) {
        error = memory_store(span_of(text, boot->authorities_size), "dnseal-authorities", &boot->authorities);
    }
    free(text);
    if (error != 0) {
        complain("tls.ca: %s: cannot be read: %s (on Debian: apt-get install ca-certificates)",
                 boot->config->tls.ca, error_text(error));
    }
    return error;
}

static int build_names(struct boot *boot)
{
    return names_build(boot->config, &report, &boot->local);
}

/* The same of those that are asked for addresses; nobody is where no server is known by name. */
static void choose_bootstrap(struct boot *boot)
{
    struct config *config = boot->config;
    size_t kept = 0, hosts = 0;
    for (size_t i = 0; i < boot->upstreams_used; i++) {
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
static int choose_upstreams(struct boot *boot)
{
    struct config *config = boot->config;
    size_t kept = 0;
    for (size_t i = 0; i < config->upstream_count; i++) {
        struct config_upstream upstream = config->upstreams[i];
        if (!upstream.optional || net_has_route(&upstream.address)) {
            config->upstreams[i] = config->upstreams[kept];
            config->upstreams[kept++] = upstream;
        }
    }
    boot->upstreams_used = kept > 0 ? kept : config->upstream_count;
    choose_bootstrap(boot);
    return 0;
}

static struct engine_budget budget_for(const struct boot *boot, unsigned workers)
{
    return engine_budget(boot->config, boot->upstreams_used, workers, boot->authorities_size,
                         local_memory(boot->local));
}

/* As many as there are processors, or as many as memory bears. */
static unsigned fitting_workers(const struct boot *boot, unsigned wanted)
{
    unsigned workers = wanted;
    while (workers > 1 && budget_for(boot, workers).stream_blocks == 0) {
        workers--;
    }
    return workers;
}

static int count_workers(struct boot *boot)
{
    cpu_set_t usable;
    boot->workers = boot->workers_wanted = (unsigned)boot->config->workers;
    if (boot->workers == 0) {
        int cores = sched_getaffinity(0, sizeof usable, &usable) == 0 ? CPU_COUNT(&usable) : 1;
        boot->workers_wanted = cores < METRICS_WORKERS_MAX ? (unsigned)cores : METRICS_WORKERS_MAX;
        boot->workers = fitting_workers(boot, boot->workers_wanted);
    }
    return 0;
}

static size_t in_mebibytes(size_t bytes)
{
    return (bytes + MEBIBYTE - 1) / MEBIBYTE;
}

static int share_memory(struct boot *boot)
{
    struct engine_budget budget = budget_for(boot, boot->workers);
    boot->stream_blocks = budget.stream_blocks;
    if (boot->stream_blocks > 0) {
        return 0;
    }
    config_refuse(
        boot->config, &report, config_place_of(boot->config, "limits.memory"),
        "%zuMiB is too little, this configuration needs %zuMiB for %u worker%s: %zuMiB for "
        "queries that wait (limits.pending), %zuMiB for connections to servers (upstream.links, "
        "upstream.in_flight), %zuMiB for listeners and clients (limits.tcp_connections), %zuMiB for buffers "
        "(limits.tcp_output), %zuMiB for the cache (cache.size), %zuMiB for names that are answered here "
        "(local.block, local.hosts), %zuMiB for the rest; raise limits.memory, or lower one of the others",
        (size_t)boot->config->limits.memory / MEBIBYTE, in_mebibytes(budget.needed), boot->workers,
        boot->workers == 1 ? "" : "s", in_mebibytes(budget.queries), in_mebibytes(budget.links),
        in_mebibytes(budget.clients), in_mebibytes(budget.buffers), in_mebibytes(budget.cache),
        in_mebibytes(budget.local), in_mebibytes(budget.shared));
    return ERROR_MEMORY;
}

int boot_plan(struct boot *boot)
{
    int (*const steps[])(struct boot *) = {read_authorities, build_names, choose_upstreams, count_workers,
                                           share_memory};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        int error = steps[i](boot);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

/* What the control group of a container or service allows, UINT64_MAX where it has no limit. */
static uint64_t group_limit(void)
{
    char *text, *end;
    size_t size = 0;
    char number[32] = "";
    if (boot_read_file("/sys/fs/cgroup/memory.max", FILE_MOST, &text, &size) != 0) {
        return UINT64_MAX;
    }
    assert(text != NULL);
    memcpy(number, text, size < sizeof number ? size : sizeof number - 1);
    free(text);
    uint64_t limit = strtoull(number, &end, 10);
    return end == number ? UINT64_MAX : limit; /* "max" */
}

static void tell_group_limit(struct boot *boot)
{
    struct journal *journal = &boot->journal;
    uint64_t limit = group_limit();
    if (limit < boot->config->limits.memory && log_begin(&journal->log, LOG_WARNING, "memory_limit")) {
        log_number(&journal->log, "limit", (int64_t)limit);
        log_number(&journal->log, "memory", (int64_t)boot->config->limits.memory);
        log_text(
            &journal->log, "hint",
            "the container or service may use less than limits.memory, and would be killed at its limit: "
            "lower limits.memory, or allow more");
        journal_end(journal);
    }
}

static void tell_fewer_workers(struct boot *boot)
{
    struct journal *journal = &boot->journal;
    if (boot->workers < boot->workers_wanted && log_begin(&journal->log, LOG_WARNING, "memory_limit")) {
        log_number(&journal->log, "workers", boot->workers);
        log_number(&journal->log, "processors", boot->workers_wanted);
        log_text(&journal->log, "hint",
                 "limits.memory bears no more workers than this: raise it, or set workers");
        journal_end(journal);
    }
}

static int open_metrics(struct boot *boot)
{
    int error = metrics_open(boot->workers, &boot->metrics, &boot->metrics_descriptor);
    if (error != 0) {
        complain("the meters cannot be opened: %s", error_text(error));
        return error;
    }
    for (size_t i = 0; i < boot->upstreams_used; i++) {
        metrics_label_upstream(boot->metrics, i, boot->config->upstreams[i].label);
    }
    for (size_t i = 0; i < boot->config->bootstrap_count; i++) {
        metrics_label_upstream(boot->metrics, boot->upstreams_used + i, boot->config->bootstrap[i].label);
    }
    return 0;
}

static int open_facts(struct boot *boot)
{
    int error = upstream_facts_open(&boot->facts, &boot->facts_descriptor);
    if (error != 0) {
        complain("the memory for facts of the upstreams cannot be had: %s", error_text(error));
    }
    return error;
}

static int open_cache(struct boot *boot)
{
    size_t size = (size_t)boot->config->cache.size;
    if (size == 0) {
        return 0;
    }
    struct random random;
    random_init(&random);
    struct hash_key key = {{random_u64(&random), random_u64(&random)}};
    int error = cache_open(size, key, (uint32_t)getpid(), &boot->cache);
    if (error != 0) {
        complain("cache.size: the memory cannot be had: %s", error_text(error));
    }
    return error;
}

void boot_count_cache(const struct boot *boot)
{
    if (boot->cache.head == NULL) {
        return;
    }
    struct cache_numbers numbers;
    cache_count(&boot->cache, &numbers);
    struct metrics_worker *own = &boot->metrics->worker[boot->metrics->workers - 1];
    metrics_set(&own->meter[METRICS_CACHE_ENTRIES], numbers.entries);
    metrics_set(&own->meter[METRICS_CACHE_BYTES], numbers.bytes);
    metrics_set(&own->meter[METRICS_CACHE_EVICTIONS], numbers.evicted);
}

static int resolve_identity(struct boot *boot)
{
    return privileges_resolve(boot->config->user, &boot->identity);
}

int boot_open(struct boot *boot)
{
    int (*const steps[])(struct boot *) = {resolve_identity, open_log,   open_metrics,
                                           open_facts,       open_cache, sockets_open};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        int error = steps[i](boot);
        if (error != 0) {
            return error;
        }
    }
    tell_fewer_workers(boot);
    tell_group_limit(boot);
    return 0;
}

void boot_close(struct boot *boot)
{
    sockets_close(boot);
    if (boot->cache.head != NULL) {
        cache_close(&boot->cache);
    }
    if (boot->facts != NULL) {
        upstream_facts_close(boot->facts, boot->facts_descriptor);
    }
    if (boot->metrics != NULL) {
        metrics_close(boot->metrics, boot->metrics_descriptor);
    }
    if (boot->journal.ring != NULL) {
        journal_close(&boot->journal);
    }
    if (boot->log_descriptor > 0) {
        close(boot->log_descriptor);
    }
    if (boot->authorities >= 0) {
        memory_close_shared(boot->authorities);
    }
    local_free(boot->local);
    free(boot->file_text);
    config_free(boot->config);
}
