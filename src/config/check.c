/*
 * What can be checked on the machine: the files that the snapshot names, and the user. Nothing is changed and
 * nothing is sent. Complaints name the place that the value came from.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#include "config/table.h"

enum {
    CA_SIZE_MAX = 16 * 1024 * 1024,
    FILE_NAME_MOST = 244, /* of a file that is kept: the new one has a longer name beside it */
};

static void complain(struct config_work *work, const char *path, const char *value, const char *reason)
{
    config_complain(work, config_place_of(&work->snapshot->config, path), "\"%.200s\": %s", value, reason);
}

/* The bytes of an open file, at most `capacity`; ERROR_SPACE when there are more. */
static int read_whole(int descriptor, uint8_t *out, size_t capacity, size_t *size)
{
    *size = 0;
    while (*size < capacity) {
        ssize_t got = read(descriptor, out + *size, capacity - *size);
        if (got < 0) {
            return error_from_errno(errno);
        }
        if (got == 0) {
            return 0;
        }
        *size += (size_t)got;
    }
    return ERROR_SPACE;
}

static const char *unreadable(int descriptor)
{
    uint8_t byte;
    return read(descriptor, &byte, 1) < 0 ? error_text(error_from_errno(errno)) : NULL;
}

static const char *no_authorities(struct span pem)
{
    struct tls_trust *trust;
    int error = tls_trust_build(pem, &trust);
    if (error != 0) {
        return error == ERROR_NOT_FOUND ? "holds no certificate" : "holds a certificate that cannot be read";
    }
    tls_trust_free(trust);
    return NULL;
}

static const char *unparsable(int descriptor)
{
    size_t size = 0;
    uint8_t *text = malloc(CA_SIZE_MAX);
    int error = text == NULL ? ERROR_MEMORY : read_whole(descriptor, text, CA_SIZE_MAX, &size);
    const char *refusal = error != 0 ? error_text(error) : no_authorities(span_of(text, size));
    free(text);
    return refusal;
}

static void check_ca(struct config_work *work, const char *path, bool parse)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0) {
        complain(work, "tls.ca", path,
                 errno == ENOENT ? "no such file or entry; on Debian, the package ca-certificates brings "
                                   "/etc/ssl/certs/ca-certificates.crt"
                                 : error_text(error_from_errno(errno)));
        return;
    }
    struct stat status;
    bool is_file = fstat(descriptor, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
    const char *refusal = !is_file ? error_text(ERROR_IRREGULAR)
                          : parse  ? unparsable(descriptor)
                                   : unreadable(descriptor);
    if (refusal != NULL) {
        complain(work, "tls.ca", path, refusal);
    }
    close(descriptor);
}

static void check_directory_of(struct config_work *work, const char *option, const char *path)
{
    struct stat status;
    const char *slash = strrchr(path, '/');
    size_t size = slash == path ? 1 : (size_t)(slash - path);
    char *directory = config_arena_text(work->arena, span_of(path, size));
    if (directory == NULL) {
        config_complain_memory(work);
    } else if (stat(directory, &status) != 0 || !S_ISDIR(status.st_mode)) {
        complain(work, option, path, "its directory does not exist");
    }
}

static void check_log(struct config_work *work, const char *target)
{
    struct stat status;
    if (target[0] != '/') {
        return;
    }
    if (lstat(target, &status) == 0) {
        if (S_ISDIR(status.st_mode)) {
            complain(work, "log.target", target, "is a directory");
        } else if (S_ISLNK(status.st_mode)) {
            complain(work, "log.target", target, "is a symbolic link; name the file itself");
        }
        return;
    }
    check_directory_of(work, "log.target", target);
}

/* The default path is done without where it cannot be had. */
static void check_control(struct config_work *work, const char *path)
{
    if (path[0] == '/' && strcmp(path, CONFIG_CONTROL_SOCKET) != 0) {
        check_directory_of(work, "control.socket", path);
    }
}

/* At a start, a file that is of no use is done without, and the log says so. */
static void check_kept_file(struct config_work *work, const char *option, const char *path, bool look_at_file)
{
    struct stat status;
    if (path[0] == '\0') {
        return;
    }
    if (strlen(strrchr(path, '/') + 1) > FILE_NAME_MOST) {
        complain(work, option, path, "the name of the file is longer than 244 bytes");
    }
    check_directory_of(work, option, path);
    if (!look_at_file || lstat(path, &status) != 0) {
        return;
    }
    if (!S_ISREG(status.st_mode)) {
        complain(work, option, path, "is not a file, or a symbolic link to one; name the file itself");
    } else if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        complain(work, option, path, "others than its owner may read or write it; it needs mode 0600");
    }
}

static void check_user(struct config_work *work, const char *user)
{
    if (user[0] != '\0' && strcmp(user, "auto") != 0 && getpwnam(user) == NULL) {
        complain(work, "user", user, "there is no such user");
    }
}

int config_check(const struct config *config, struct config_report *report, bool is_thorough)
{
    struct config_snapshot *snapshot = (struct config_snapshot *)(uintptr_t)config;
    struct config_arena arena = {0};
    struct config_work work = {.snapshot = snapshot, .arena = &arena, .report = report};
    if (config_needs_authorities(config)) {
        check_ca(&work, config->tls.ca, is_thorough);
    }
    check_log(&work, config->log.target);
    check_control(&work, config->control.socket);
    check_kept_file(&work, "cache.file", config->cache.file, is_thorough);
    check_kept_file(&work, "upstream.addresses_file", config->addresses_file, is_thorough);
    check_user(&work, config->user);
    config_arena_free(&arena);
    return work.complaints == 0 ? 0 : ERROR_INVALID;
}
