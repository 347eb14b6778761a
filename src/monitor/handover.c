/*
 * What one program hands to the next one that takes its place in the same process: descriptors that stay open
 * over the exec, and a text that says what they are. Written by upgrade.c before the exec, read by monitor.c
 * at the start. A text of another make is no handover: then nothing is taken over, and nothing is lost but
 * time.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"

#include "monitor/supervisor.h"

static const char head[] = "dnseal handover 1", variable[] = "DNSEAL_HANDOVER=";

enum { TEXT_MOST = 1024 * 1024, FIRST_FREE = 3 };

/* ---- writing ---- */

struct writing {
    FILE *text;
    bool is_open; /* descriptors are to stay open over an exec, else to be closed by it */
};

static void keep_open(const struct writing *writing, int descriptor)
{
    (void)fcntl(descriptor, F_SETFD, writing->is_open ? 0 : FD_CLOEXEC);
}

static void write_sockets(const struct writing *writing, const struct boot *boot)
{
    for (size_t i = 0; i < boot->table.count; i++) {
        if (!boot->table.entries[i].is_passed) {
            keep_open(writing, boot->table.entries[i].descriptor);
            fprintf(writing->text, "socket %d\n", boot->table.entries[i].descriptor);
        }
    }
}

/* Sockets that a service manager passed, and copies that it gave back and nobody has taken. */
static void write_passed(const struct writing *writing, const struct service *service)
{
    for (size_t i = 0; service != NULL && i < service->passed_count; i++) {
        const struct service_passed *passed = &service->passed[i];
        if (passed->descriptor >= 0 && !passed->stored) {
            keep_open(writing, passed->descriptor);
            fprintf(writing->text, "passed %d %.*s\n", passed->descriptor, (int)passed->name.size,
                    (const char *)passed->name.data);
        }
    }
}

static void write_engines(const struct writing *writing, const struct supervisor *supervisor)
{
    for (size_t i = 0; i < BOOT_ENGINES_MAX; i++) {
        const struct process *process = &supervisor->processes[i];
        if (process->state == PROCESS_FREE || process->channel.loop == NULL || process->metrics == NULL) {
            continue;
        }
        keep_open(writing, process->channel.descriptor);
        keep_open(writing, process->metrics_descriptor);
        fprintf(writing->text, "engine %d %d %d %zu %d\n", (int)process->pid, process->channel.descriptor,
                process->metrics_descriptor, metrics_memory(process->metrics->workers - 1),
                process == supervisor->current);
    }
}

static void write_groups(const struct writing *writing, const struct config *config)
{
    for (size_t i = 0; i < config->upstream_count; i++) {
        const struct config_upstream *upstream = &config->upstreams[i];
        fprintf(writing->text, "group %u %s\n", config->groups[upstream->group].partition, upstream->label);
    }
}

static void write_known(const struct writing *writing, const struct plan *plan)
{
    for (size_t i = 0; i < plan->upstreams_used; i++) {
        const struct address_list *known = &plan->known[i];
        for (size_t k = 0; k < known->count && plan->config->upstreams[i].host != NULL; k++) {
            char text[ADDRESS_TEXT_SIZE];
            address_format(&known->items[k], false, text);
            fprintf(writing->text, "known %s %s\n", plan->config->upstreams[i].host, text);
        }
    }
}

static void write_all(const struct writing *writing, const struct supervisor *supervisor)
{
    const struct boot *boot = supervisor->boot;
    fprintf(writing->text, "%s %d\n", head, (int)getpid());
    if (boot->cache.head != NULL) {
        keep_open(writing, boot->cache.descriptor);
        fprintf(writing->text, "cache %d %" PRIu64 " %d\n", boot->cache.descriptor,
                boot->plan->config->cache.size, DNS_STORED_FORM);
    }
    keep_open(writing, boot->total_descriptor);
    fprintf(writing->text, "total %d %zu\n", boot->total_descriptor, metrics_memory(0));
    write_sockets(writing, boot);
    write_passed(writing, boot->service);
    write_engines(writing, supervisor);
    write_groups(writing, boot->plan->config);
    write_known(writing, boot->plan);
    for (size_t i = 0; i < supervisor->upgrade.client_count; i++) {
        keep_open(writing, supervisor->upgrade.clients[i]);
        fprintf(writing->text, "client %d\n", supervisor->upgrade.clients[i]);
    }
    fprintf(writing->text, "end\n");
}

