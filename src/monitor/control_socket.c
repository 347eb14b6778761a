/*
 * Where the control socket listens: the file at its path, which is made here, or comes from the program of
 * before. Called by control.c, which closes it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

#include "net/net.h"

#include "monitor/control.h"

/* The directory of the default path is ours to make. */
static void make_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash != NULL ? strndup(path, (size_t)(slash - path)) : NULL;
    if (directory != NULL && directory[0] != '\0') {
        mkdir(directory, 0755);
    }
    free(directory);
}

static bool is_default(const char *path)
{
    return strcmp(path, CONFIG_CONTROL_SOCKET) == 0;
}

static const char *way_out(int error)
{
    return error == ERROR_ADDRESS_IN_USE
               ? "another dnseal may serve there, and --control and --healthcheck would reach that one: name "
                 "another path in control.socket, or none (an empty text)"
               : "--control and --healthcheck do not work: name a path in control.socket that may be written "
                 "to by whoever starts dnseal, or none (an empty text)";
}

static int refuse(struct boot *boot, const struct control_setup *setup, int error)
{
    const char *path = setup->config->control.socket;
    if (!is_default(path)) {
        complain_to(setup->report, "control.socket: %s: %s", path, error_text(error));
        return error;
    }
    if (log_begin(&boot->journal.log, LOG_WARNING, "control_off")) {
        log_text(&boot->journal.log, "path", path);
        log_text(&boot->journal.log, "reason", error_text(error));
        log_text(&boot->journal.log, "hint", way_out(error));
        journal_end(&boot->journal);
    }
    return 0;
}

/* Who asks while one program takes the place of another one waits in this socket. Not where its file is gone:
 * nobody would find it. */
static int take_listener(struct boot *boot, const char *path)
{
    struct handover *handover = boot->handover;
    struct stat status;
    if (handover == NULL || handover->control < 0) {
        return -1;
    }
    int descriptor = handover->control;
    handover->control = -1;
    bool is_here = strcmp(path, handover->control_path) == 0;
    if (is_here && lstat(path, &status) == 0 && S_ISSOCK(status.st_mode)) {
        return descriptor;
    }
    net_close(descriptor);
    if (!is_here) {
        unlink(handover->control_path);
    }
    return -1;
}

int control_socket_listen(struct boot *boot, const struct control_setup *setup, int *descriptor)
{
    const char *path = setup->config->control.socket;
    *descriptor = take_listener(boot, path);
    if (*descriptor >= 0 || path[0] == '\0') {
        return 0;
    }
    if (is_default(path)) {
        make_directory(path);
    }
    int error = net_local_listen(path, descriptor);
    return error == 0 ? 0 : refuse(boot, setup, error);
}
