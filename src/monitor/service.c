/*
 * A service manager, as systemd speaks to its services: what it gave in the environment (sd_listen_fds(3),
 * sd_watchdog_enabled(3)), and what it is told (sd_notify(3)). The monitor calls this for the whole program.
 * A manager that cannot be told now is no reason to stop serving.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "net/net.h"

#include "monitor/internal.h"

/* The first descriptor of those that are passed; and how long it is waited for a manager that has no room,
 * before what matters is lost. */
enum { PASSED_FIRST = 3, PASSED_MAX = 65536, PATIENCE_MS = 100 };

enum { WORDS_SIZE = 512 };

/* Before the names of what we stored, to tell it from what a socket unit passes. */
static const char stored_prefix[] = SERVICE_STORED;

/* ---- what it gave ---- */

static const char *value_of(char *const *environment, const char *name)
{
    size_t size = strlen(name);
    for (; *environment != NULL; environment++) {
        if (strncmp(*environment, name, size) == 0 && (*environment)[size] == '=') {
            return *environment + size + 1;
        }
    }
    return NULL;
}

static int read_number(const char *name, const char *text, uint64_t most, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    uint64_t number = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    if (end == NULL || *end != '\0' || errno != 0 || number == 0 || number > most) {
        complain("%s: \"%.40s\": expected a number from 1 to %ju, as a service manager writes it: start "
                 "dnseal without this variable where there is no manager",
                 name, text, (uintmax_t)most);
        return ERROR_INVALID;
    }
    *out = number;
    return 0;
}

/* Whether the variable names this process, or is not there. */
static int is_for_us(char *const *environment, const char *name, bool *out)
{
    const char *text = value_of(environment, name);
    uint64_t number = 0;
    int error = text == NULL ? 0 : read_number(name, text, INT_MAX, &number);
    *out = error == 0 && (text == NULL || (pid_t)number == getpid());
    return error;
}

static int open_notify(struct service *service, const char *name)
{
    if (name == NULL || name[0] == '\0') {
        return 0;
    }
    int error = net_notify_open(name, &service->notify);
    if (error != 0) {
        complain(
            "NOTIFY_SOCKET: %.120s: %s: start dnseal without this variable where no service manager waits "
            "to be told",
            name, error_text(error));
    }
    return error == 0 ? 0 : ERROR_INVALID;
}

static int read_watchdog(struct service *service, char *const *environment)
{
    const char *text = value_of(environment, "WATCHDOG_USEC");
    bool ours;
    uint64_t number;
    int error = is_for_us(environment, "WATCHDOG_PID", &ours);
    if (error != 0 || text == NULL || !ours) {
        return error;
    }
    error = read_number("WATCHDOG_USEC", text, UINT64_MAX / CLOCK_MICROSECOND, &number);
    if (error == 0) {
        service->watchdog = number * CLOCK_MICROSECOND;
    }
    return error;
}

/* The name at `*text`, which is moved behind it; whether there was one. */
static bool take_name(const char **text, struct span *out)
{
    if (*text == NULL) {
        return false;
    }
    const char *end = strchrnul(*text, ':');
    *out = span_of(*text, (size_t)(end - *text));
    *text = *end == ':' ? end + 1 : NULL;
    return true;
}

static bool is_stored(struct span name)
{
    size_t size = sizeof stored_prefix - 1;
    return name.size > size && memcmp(name.data, stored_prefix, size) == 0;
}

static int read_passed(struct service *service, const char *names, size_t count)
{
    bool named = names != NULL;
    service->passed = calloc(count, sizeof *service->passed);
    if (service->passed == NULL) {
        return ERROR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        struct service_passed *passed = &service->passed[i];
        *passed = (struct service_passed){.descriptor = PASSED_FIRST + (int)i, .name = span_text("unknown")};
        if (fcntl(passed->descriptor, F_SETFD, FD_CLOEXEC) != 0) {
            complain("LISTEN_FDS: %zu descriptors are promised, and the descriptor %d is not open", count,
                     passed->descriptor);
            return ERROR_INVALID;
        }
        if (named && !take_name(&names, &passed->name)) {
            break;
        }
        passed->stored = is_stored(passed->name);
        service->passed_count++;
    }
    if (named && (names != NULL || service->passed_count < count)) {
        complain("LISTEN_FDNAMES: expected as many names as LISTEN_FDS says: %zu", count);
        return ERROR_INVALID;
    }
    return 0;
}

static int read_descriptors(struct service *service, char *const *environment)
{
    const char *text = value_of(environment, "LISTEN_FDS");
    bool ours;
    uint64_t count;
    int error = is_for_us(environment, "LISTEN_PID", &ours);
    /* Without LISTEN_PID they are somebody else's: it is how they are told from what was inherited. */
    if (error != 0 || text == NULL || !ours || value_of(environment, "LISTEN_PID") == NULL) {
        return error;
    }
    error = read_number("LISTEN_FDS", text, PASSED_MAX, &count);
    return error == 0 ? read_passed(service, value_of(environment, "LISTEN_FDNAMES"), (size_t)count) : error;
}