static int write_text(const struct supervisor *supervisor, bool is_open, char **text, size_t *size)
{
    struct writing writing = {.text = open_memstream(text, size), .is_open = is_open};
    if (writing.text == NULL) {
        return ERROR_MEMORY;
    }
    write_all(&writing, supervisor);
    return fclose(writing.text) == 0 ? 0 : ERROR_MEMORY;
}

int handover_write(const struct supervisor *supervisor, int *descriptor)
{
    char *text = NULL;
    size_t size = 0;
    int error = write_text(supervisor, true, &text, &size);
    if (error == 0) {
        error = memory_store(span_of(text, size), "dnseal-handover", descriptor);
    }
    free(text);
    if (error == 0 && fcntl(*descriptor, F_SETFD, 0) != 0) {
        error = error_from_errno(errno);
    }
    return error;
}

void handover_take_back(const struct supervisor *supervisor)
{
    char *text = NULL;
    size_t size = 0;
    (void)write_text(supervisor, false, &text, &size);
    free(text);
}

/* ---- the environment ---- */

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* What was said of descriptors is out of date after the exec: they have other numbers, or are gone. */
static bool is_of_descriptors(const char *entry)
{
    return begins_with(entry, variable) || begins_with(entry, "LISTEN_PID=") ||
           begins_with(entry, "LISTEN_FDS=") || begins_with(entry, "LISTEN_FDNAMES=");
}

char **handover_environment(char *const *environment, const char *further)
{
    size_t count = 0, kept = 0;
    while (environment[count] != NULL) {
        count++;
    }
    char **out = calloc(count + 2, sizeof *out);
    for (size_t i = 0; i < count && out != NULL; i++) {
        if (!is_of_descriptors(environment[i])) {
            out[kept++] = environment[i];
        }
    }
    if (out != NULL && further != NULL) {
        out[kept] = strdup(further);
    }
    return out;
}

/* ---- reading ---- */

static bool take_number(char **rest, int64_t least, int64_t most, int64_t *out)
{
    char *end, *begin = *rest;
    errno = 0;
    long long number = strtoll(begin, &end, 10);
    if (end == begin || errno != 0 || number < least || number > most || (*end != ' ' && *end != '\0')) {
        return false;
    }
    *out = number;
    *rest = *end == ' ' ? end + 1 : end;
    return true;
}

static bool take_descriptor(char **rest, int *out)
{
    int64_t number;
    if (!take_number(rest, FIRST_FREE, INT32_MAX, &number) || fcntl((int)number, F_SETFD, FD_CLOEXEC) != 0) {
        return false;
    }
    *out = (int)number;
    return true;
}

static bool read_cache(struct handover *handover, char *rest)
{
    int64_t size, form;
    if (!take_descriptor(&rest, &handover->cache) || !take_number(&rest, 1, INT64_MAX, &size) ||
        !take_number(&rest, 0, INT32_MAX, &form)) {
        return false;
    }
    handover->cache_size = (size_t)size;
    handover->is_cache_readable = form == DNS_STORED_FORM;
    return true;
}

static bool read_total(struct handover *handover, char *rest)
{
    int64_t size;
    bool is_good = take_descriptor(&rest, &handover->total) && take_number(&rest, 1, INT32_MAX, &size);
    handover->total_size = is_good ? (size_t)size : 0;
    return is_good;
}

static bool read_socket(struct handover *handover, char *rest)
{
    int *sockets = realloc(handover->sockets, (handover->socket_count + 1) * sizeof *sockets);
    if (sockets == NULL) {
        return false;
    }
    handover->sockets = sockets;
    return take_descriptor(&rest, &sockets[handover->socket_count++]);
}

static bool read_passed(struct handover *handover, char *rest)
{
    size_t size = (handover->passed_count + 1) * sizeof *handover->passed;
    struct service_passed *passed = realloc(handover->passed, size);
    if (passed == NULL) {
        return false;
    }
    handover->passed = passed;
    passed += handover->passed_count;
    *passed = (struct service_passed){.descriptor = -1};
    bool is_good = take_descriptor(&rest, &passed->descriptor);
    passed->name = span_text(rest);
    handover->passed_count++;
    return is_good;
}

