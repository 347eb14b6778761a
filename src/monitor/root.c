/*
 * A root for a process that needs no files: the directory of a process that is no more, in which nothing is
 * and nothing can be made. It leaves nothing behind on a disk, and needs no place there. Called before the
 * process gives its rights up, since only who has some may leave the root of all others.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

#include "tls/tls.h"

#include "monitor/internal.h"

enum { PATH_SIZE = 64 };

/* The kernel has a list of threads for each process. */
static int enter_directory_of(pid_t process)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    return chroot(path) == 0 && chdir("/") == 0 ? 0 : error_from_errno(errno);
}

/* Where /proc counts other processes than ours, the number may be that of another one, which lives on. */
static bool is_empty(void)
{
    DIR *directory = opendir("/");
    bool has_entry = directory != NULL && readdir(directory) != NULL;
    if (directory != NULL) {
        closedir(directory);
    }
    return !has_entry;
}

_Noreturn static void wait_for_the_end(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent) {
        pause();
    }
    _exit(0);
}

static int enter_grave(void)
{
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        wait_for_the_end(parent);
    }
    if (child < 0) {
        return error_from_errno(errno);
    }
    int error = enter_directory_of(child);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return error == 0 && !is_empty() ? ERROR_IRREGULAR : error;
}

int root_leave(const struct config *config)
{
    if (!engine_wants_empty_root(config)) {
        return 0;
    }
    if (chroot("/") != 0) {
        return error_from_errno(errno); /* most have no right to it, and need not try */
    }
    tls_library_configure(); /* from a file */
    return enter_grave();
}
