/*
 * What the control groups that this process is in allow it of memory, its own and all that it is part of: a
 * service's, its slice's, a container's. Called by boot.c, which tells a limit that is too low.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/internal.h"

enum { GROUPS_TEXT_MOST = 64 * 1024, NUMBER_TEXT_MOST = 4096, PATH_SIZE = 4096 };

/* The file as text that ends, or NULL; the caller frees it. */
static char *read_text(const char *path, size_t most)
{
    char *text;
    size_t size = 0;
    if (plan_read_file(path, most, &text, &size) != 0) {
        return NULL;
    }
    char *terminated = strndup(text, size);
    free(text);
    return terminated;
}

/* Where this process stands in the one tree of groups, as "/a/b"; "/" where that is not known here: it may be
 * told from another container's view. */
static void find_group(const char *root, char out[PATH_SIZE])
{
    static const char mark[] = "0::/";
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    char *text = read_text(path, GROUPS_TEXT_MOST), *rest = text, *line;
    snprintf(out, PATH_SIZE, "/");
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (strncmp(line, mark, sizeof mark - 1) == 0 && strstr(line, "/..") == NULL) {
            snprintf(out, PATH_SIZE, "%s", line + sizeof mark - 2);
        }
    }
    free(text);
}

/* UINT64_MAX: "max", or no such group here. */
static uint64_t read_limit(const char *root, const char *group)
{
    char path[2 * PATH_SIZE], *end;
    snprintf(path, sizeof path, "%s/sys/fs/cgroup%s/memory.max", root, group);
    char *text = read_text(path, NUMBER_TEXT_MOST);
    if (text == NULL) {
        return UINT64_MAX;
    }
    uint64_t limit = strtoull(text, &end, 10);
    bool is_number = end != text;
    free(text);
    return is_number ? limit : UINT64_MAX;
}

uint64_t limit_of_memory(const char *root)
{
    char group[PATH_SIZE], *slash;
    find_group(root, group);
    uint64_t lowest = read_limit(root, group);
    while ((slash = strrchr(group, '/')) != NULL) {
        *slash = '\0';
        uint64_t limit = read_limit(root, group);
        lowest = limit < lowest ? limit : lowest;
    }
    return lowest;
}