static bool read_engine(struct handover *handover, char *rest)
{
    int64_t pid, size, serves;
    if (handover->engine_count == BOOT_ENGINES_MAX) {
        return false;
    }
    struct handover_engine *engine = &handover->engines[handover->engine_count++];
    bool is_good = take_number(&rest, 2, INT32_MAX, &pid) && take_descriptor(&rest, &engine->channel) &&
                   take_descriptor(&rest, &engine->metrics) && take_number(&rest, 1, INT32_MAX, &size) &&
                   take_number(&rest, 0, 1, &serves);
    engine->pid = is_good ? (pid_t)pid : 0;
    engine->metrics_size = is_good ? (size_t)size : 0;
    engine->serves = is_good && serves == 1;
    return is_good;
}

static bool read_client(struct handover *handover, char *rest)
{
    return handover->client_count < UPGRADE_CLIENTS_MAX &&
           take_descriptor(&rest, &handover->clients[handover->client_count++]);
}

/* Lines that are looked at when there is a plan to compare them with. */
static bool keep_line(struct handover *handover, char *rest, bool is_group)
{
    struct handover_line *lines = realloc(handover->lines, (handover->line_count + 1) * sizeof *lines);
    if (lines == NULL) {
        return false;
    }
    handover->lines = lines;
    struct handover_line *line = &lines[handover->line_count++];
    *line = (struct handover_line){.is_group = is_group, .text = rest};
    int64_t partition = 0;
    bool is_good = !is_group || take_number(&line->text, 0, CONFIG_PARTITIONS - 1, &partition);
    line->partition = (uint8_t)partition;
    return is_good;
}

static bool read_line(struct handover *handover, char *line)
{
    char *rest = line;
    const char *word = strsep(&rest, " ");
    if (rest == NULL) {
        return false;
    }
    static const struct {
        const char *word;
        bool (*read)(struct handover *handover, char *rest);
    } readers[] = {{"cache", read_cache},   {"total", read_total},   {"socket", read_socket},
                   {"passed", read_passed}, {"engine", read_engine}, {"client", read_client}};
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        if (strcmp(word, readers[i].word) == 0) {
            return readers[i].read(handover, rest);
        }
    }
    bool is_group = strcmp(word, "group") == 0;
    return (is_group || strcmp(word, "known") == 0) && keep_line(handover, rest, is_group);
}

static bool read_head(char *line)
{
    int64_t pid;
    size_t size = sizeof head - 1;
    if (strncmp(line, head, size) != 0 || line[size] != ' ') {
        return false;
    }
    char *rest = line + size + 1;
    return take_number(&rest, 1, INT32_MAX, &pid) && (pid_t)pid == getpid();
}

static bool read_text(struct handover *handover)
{
    char *rest = handover->text;
    char *line = strsep(&rest, "\n");
    if (!read_head(line)) {
        return false;
    }
    while (rest != NULL) {
        line = strsep(&rest, "\n");
        if (strcmp(line, "end") == 0) {
            return true;
        }
        if (!read_line(handover, line)) {
            return false;
        }
    }
    return false;
}

static char *read_descriptor(int descriptor)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0 || status.st_size < 1 || status.st_size > TEXT_MOST) {
        return NULL;
    }
    size_t size = (size_t)status.st_size, used = 0;
    char *text = calloc(1, size + 1);
    while (text != NULL && used < size) {
        ssize_t count = pread(descriptor, text + used, size - used, (off_t)used);
        if (count <= 0) {
            break;
        }
        used += (size_t)count;
    }
    return text;
}

static const char *find_variable(char *const *environment)
{
    for (; *environment != NULL; environment++) {
        if (begins_with(*environment, variable)) {
            return *environment + sizeof variable - 1;
        }
    }
    return NULL;
}

static void init(struct handover *handover)
{
    *handover = (struct handover){.cache = -1, .total = -1};
}

int handover_read(char *const *environment, struct handover *out)
{
    char *value = NULL;
    const char *found = find_variable(environment);
    int descriptor;
    init(out);
    if (found == NULL) {
        return 0;
    }
    value = strdup(found);
    char *rest = value;
    if (value == NULL || !take_descriptor(&rest, &descriptor)) {
        free(value);
        complain(
            "DNSEAL_HANDOVER: \"%.40s\": no descriptor of this process: start dnseal without this variable",
            found);
        return ERROR_INVALID;
    }
    free(value);
    out->text = read_descriptor(descriptor);
    close(descriptor);
    if (out->text == NULL || !read_text(out)) {
        complain("DNSEAL_HANDOVER: what another program hands over cannot be read: start dnseal anew");
        return ERROR_INVALID;
    }
    out->is_there = true;
    return 0;
}

void handover_free(struct handover *handover)
{
    free(handover->sockets);
    free(handover->passed);
    free(handover->lines);
    free(handover->text);
    init(handover);
}
