/*
 * A root for a process that needs no files: the directory of a thread that is no more, in which nothing is
 * and nothing can be made. It leaves nothing behind on a disk, and needs no place there. Called before the
 * process gives its rights up, since only who has some may leave the root of all others.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

#include "tls/tls.h"

#include "engine/calls.h"
#include "engine/engine.h"

enum { LOOKS = 10000 };

static const struct timespec BETWEEN_LOOKS = {.tv_nsec = 100000};

static bool is_empty(void)
{
    DIR *directory = opendir("/");
    bool has_entry = directory != NULL && readdir(directory) != NULL;
    if (directory != NULL) {
        closedir(directory);
    }
    return !has_entry;
}

/* The root is one for all threads of a process. */
static void *enter_own_directory(void *result)
{
    int *error = result;
    *error = chroot("/proc/thread-self") == 0 && chdir("/") == 0 ? 0 : error_from_errno(errno);
    return NULL;
}

static int enter_grave(void)
{
    pthread_t thread;
    int error = 0;
    int failure = pthread_create(&thread, NULL, enter_own_directory, &error);
    if (failure != 0) {
        return error_from_errno(failure);
    }
    pthread_join(thread, NULL);
    for (int i = 0; error == 0 && !is_empty(); i++) { /* who is joined is not yet buried */
        error = i < LOOKS ? 0 : ERROR_IRREGULAR;
        nanosleep(&BETWEEN_LOOKS, NULL);
    }
    return error;
}

int engine_leave_root(const struct config *config)
{
    if (config->sandbox == CONFIG_SANDBOX_OFF || engine_tools_read_files()) {
        return 0;
    }
    if (chroot("/") != 0) {
        return error_from_errno(errno); /* most have no right to it, and need not try */
    }
    tls_library_configure(); /* from a file */
    return enter_grave();
}
