/*
 * What one program hands to the next one: descriptors, and a text that says what they are. They stay open
 * over the exec that upgrade.c does, or a service manager keeps them for the process after this one
 * (store.c). handover_read.c reads it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"

#include "monitor/supervisor.h"

/* ---- writing ---- */

struct writing {
    FILE *text;
    bool is_stored; /* a service manager keeps them */
    bool is_open;   /* else: descriptors are to stay open over an exec, or to be closed by it */
};

static void keep_open(const struct writing *writing, int descriptor)
{
    (void)fcntl(descriptor, F_SETFD, writing->is_open ? 0 : FD_CLOEXEC);
}

/* By its number, or by the name that it is stored under. */
static void write_memory(const struct writing *writing, const char *what, int descriptor)
{
    char name[STORE_NAME_SIZE];
    if (writing->is_stored) {
        store_name_memory(what, descriptor, name);
        fprintf(writing->text, "%s %s ", what, name);
    } else {
        keep_open(writing, descriptor);
        fprintf(writing->text, "%s %d ", what, descriptor);
    }
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

/* What outlives an engine and a configuration. */
static void write_lasting(const struct writing *writing, const struct boot *boot)
{
    if (boot->cache.head != NULL) {
        write_memory(writing, "cache", boot->cache.descriptor);
        fprintf(writing->text, "%" PRIu64 " %d\n", boot->plan->config->cache.size, DNS_STORED_FORM);
    }
    write_memory(writing, "total", boot->total_descriptor);
    fprintf(writing->text, "%zu\n", metrics_memory(0));
    write_groups(writing, boot->plan->config);
    write_known(writing, boot->plan);
}

/* What the next program has to forget where it needs it no more. */
static void write_stored(const struct writing *writing, const struct store *store)
{
    if (store == NULL || store->text < 0) {
        return;
    }
    keep_open(writing, store->text);
    fprintf(writing->text, "text %d\n", store->text);
    for (size_t i = 0; i < store->count; i++) {
        if (store->pieces[i].is_there) {
            fprintf(writing->text, "stored %" PRIu64 " %s\n", store->pieces[i].inode, store->pieces[i].name);
        }
    }
}

static void write_control(const struct writing *writing, const struct supervisor *supervisor)
{
    const char *path = supervisor->boot->plan->config->control.socket;
    int listener = control_listener(supervisor->control);
    if (listener >= 0 && strchr(path, '\n') == NULL) {
        keep_open(writing, listener);
        fprintf(writing->text, "control %d %s\n", listener, path);
    }
    for (size_t i = 0; i < supervisor->upgrade.client_count; i++) {
        const struct handover_client *client = &supervisor->upgrade.clients[i];
        keep_open(writing, client->descriptor);
        fprintf(writing->text, "client %d %d\n", client->descriptor, client->waits);
    }
}

static void write_all(const struct writing *writing, const struct supervisor *supervisor)
{
    const struct boot *boot = supervisor->boot;
    fprintf(writing->text, "%s%d\n", HANDOVER_HEAD, (int)getpid());
    write_lasting(writing, boot);
    write_sockets(writing, boot);
    write_passed(writing, boot->service);
    write_stored(writing, boot->store);
    keep_open(writing, boot->log_descriptor);
    fprintf(writing->text, "log %d\n", boot->log_descriptor);
    write_engines(writing, supervisor);
    write_control(writing, supervisor);
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

int handover_describe(const struct boot *boot, char **text, size_t *size)
{
    struct writing writing = {.text = open_memstream(text, size), .is_stored = true};
    size_t sockets = 0;
    if (writing.text == NULL) {
        return ERROR_MEMORY;
    }
    for (size_t i = 0; i < boot->table.count; i++) {
        sockets += !boot->table.entries[i].is_passed;
    }
    fprintf(writing.text, "%s\n", HANDOVER_STORED);
    write_lasting(&writing, boot);
    fprintf(writing.text, "sockets %zu\nend\n", sockets);
    return fclose(writing.text) == 0 ? 0 : ERROR_MEMORY;
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
    return begins_with(entry, HANDOVER_VARIABLE) || begins_with(entry, "LISTEN_PID=") ||
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

/* ---- its end ---- */

void handover_init(struct handover *handover)
{
    *handover = (struct handover){.cache = -1, .total = -1, .control = -1, .log = -1, .stored_text = -1};
}

void handover_free(struct handover *handover)
{
    free(handover->sockets);
    free(handover->passed);
    free(handover->lines);
    free(handover->stored);
    free(handover->text);
    handover_init(handover);
}
