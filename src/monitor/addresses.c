/*
 * The addresses of servers that are known by name, kept beyond the life of an engine, and in a file beyond
 * that of the program. The engine finds them out and tells them by letter; each engine is started with the
 * last that were told. Called by supervise.c.
 *
 * The file is a few lines of text. It is read here, once, before the first engine; it is written by a child,
 * so that a disk that hangs holds up nobody. However old an address is, it can do no harm: TLS proves the
 * server.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

#include "monitor/internal.h"

static const char head[] = "dnseal addresses 1\n", foot[] = "end\n";

enum {
    MAGIC_SIZE = 17, /* of the head, what every version has */
    TEXT_SIZE = 32 * 1024,
    SYSTEM_CODE = 64, /* exit codes of the child: a fault, or this and an error */
};

struct addresses {
    struct boot *boot;
    pid_t child;      /* 0: no file is being written */
    bool again;       /* it is behind what is known */
    const char *told; /* why the last one could not be written; NULL when it could */
};

static const char *path_of(const struct boot *boot)
{
    return boot->plan->config->addresses_file;
}

/* ---- what the log is told ---- */

static void tell_trouble(struct boot *boot, const char *action, const char *reason)
{
    struct log *log = &boot->journal.log;
    if (log_begin(log, LOG_WARNING, "addresses_file")) {
        log_text(log, "action", action);
        log_text(log, "path", path_of(boot));
        log_text(log, "reason", reason);
        log_text(log, "hint",
                 strcmp(action, "refused") == 0
                     ? "bootstrap is asked instead; if the file is this program's, remove it"
                     : "look at the directory's rights, at the disk, and at what lies at the path");
        journal_end(&boot->journal);
    }
}

static const char *reason_of(const struct keeper_outcome *outcome)
{
    return outcome->fault == KEEP_FAULT_SYSTEM ? error_text(outcome->error) : keep_fault_word(outcome->fault);
}

/* ---- the file's text ---- */

static bool is_ours(struct span begin)
{
    return begin.size == 0 || (begin.size >= MAGIC_SIZE && memcmp(begin.data, head, MAGIC_SIZE) == 0);
}

/* Whether an upstream before this one has the same host. */
static bool is_repeated(const struct boot *boot, size_t upstream)
{
    const struct config_upstream *upstreams = boot->plan->config->upstreams;
    for (size_t i = 0; i < upstream; i++) {
        if (upstreams[i].host != NULL && strcmp(upstreams[i].host, upstreams[upstream].host) == 0 &&
            boot->plan->known[i].count > 0) {
            return true;
        }
    }
    return false;
}

static size_t write_text(const struct boot *boot, char out[TEXT_SIZE])
{
    size_t size = (size_t)snprintf(out, TEXT_SIZE, "%s", head);
    for (size_t i = 0; i < boot->plan->upstreams_used; i++) {
        const char *host = boot->plan->config->upstreams[i].host;
        if (host == NULL || boot->plan->known[i].count == 0 || is_repeated(boot, i)) {
            continue;
        }
        size += (size_t)snprintf(out + size, TEXT_SIZE - size, "%s", host);
        for (size_t k = 0; k < boot->plan->known[i].count; k++) {
            char address[ADDRESS_TEXT_SIZE];
            address_format(&boot->plan->known[i].items[k], false, address);
            size += (size_t)snprintf(out + size, TEXT_SIZE - size, " %s", address);
        }
        size += (size_t)snprintf(out + size, TEXT_SIZE - size, "\n");
    }
    return size + (size_t)snprintf(out + size, TEXT_SIZE - size, "%s", foot);
}

/* The addresses of a host are those of all its servers, but for the ports. */
static void learn(const struct plan *plan, const char *host, const struct address_list *addresses,
                  struct address_list known[CONFIG_UPSTREAMS_MAX])
{
    for (size_t i = 0; i < plan->upstreams_used; i++) {
        const struct config_upstream *upstream = &plan->config->upstreams[i];
        if (upstream->host == NULL || strcmp(upstream->host, host) != 0) {
            continue;
        }
        for (size_t k = 0; k < addresses->count; k++) {
            struct address address = addresses->items[k];
            address.port = upstream->address.port;
            if (!config_is_own(plan->config, upstream->transport, &address)) {
                address_list_add(&known[i], &address);
            }
        }
    }
}

