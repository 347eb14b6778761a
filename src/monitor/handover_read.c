/*
 * What handover.c has written, read by the next program, before it opens anything: monitor.c calls this at
 * the start. A text of another make is no handover: then nothing is taken over, and nothing is lost but time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#include "monitor/internal.h"

enum { TEXT_MOST = 1024 * 1024, FIRST_FREE = 3 };

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
    size_t size = strlen(HANDOVER_HEAD);
    if (strncmp(line, HANDOVER_HEAD, size) != 0) {
        return false;
    }
    char *rest = line + size;
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
