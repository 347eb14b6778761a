/*
 * What handover.c has written, read by the next program, before it opens anything: monitor.c calls this at
 * the start. After an exec a text of another make refuses the start; of what a service manager kept, only the
 * sockets are taken then, and nothing is lost but time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#include "net/net.h"

#include "monitor/internal.h"

enum { TEXT_MOST = 1024 * 1024, FIRST_FREE = 3 };

struct reading {
    struct handover *handover;
    struct service *service; /* has the descriptors, by name; NULL: they are numbers of this process */
};

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

/* Under its name there may be none, where the manager could not keep it. */
static bool take_descriptor(const struct reading *reading, char **rest, int *out)
{
    int64_t number;
    if (reading->service != NULL) {
        *out = service_take(reading->service, strsep(rest, " "));
        return *rest != NULL;
    }
    if (!take_number(rest, FIRST_FREE, INT32_MAX, &number) || fcntl((int)number, F_SETFD, FD_CLOEXEC) != 0) {
        return false;
    }
    *out = (int)number;
    return true;
}

static bool read_cache(const struct reading *reading, char *rest)
{
    struct handover *handover = reading->handover;
    int64_t size, form;
    if (!take_descriptor(reading, &rest, &handover->cache) || !take_number(&rest, 1, INT64_MAX, &size) ||
        !take_number(&rest, 0, INT32_MAX, &form)) {
        return false;
    }
    handover->cache_size = (size_t)size;
    handover->is_cache_readable = form == DNS_STORED_FORM;
    return true;
}

static bool read_total(const struct reading *reading, char *rest)
{
    struct handover *handover = reading->handover;
    int64_t size;
    bool is_good =
        take_descriptor(reading, &rest, &handover->total) && take_number(&rest, 1, INT32_MAX, &size);
    handover->total_size = is_good ? (size_t)size : 0;
    return is_good;
}

static bool read_socket(const struct reading *reading, char *rest)
{
    struct handover *handover = reading->handover;
    int *sockets = realloc(handover->sockets, (handover->socket_count + 1) * sizeof *sockets);
    if (sockets == NULL) {
        return false;
    }
    handover->sockets = sockets;
    return take_descriptor(reading, &rest, &sockets[handover->socket_count++]);
}

static bool read_passed(const struct reading *reading, char *rest)
{
    struct handover *handover = reading->handover;
    size_t size = (handover->passed_count + 1) * sizeof *handover->passed;
    struct service_passed *passed = realloc(handover->passed, size);
    if (passed == NULL) {
        return false;
    }
    handover->passed = passed;
    passed += handover->passed_count;
    *passed = (struct service_passed){.descriptor = -1};
    bool is_good = take_descriptor(reading, &rest, &passed->descriptor);
    passed->name = span_text(rest);
    handover->passed_count++;
    return is_good;
}

static bool read_engine(const struct reading *reading, char *rest)
{
    struct handover *handover = reading->handover;
    int64_t pid, size, serves;
    if (handover->engine_count == BOOT_ENGINES_MAX) {
        return false;
    }
    struct handover_engine *engine = &handover->engines[handover->engine_count++];
    bool is_good = take_number(&rest, 2, INT32_MAX, &pid) &&
                   take_descriptor(reading, &rest, &engine->channel) &&
                   take_descriptor(reading, &rest, &engine->metrics) &&
                   take_number(&rest, 1, INT32_MAX, &size) && take_number(&rest, 0, 1, &serves);
    engine->pid = is_good ? (pid_t)pid : 0;
    engine->metrics_size = is_good ? (size_t)size : 0;
    engine->serves = is_good && serves == 1;
    return is_good;
}

static bool read_log(const struct reading *reading, char *rest)
{
    return take_descriptor(reading, &rest, &reading->handover->log);
}

static bool read_control(const struct reading *reading, char *rest)
{
    struct handover *handover = reading->handover;
    bool is_good = take_descriptor(reading, &rest, &handover->control);
    handover->control_path = rest;
    return is_good;
}

static bool read_client(const struct reading *reading, char *rest)
{
    struct handover *handover = reading->handover;
    int64_t waits;
    if (handover->client_count == UPGRADE_CLIENTS_MAX) {
        return false;
    }
    struct handover_client *client = &handover->clients[handover->client_count++];
    bool is_good =
        take_descriptor(reading, &rest, &client->descriptor) && take_number(&rest, 0, INT32_MAX, &waits);
    client->waits = is_good ? (int)waits : 0;
    return is_good;
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

static bool read_group(const struct reading *reading, char *rest)
{
    return keep_line(reading->handover, rest, true);
}

static bool read_known(const struct reading *reading, char *rest)
{
    return keep_line(reading->handover, rest, false);
}

static bool read_stored_text(const struct reading *reading, char *rest)
{
    return take_descriptor(reading, &rest, &reading->handover->stored_text);
}

static bool add_stored(struct handover *handover, struct span name, uint64_t inode)
{
    size_t size = (handover->stored_count + 1) * sizeof *handover->stored;
    struct handover_stored *stored = realloc(handover->stored, size);
    if (stored == NULL) {
        return false;
    }
    handover->stored = stored;
    stored[handover->stored_count++] = (struct handover_stored){name, inode};
    return true;
}

static bool read_stored(const struct reading *reading, char *rest)
{
    int64_t inode;
    return take_number(&rest, 0, INT64_MAX, &inode) &&
           add_stored(reading->handover, span_text(rest), (uint64_t)inode);
}

static bool read_sockets(const struct reading *reading, char *rest)
{
    int64_t count;
    bool is_good = take_number(&rest, 0, INT32_MAX, &count);
    reading->handover->sockets_stored = is_good ? (size_t)count : 0;
    return is_good;
}

static bool read_line(const struct reading *reading, char *line)
{
    char *rest = line;
    const char *word = strsep(&rest, " ");
    if (rest == NULL) {
        return false;
    }
    static const struct {
        const char *word;
        bool (*read)(const struct reading *reading, char *rest);
        bool is_for_exec, is_for_store;
    } readers[] = {{"cache", read_cache, true, true},       {"total", read_total, true, true},
                   {"group", read_group, true, true},       {"known", read_known, true, true},
                   {"socket", read_socket, true, false},    {"passed", read_passed, true, false},
                   {"engine", read_engine, true, false},    {"client", read_client, true, false},
                   {"text", read_stored_text, true, false}, {"stored", read_stored, true, false},
                   {"control", read_control, true, false},  {"log", read_log, true, false},
                   {"sockets", read_sockets, false, true}};
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        bool is_for_this = reading->service == NULL ? readers[i].is_for_exec : readers[i].is_for_store;
        if (is_for_this && strcmp(word, readers[i].word) == 0) {
            return readers[i].read(reading, rest);
        }
    }
    return reading->service == NULL; /* a newer program hands over what this one does not know */
}

