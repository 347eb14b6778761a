/*
 * The engine's view of the file system: nothing. Every right that the kernel knows is handled and none is
 * granted. The constants are written out, since headers are older than kernels. Called by sandbox.c before
 * there are threads, which inherit it.
 */
#include "engine/landlock.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

enum { ASK_VERSION = 1, RULE_BELOW_PATH = 1 };

/* linux/landlock.h. A kernel takes a longer struct than it knows where the rest is 0. */
struct ruleset {
    uint64_t files, network, scopes;
};

struct rule_below_path {
    uint64_t files;
    int32_t directory;
} __attribute__((packed));

#define READ_FILE      (UINT64_C(1) << 2)
#define READ_DIRECTORY (UINT64_C(1) << 3)

/* What each version of the interface has brought. */
static const struct {
    int version;
    struct ruleset rights;
} history[] = {
    {1, {.files = 0x1fff}},     /* execute, read, write, remove, make */
    {2, {.files = 0x2000}},     /* link and rename across directories */
    {3, {.files = 0x4000}},     /* truncate */
    {4, {.network = 0x1}},      /* bind TCP; connecting is what links do */
    {5, {.files = 0x8000}},     /* ioctl of devices */
    {6, {.scopes = 0x1 | 0x2}}, /* abstract UNIX sockets, signals */
};

static struct ruleset rights_of(long version)
{
    struct ruleset rights = {0};
    for (size_t i = 0; i < sizeof history / sizeof history[0] && history[i].version <= version; i++) {
        rights.files |= history[i].rights.files;
        rights.network |= history[i].rights.network;
        rights.scopes |= history[i].rights.scopes;
    }
    return rights;
}

static int allow_reading(int ruleset, int directory)
{
    const struct rule_below_path rule = {.files = READ_FILE | READ_DIRECTORY, .directory = directory};
    return syscall(SYS_landlock_add_rule, ruleset, RULE_BELOW_PATH, &rule, 0) == 0 ? 0
                                                                                   : error_from_errno(errno);
}

int landlock_take(int readable)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, ASK_VERSION);
    if (version < 0) {
        return error_from_errno(errno);
    }
    const struct ruleset rights = rights_of(version);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rights, sizeof rights, 0);
    if (ruleset < 0) {
        return error_from_errno(errno);
    }
    int error = readable >= 0 ? allow_reading(ruleset, readable) : 0;
    if (error == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
        error = error_from_errno(errno);
    }
    close(ruleset);
    return error;
}