/* "HOST ADDRESS ADDRESS...", which is cut into words. */
static bool read_line(const struct boot *boot, char *line, struct address_list known[CONFIG_UPSTREAMS_MAX])
{
    struct address_list list = {0};
    char *rest = line;
    const char *host = strsep(&rest, " ");
    while (rest != NULL) {
        struct address address;
        const char *word = strsep(&rest, " ");
        if (address_parse(span_text(word), 0, &address) != 0 || address.port != 0 ||
            address_is_any(&address) || address_is_multicast(&address) ||
            !address_list_add(&list, &address)) {
            return false;
        }
    }
    learn(boot->plan, host, &list, known);
    return host[0] != '\0' && list.count > 0;
}

static enum keep_fault read_text(const struct boot *boot, char *text,
                                 struct address_list known[CONFIG_UPSTREAMS_MAX])
{
    if (!is_ours(span_text(text))) {
        return KEEP_FAULT_FOREIGN;
    }
    if (strncmp(text, head, sizeof head - 1) != 0) {
        return text[0] == '\0' ? KEEP_FAULT_DAMAGED : KEEP_FAULT_VERSION;
    }
    char *rest = text + sizeof head - 1;
    while (strcmp(rest, foot) != 0) {
        char *line = strsep(&rest, "\n");
        if (rest == NULL || !read_line(boot, line, known)) {
            return KEEP_FAULT_DAMAGED;
        }
    }
    return KEEP_FAULT_NONE;
}

/* ---- the file ---- */

static void read_descriptor(struct boot *boot, int descriptor, struct keeper_outcome *outcome)
{
    char text[TEXT_SIZE + 1];
    struct address_list known[CONFIG_UPSTREAMS_MAX] = {0};
    ssize_t size = read(descriptor, text, TEXT_SIZE);
    if (size < 0) {
        *outcome = (struct keeper_outcome){.fault = KEEP_FAULT_SYSTEM, .error = error_from_errno(errno)};
        return;
    }
    text[size] = '\0';
    outcome->fault = read_text(boot, text, known);
    if (outcome->fault == KEEP_FAULT_NONE) {
        memcpy(boot->plan->known, known, sizeof known);
    }
}

static void read_file(struct boot *boot)
{
    struct keeper_outcome outcome = {0};
    struct place place;
    int error = place_open(path_of(boot), &place);
    if (error != 0) {
        tell_trouble(boot, "refused", error_text(error));
        return;
    }
    int descriptor = place_open_old(&place, &outcome);
    if (descriptor >= 0) {
        if (outcome.fault == KEEP_FAULT_NONE) {
            read_descriptor(boot, descriptor, &outcome);
        }
        close(descriptor);
    }
    place_close(&place);
    bool is_first_start = outcome.fault == KEEP_FAULT_SYSTEM && outcome.error == ERROR_NOT_FOUND;
    if (outcome.fault != KEEP_FAULT_NONE && !is_first_start) {
        tell_trouble(boot, "refused", reason_of(&outcome));
    }
}

static int write_all(int descriptor, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(descriptor, text, size);
        if (written < 0) {
            return error_from_errno(errno);
        }
        text += written;
        size -= (size_t)written;
    }
    return 0;
}

static int write_new(const struct boot *boot, const struct place *place)
{
    char text[TEXT_SIZE];
    size_t size = write_text(boot, text);
    int descriptor = place_open_new(place);
    if (descriptor < 0) {
        return descriptor;
    }
    int error = write_all(descriptor, text, size);
    error = error == 0 ? place_put(place, descriptor) : error;
    if (error != 0) {
        place_drop(place);
    }
    return error;
}

/* Runs in the child. Returns its exit code. */
static int write_file(const struct boot *boot)
{
    struct keeper_outcome outcome = {0};
    struct place place;
    int none;
    privileges_close_other_descriptors(&none, 0);
    int error = place_open(path_of(boot), &place);
    if (error == 0 && !place_is_free(&place, is_ours, &outcome)) {
        error = outcome.error;
        if (outcome.fault != KEEP_FAULT_SYSTEM) {
            return (int)outcome.fault;
        }
    } else if (error == 0) {
        error = write_new(boot, &place);
    }
    return error == 0 ? 0 : SYSTEM_CODE - error;
}