static bool read_head(const struct reading *reading, char *line)
{
    int64_t pid;
    if (reading->service != NULL) {
        return strcmp(line, HANDOVER_STORED) == 0;
    }
    size_t size = strlen(HANDOVER_HEAD);
    if (strncmp(line, HANDOVER_HEAD, size) != 0) {
        return false;
    }
    char *rest = line + size;
    return take_number(&rest, 1, INT32_MAX, &pid) && (pid_t)pid == getpid();
}

static bool read_text(const struct reading *reading)
{
    char *rest = reading->handover->text;
    char *line = strsep(&rest, "\n");
    if (!read_head(reading, line)) {
        return false;
    }
    while (rest != NULL) {
        line = strsep(&rest, "\n");
        if (strcmp(line, "end") == 0) {
            return true;
        }
        if (!read_line(reading, line)) {
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
        if (strncmp(*environment, HANDOVER_VARIABLE, strlen(HANDOVER_VARIABLE)) == 0) {
            return *environment + strlen(HANDOVER_VARIABLE);
        }
    }
    return NULL;
}

int handover_read(char *const *environment, struct handover *out)
{
    char *value = NULL;
    const char *found = find_variable(environment);
    int descriptor;
    handover_init(out);
    if (found == NULL) {
        return 0;
    }
    value = strdup(found);
    char *rest = value;
    struct reading reading = {.handover = out};
    if (value == NULL || !take_descriptor(&reading, &rest, &descriptor)) {
        free(value);
        complain(
            "DNSEAL_HANDOVER: \"%.40s\": no descriptor of this process: start dnseal without this variable",
            found);
        return ERROR_INVALID;
    }
    free(value);
    out->text = read_descriptor(descriptor);
    close(descriptor);
    if (out->text == NULL || !read_text(&reading)) {
        complain("DNSEAL_HANDOVER: what another program hands over cannot be read: start dnseal anew");
        return ERROR_INVALID;
    }
    out->is_there = true;
    return 0;
}

/* ---- what a service manager kept ---- */

/* What could not be read to its end is worth nothing. */
static void drop(struct handover *handover)
{
    net_close(handover->cache);
    net_close(handover->total);
    net_close(handover->stored_text);
    handover->cache = handover->total = handover->stored_text = -1;
    handover->cache_size = handover->total_size = handover->line_count = handover->sockets_stored = 0;
}

static void take_text(struct handover *handover, struct service *service)
{
    const struct reading reading = {.handover = handover, .service = service};
    handover->stored_text = service_take(service, STORE_TEXT);
    if (handover->stored_text < 0) {
        handover->trouble = STORE_MISSING;
        return;
    }
    handover->text = read_descriptor(handover->stored_text);
    if (handover->text == NULL || !read_text(&reading)) {
        handover->trouble = STORE_UNREADABLE;
        drop(handover);
    }
}

static bool is_socket(struct span name)
{
    return name.size > 4 && (memcmp(name.data, STORE_UDP, 4) == 0 || memcmp(name.data, STORE_TCP, 4) == 0);
}

/* The sockets tell themselves what they are; what nobody knows any more is closed. */
static int take_others(struct handover *handover, const struct service *service)
{
    int *sockets = calloc(service->passed_count, sizeof *sockets);
    if (sockets == NULL) {
        return ERROR_MEMORY;
    }
    handover->sockets = sockets;
    for (size_t i = 0; i < service->passed_count; i++) {
        struct service_passed *passed = &service->passed[i];
        if (!passed->stored || passed->descriptor < 0) {
            continue;
        }
        if (is_socket(service_stored_name(passed))) {
            sockets[handover->socket_count++] = passed->descriptor;
        } else {
            net_close(passed->descriptor);
        }
        passed->descriptor = -1;
    }
    return 0;
}

int handover_read_stored(struct service *service, struct handover *out)
{
    for (size_t i = 0; i < service->passed_count; i++) {
        const struct service_passed *passed = &service->passed[i];
        out->is_stored = out->is_stored || passed->stored;
        if (passed->stored &&
            !add_stored(out, service_stored_name(passed), store_inode(passed->descriptor))) {
            return ERROR_MEMORY;
        }
    }
    if (!out->is_stored) {
        return 0;
    }
    take_text(out, service);
    return take_others(out, service);
}
