/*
 * See processes.h. The load generator calls this before and after what it measures, so that the time is
 * exactly that of the measured seconds. The tree is read anew each time: a program may have replaced a
 * process.
 */
#include "processes.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 300, DEPTH = 8 };

static uint64_t thread_time(long process, const char *thread)
{
    char path[PATH_SIZE];
    uint64_t time = 0;
    (void)snprintf(path, sizeof path, "/proc/%ld/task/%s/schedstat", process, thread);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        char line[PATH_SIZE];
        time = fgets(line, sizeof line, file) != NULL ? strtoull(line, NULL, 10) : 0;
        (void)fclose(file);
    }
    return time;
}

static uint64_t process_time(long process)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof path, "/proc/%ld/task", process);
    DIR *threads = opendir(path);
    if (threads == NULL) {
        return 0;
    }
    uint64_t sum = 0;
    const struct dirent *thread;
    while ((thread = readdir(threads)) != NULL) {
        sum += thread->d_name[0] != '.' ? thread_time(process, thread->d_name) : 0;
    }
    (void)closedir(threads);
    return sum;
}

/* The fourth field of /proc/PID/stat; the second may hold anything, but ends with the last parenthesis. */
static long parent_of(const char *process)
{
    char path[PATH_SIZE];
    char line[1024];
    (void)snprintf(path, sizeof path, "/proc/%s/stat", process);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    const char *end = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
    (void)fclose(file);
    return end != NULL && strlen(end) > 4 ? strtol(end + 4, NULL, 10) : 0;
}

/* A recursion that a circle of parents, which no kernel shows, could not keep going. */
static uint64_t tree_time(long process, unsigned depth)
{
    uint64_t sum = process_time(process);
    DIR *processes = depth > 0 ? opendir("/proc") : NULL;
    if (processes == NULL) {
        return sum;
    }
    const struct dirent *entry;
    while ((entry = readdir(processes)) != NULL) {
        long child = strtol(entry->d_name, NULL, 10);
        if (child > 0 && parent_of(entry->d_name) == process) {
            sum += tree_time(child, depth - 1);
        }
    }
    (void)closedir(processes);
    return sum;
}

uint64_t processes_time(long process)
{
    return process > 0 ? tree_time(process, DEPTH) : 0;
}
