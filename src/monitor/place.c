/*
 * A file that is kept, in its directory: opened with distrust, and replaced by a new one that was written
 * beside it. For the children that write the cache's file and that of the addresses.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#include "monitor/internal.h"

enum { PATH_SIZE = 4096, BEGIN_SIZE = 32 };

int place_open(const char *path, struct place *out)
{
    const char *slash = strrchr(path, '/');
    char directory[PATH_SIZE];
    out->name = slash + 1;
    int size = snprintf(directory, sizeof directory, "%.*s/", (int)(slash - path), path);
    int new_size = snprintf(out->new, sizeof out->new, "%s.dnseal-new", out->name);
    if (size >= (int)sizeof directory || new_size >= (int)sizeof out->new || out->name[0] == '\0') {
        return ERROR_RANGE;
    }
    out->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return out->directory < 0 ? error_from_errno(errno) : 0;
}

static int fail(struct keeper_outcome *outcome, int error)
{
    outcome->fault = KEEP_FAULT_SYSTEM;
    outcome->error = error;
    return -1;
}

static int refuse(struct keeper_outcome *outcome, enum keep_fault fault)
{
    outcome->fault = fault;
    return -1;
}

int place_open_old(const struct place *place, struct keeper_outcome *outcome)
{
    struct stat status;
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int descriptor = openat(place->directory, place->name, flags);
    if (descriptor < 0) {
        return errno == ELOOP || errno == ENXIO ? refuse(outcome, KEEP_FAULT_IRREGULAR)
                                                : fail(outcome, error_from_errno(errno));
    }
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
        refuse(outcome, KEEP_FAULT_IRREGULAR);
    } else if (status.st_uid != geteuid()) {
        refuse(outcome, KEEP_FAULT_OWNER);
    } else {
        outcome->fault = (status.st_mode & (S_IRWXG | S_IRWXO)) != 0 ? KEEP_FAULT_MODE : KEEP_FAULT_NONE;
        return descriptor;
    }
    close(descriptor);
    return -1;
}

bool place_is_free(const struct place *place, bool (*is_ours)(struct span begin),
                   struct keeper_outcome *outcome)
{
    uint8_t begin[BEGIN_SIZE];
    int old = place_open_old(place, outcome);
    if (old < 0) {
        return outcome->fault == KEEP_FAULT_SYSTEM && outcome->error == ERROR_NOT_FOUND;
    }
    ssize_t size = read(old, begin, sizeof begin);
    close(old);
    if (size < 0) {
        fail(outcome, error_from_errno(errno));
        return false;
    }
    if (!is_ours(span_of(begin, (size_t)size))) {
        refuse(outcome, KEEP_FAULT_FOREIGN);
        return false;
    }
    return true;
}

int place_open_new(const struct place *place)
{
    unlinkat(place->directory, place->new, 0);
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int descriptor = openat(place->directory, place->new, flags, 0600);
    return descriptor < 0 ? error_from_errno(errno) : descriptor;
}

/* Whether the name still means the file: another program may have been told the same path. */
static bool is_same_file(const struct place *place, int descriptor)
{
    struct stat ours, named;
    return fstat(descriptor, &ours) == 0 &&
           fstatat(place->directory, place->new, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

int place_put(const struct place *place, int descriptor)
{
    if (fsync(descriptor) != 0) {
        return error_from_errno(errno);
    }
    if (!is_same_file(place, descriptor)) {
        return ERROR_NOT_FOUND;
    }
    if (renameat(place->directory, place->new, place->directory, place->name) != 0 ||
        fsync(place->directory) != 0) {
        return error_from_errno(errno);
    }
    return 0;
}

void place_drop(const struct place *place)
{
    unlinkat(place->directory, place->new, 0);
}

void place_close(struct place *place)
{
    close(place->directory);
}
