/* The limits of control groups, in a directory that looks like the system's. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "monitor/internal.h"

#include "monitor_test.h"

enum { PATH_SIZE = 512 };

static char root[PATH_SIZE];

/* A file below the root, with the directories that it needs. */
static void put(const char *name, const char *text)
{
    char path[2 * PATH_SIZE];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void raise_root(void)
{
    snprintf(root, sizeof root, "/tmp/dnseal-limit-XXXXXX");
    assert_non_null(mkdtemp(root));
}

static int raze_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status, (void)kind, (void)place;
    return remove(path);
}

static void raze_root(void)
{
    assert_int_equal(nftw(root, raze_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* Shows: W5, pain 26 */
void the_lowest_limit_above_a_process_holds(void **state)
{
    (void)state;
    raise_root();
    put("/proc/self/cgroup", "4:memory:/elsewhere\n0::/system.slice/dnseal.service\n");
    put("/sys/fs/cgroup/system.slice/dnseal.service/memory.max", "max\n");
    put("/sys/fs/cgroup/elsewhere/memory.max", "1000\n");
    assert_true(limit_of_memory(root) == UINT64_MAX);
    put("/sys/fs/cgroup/system.slice/dnseal.service/memory.max", "300000000\n");
    assert_int_equal(limit_of_memory(root), 300000000);
    put("/sys/fs/cgroup/system.slice/memory.max", "400000000\n");
    assert_int_equal(limit_of_memory(root), 300000000);
    put("/sys/fs/cgroup/system.slice/memory.max", "200000000\n");
    assert_int_equal(limit_of_memory(root), 200000000);
    put("/sys/fs/cgroup/memory.max", "100000000\n");
    assert_int_equal(limit_of_memory(root), 100000000);
    raze_root();
}

/* A container may be told a path of its host, or of a group beside its own. */
void groups_that_are_not_seen_here_limit_nothing(void **state)
{
    (void)state;
    raise_root();
    assert_true(limit_of_memory(root) == UINT64_MAX);
    put("/proc/self/cgroup", "0::/\n");
    assert_true(limit_of_memory(root) == UINT64_MAX);
    put("/sys/fs/cgroup/memory.max", "64000000");
    assert_int_equal(limit_of_memory(root), 64000000);
    put("/proc/self/cgroup", "0::/machine.slice/of-the-host\n");
    assert_int_equal(limit_of_memory(root), 64000000);
    put("/sys/fs/memory.max", "1000\n");
    put("/proc/self/cgroup", "0::/..\n");
    assert_int_equal(limit_of_memory(root), 64000000);
    put("/proc/self/cgroup", "not what a kernel writes");
    assert_int_equal(limit_of_memory(root), 64000000);
    raze_root();
}
