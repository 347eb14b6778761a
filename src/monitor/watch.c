/*
 * The file of authorities, watched: whoever renews it need not say so, a reload follows by itself. Watched
 * are the directories in which it, and the links that lead to it, can be put in place (a renewed file is
 * mostly another one under the same name). What counts is whether the file at the path is another one than
 * the plan has read. Called by supervise.c and reload.c.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "monitor/internal.h"

/* Changes come in bursts; a file that is being written is another one when it is done. */
#define SETTLE (500 * CLOCK_MILLISECOND)

enum { LINKS_MOST = 8, EVENTS_SIZE = 4096 };

struct watch {
    struct boot *boot;
    struct event_loop *loop;
    struct event_watch changes;
    struct event_timer settle;
    struct file_stamp tried; /* what the last reload was for */
    void (*changed)(void *owner);
    void *owner;
};

/* ---- is it another file ---- */

struct file_stamp watch_stamp(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return (struct file_stamp){0};
    }
    return (struct file_stamp){
        .device = status.st_dev,
        .inode = status.st_ino,
        .size = status.st_size,
        .modified = (uint64_t)status.st_mtim.tv_sec * CLOCK_SECOND + (uint64_t)status.st_mtim.tv_nsec,
    };
}

static bool is_same(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->modified == b->modified;
}

/* While there is none, another one is on its way. */
static void on_settled(struct event_timer *timer)
{
    struct watch *watch = container_of(timer, struct watch, settle);
    struct file_stamp now = watch_stamp(watch->boot->plan->config->tls.ca);
    if (now.inode != 0 && !is_same(&now, &watch->tried)) {
        watch->tried = now;
        watch->changed(watch->owner);
    }
}

static void look_soon(struct watch *watch)
{
    if (!event_timer_pending(&watch->settle)) {
        event_timer_set(watch->loop, &watch->settle, event_now(watch->loop) + SETTLE);
    }
}

static void on_changes(struct event_watch *changes, unsigned readiness)
{
    (void)readiness;
    char events[EVENTS_SIZE];
    while (read(changes->descriptor, events, sizeof events) > 0) {}
    look_soon(container_of(changes, struct watch, changes));
}

/* ---- the directories ---- */

static void tell_trouble(struct boot *boot, const char *directory, int number)
{
    if (log_begin(&boot->journal.log, LOG_WARNING, "not_watched")) {
        log_text(&boot->journal.log, "path", directory);
        log_text(&boot->journal.log, "reason", strerror(number));
        log_text(&boot->journal.log, "hint",
                 "a file of authorities that is renewed there is not noticed: reload by hand, or raise "
                 "fs.inotify.max_user_instances and max_user_watches");
        journal_end(&boot->journal);
    }
}

/* The directory of the path, whose last part is cut off. */
static int add_directory(const struct watch *watch, char path[PATH_MAX])
{
    static const uint32_t events =
        IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE | IN_ATTRIB | IN_ONLYDIR;
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        snprintf(path, PATH_MAX, ".");
    } else {
        slash[slash == path] = '\0';
    }
    return inotify_add_watch(watch->changes.descriptor, path, events) >= 0 ? 0 : errno;
}

/* Where a link leads, seen from where it lies; false when it is none. */
static bool follow(char path[PATH_MAX])
{
    char target[PATH_MAX], whole[2 * PATH_MAX];
    ssize_t size = readlink(path, target, sizeof target - 1);
    if (size <= 0) {
        return false;
    }
    target[size] = '\0';
    const char *slash = strrchr(path, '/');
    int directory = target[0] == '/' || slash == NULL ? 0 : (int)(slash - path) + 1;
    int written = snprintf(whole, sizeof whole, "%.*s%s", directory, path, target);
    if (written < 0 || written >= PATH_MAX) {
        return false;
    }
    memcpy(path, whole, (size_t)written + 1);
    return true;
}

static void add_all(struct watch *watch)
{
    char path[PATH_MAX], directory[PATH_MAX];
    snprintf(path, sizeof path, "%s", watch->boot->plan->config->tls.ca);
    bool leads_on = true;
    for (unsigned i = 0; i < LINKS_MOST && leads_on; i++) {
        memcpy(directory, path, sizeof directory);
        int number = add_directory(watch, directory);
        if (number != 0) {
            tell_trouble(watch->boot, directory, number);
        }
        leads_on = follow(path);
    }
}

/* ---- life ---- */

static void stop(struct watch *watch)
{
    if (watch->changes.loop != NULL) {
        int descriptor = watch->changes.descriptor;
        event_watch_remove(&watch->changes);
        close(descriptor);
    }
    event_timer_clear(&watch->settle);
}

void watch_follow(struct watch *watch)
{
    if (watch == NULL) {
        return;
    }
    stop(watch);
    const struct plan *plan = watch->boot->plan;
    if (!config_needs_authorities(plan->config)) {
        return;
    }
    watch->tried = plan->authorities_stamp;
    int descriptor = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (descriptor < 0 || event_watch_add(watch->loop, &watch->changes, descriptor, EVENT_READ) != 0) {
        tell_trouble(watch->boot, plan->config->tls.ca, errno);
        if (descriptor >= 0) {
            close(descriptor);
        }
        return;
    }
    add_all(watch);
    struct file_stamp now = watch_stamp(plan->config->tls.ca);
    if (!is_same(&now, &watch->tried)) {
        look_soon(watch);
    }
}

int watch_open(struct boot *boot, struct event_loop *loop, void (*changed)(void *owner), void *owner)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return ERROR_MEMORY;
    }
    *watch = (struct watch){
        .boot = boot, .loop = loop, .changes.ready = on_changes, .changed = changed, .owner = owner};
    event_timer_init(&watch->settle, on_settled);
    boot->watch = watch;
    watch_follow(watch);
    return 0;
}

void watch_close(struct watch *watch)
{
    if (watch != NULL) {
        stop(watch);
        free(watch);
    }
}