int service_read(char *const *environment, struct service **out)
{
    struct service *service = calloc(1, sizeof *service);
    *out = service;
    if (service == NULL) {
        return ERROR_MEMORY;
    }
    service->notify = -1;
    int error = read_descriptors(service, environment);
    if (error == 0) {
        error = read_watchdog(service, environment);
    }
    if (error == 0) {
        error = open_notify(service, value_of(environment, "NOTIFY_SOCKET"));
    }
    return error;
}

int service_inherit(struct service *service, const struct service_passed *passed, size_t count)
{
    if (count == 0) {
        return 0;
    }
    service->passed = calloc(count, sizeof *service->passed);
    if (service->passed == NULL) {
        return ERROR_MEMORY;
    }
    memcpy(service->passed, passed, count * sizeof *passed);
    service->passed_count = count;
    return 0;
}

void service_close(struct service *service)
{
    if (service == NULL) {
        return;
    }
    for (size_t i = 0; i < service->passed_count; i++) {
        net_close(service->passed[i].descriptor);
    }
    net_close(service->notify);
    free(service->passed);
    free(service);
}

struct span service_stored_name(const struct service_passed *passed)
{
    size_t prefix = sizeof stored_prefix - 1;
    return span_of(passed->name.data + prefix, passed->name.size - prefix);
}

int service_take(struct service *service, const char *name)
{
    for (size_t i = 0; service != NULL && i < service->passed_count; i++) {
        struct service_passed *passed = &service->passed[i];
        if (passed->stored && passed->descriptor >= 0 &&
            span_equal(service_stored_name(passed), span_text(name))) {
            int descriptor = passed->descriptor;
            passed->descriptor = -1;
            return descriptor;
        }
    }
    return -1;
}

/* ---- what it is told ---- */

/* What matters is worth a moment: the manager's socket holds few datagrams. */
static void insist(const struct service *service, const char *text)
{
    if (net_notify_send(service->notify, span_text(text), NULL, 0) == ERROR_AGAIN) {
        struct pollfd ready = {.fd = service->notify, .events = POLLOUT};
        (void)poll(&ready, 1, PATIENCE_MS);
        (void)net_notify_send(service->notify, span_text(text), NULL, 0);
    }
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

bool service_is_told(const struct service *service)
{
    return service != NULL && service->notify >= 0;
}

void service_ready(const struct boot *boot)
{
    const struct plan *plan = boot->plan;
    char words[WORDS_SIZE];
    if (service_is_told(boot->service)) {
        snprintf(words, sizeof words, "READY=1\nSTATUS=serving: %u worker%s, %zu listener%s, %zu upstream%s",
                 plan->workers, plural(plan->workers), plan->config->listen_count,
                 plural(plan->config->listen_count), plan->upstreams_used, plural(plan->upstreams_used));
        insist(boot->service, words);
    }
}

void service_reloading(const struct service *service)
{
    char words[WORDS_SIZE];
    if (service_is_told(service)) {
        snprintf(words, sizeof words, "RELOADING=1\nMONOTONIC_USEC=%ju\nSTATUS=reloading",
                 (uintmax_t)(clock_monotonic() / CLOCK_MICROSECOND));
        insist(service, words);
    }
}

/* The manager's own patience with a stop may be shorter than what the configuration says. */
void service_stopping(const struct service *service, uint64_t within)
{
    char words[WORDS_SIZE];
    if (service_is_told(service)) {
        snprintf(words, sizeof words, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%ju\nSTATUS=finishing what waits",
                 (uintmax_t)(within / CLOCK_MICROSECOND));
        insist(service, words);
    }
}

void service_watchdog(const struct service *service)
{
    if (service_is_told(service) && service->watchdog > 0) {
        (void)net_notify_send(service->notify, span_text("WATCHDOG=1"), NULL, 0);
    }
}

void service_status(const struct service *service, const char *format, ...)
{
    char words[WORDS_SIZE] = "STATUS=";
    size_t begin = strlen(words);
    if (!service_is_told(service)) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words + begin, sizeof words - begin, format, arguments);
    va_end(arguments);
    (void)net_notify_send(service->notify, span_text(words), NULL, 0);
}

/* The manager would drop a socket with an error on it, which for UDP is any ICMP message: it need not look.
 */
int service_store(const struct service *service, const char *name, const int *descriptors, size_t count)
{
    char words[WORDS_SIZE];
    snprintf(words, sizeof words, "FDSTORE=1\nFDPOLL=0\nFDNAME=%s%s", stored_prefix, name);
    return net_notify_send(service->notify, span_text(words), descriptors, count);
}

int service_forget(const struct service *service, const char *name)
{
    char words[WORDS_SIZE];
    snprintf(words, sizeof words, "FDSTOREREMOVE=1\nFDNAME=%s%s", stored_prefix, name);
    return net_notify_send(service->notify, span_text(words), NULL, 0);
}