/* ---- the child ---- */

static void note_unwritten(struct addresses *addresses, const char *reason)
{
    if (addresses->told == NULL || strcmp(addresses->told, reason) != 0) {
        tell_trouble(addresses->boot, "not_written", reason);
    }
    addresses->told = reason;
}

static void start_child(struct addresses *addresses)
{
    addresses->again = false;
    pid_t child = fork();
    if (child == 0) {
        _exit(write_file(addresses->boot));
    }
    if (child < 0) {
        note_unwritten(addresses, error_text(error_from_errno(errno)));
    } else {
        addresses->child = child;
    }
}

bool addresses_reap(struct addresses *addresses, pid_t gone, int status)
{
    if (addresses == NULL || addresses->child != gone) {
        return false;
    }
    addresses->child = 0;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : SYSTEM_CODE - ERROR_SYSTEM;
    if (code == 0) {
        addresses->told = NULL;
    } else if (code < SYSTEM_CODE) {
        note_unwritten(addresses, keep_fault_word((enum keep_fault)code));
    } else {
        note_unwritten(addresses, error_text(SYSTEM_CODE - code));
    }
    if (addresses->again) {
        start_child(addresses);
    }
    return true;
}

/* ---- what the engine tells ---- */

/* A file that is being written is written again. */
static void renew(struct boot *boot)
{
    if (boot->addresses != NULL && boot->addresses->child != 0) {
        boot->addresses->again = true;
    } else if (boot->addresses != NULL) {
        start_child(boot->addresses);
    }
}

void addresses_note(struct boot *boot, struct plan *plan, struct span letter)
{
    size_t upstream;
    struct address_list list;
    if (engine_addresses_read(letter, &upstream, &list) != 0 || upstream >= plan->upstreams_used ||
        plan->config->upstreams[upstream].host == NULL) {
        return;
    }
    for (size_t i = 0; i < list.count; i++) {
        list.items[i].port = plan->config->upstreams[upstream].address.port;
    }
    if (address_list_same(&list, &plan->known[upstream])) {
        return;
    }
    plan->known[upstream] = list;
    if (plan == boot->plan) {
        renew(boot);
        store_note(boot);
    }
}

/* ---- another configuration ---- */

void addresses_carry(const struct plan *from, struct plan *to)
{
    for (size_t i = 0; i < from->upstreams_used; i++) {
        if (from->config->upstreams[i].host != NULL) {
            learn(to, from->config->upstreams[i].host, &from->known[i], to->known);
        }
    }
}

void addresses_learn(struct plan *plan, const char *line)
{
    char host[CONFIG_HOST_NAME_MAX + 1] = "";
    size_t size = strcspn(line, " ");
    struct address_list list = {.count = 1};
    if (size == 0 || size >= sizeof host || line[size] == '\0' ||
        address_parse(span_text(line + size + 1), 0, &list.items[0]) != 0) {
        return;
    }
    memcpy(host, line, size);
    learn(plan, host, &list, plan->known);
}

static bool has_file(const struct boot *boot)
{
    return path_of(boot)[0] != '\0' && boot->plan->config->bootstrap_count > 0;
}

void addresses_follow(struct boot *boot)
{
    if (boot->addresses != NULL && !has_file(boot)) {
        addresses_close(boot->addresses);
        boot->addresses = NULL;
    } else if (boot->addresses == NULL && has_file(boot)) {
        boot->addresses = calloc(1, sizeof *boot->addresses);
        if (boot->addresses != NULL) {
            boot->addresses->boot = boot;
        }
    }
    renew(boot);
}

/* ---- life ---- */

int addresses_open(struct boot *boot)
{
    if (!has_file(boot)) {
        return 0;
    }
    boot->addresses = calloc(1, sizeof *boot->addresses);
    if (boot->addresses == NULL) {
        return ERROR_MEMORY;
    }
    boot->addresses->boot = boot;
    read_file(boot);
    return 0;
}

void addresses_close(struct addresses *addresses)
{
    free(addresses);
}
