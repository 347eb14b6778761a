/*
 * Another program in the place of this one, without a lost query: the file that this process was started from
 * is asked whether it can run with this configuration, and then executed, in this process, with the sockets,
 * the cache and the counters kept. The engine that serves goes on meanwhile; the next program starts one of
 * its own, and the old one finishes what it has when that one serves. Called by supervise.c and control.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "monitor/supervisor.h"

/* How long the next program may take to look at the configuration. */
#define CHECK_PATIENCE (20 * CLOCK_SECOND)

enum { SAID_SIZE = 4096, ARGUMENTS_MOST = 512 };

static struct log *journal(struct supervisor *supervisor)
{
    return &supervisor->boot->journal.log;
}

/* ---- how it ended, where it did not come about ---- */

static void fail(struct supervisor *supervisor, const char *reason)
{
    char line[SAID_SIZE + 32];
    if (log_begin(journal(supervisor), LOG_ERROR, "upgrade_failed")) {
        log_text(journal(supervisor), "program", supervisor->upgrade.path);
        log_text(journal(supervisor), "reason", reason);
        journal_end(&supervisor->boot->journal);
    }
    snprintf(line, sizeof line, "dnseal: %s: %s\n", supervisor->upgrade.path, reason);
    service_ready(supervisor->boot);
    control_tell(supervisor->control, CONTROL_UPGRADE, false, line);
}

/* ---- the next program's own opinion ---- */

static void run_check(struct supervisor *supervisor, int out)
{
    char *const *argv = supervisor->boot->sources.argv;
    char *words[ARGUMENTS_MOST] = {NULL};
    char check[] = "--check";
    size_t count = 0;
    while (argv[count] != NULL && count < ARGUMENTS_MOST - 2) {
        words[count] = argv[count];
        count++;
    }
    words[count] = check;
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(supervisor->upgrade.path, words, supervisor->boot->sources.environment);
    dprintf(STDERR_FILENO, "cannot be executed: %s", strerror(errno));
}

static void on_check_patience(struct event_timer *timer)
{
    kill(container_of(timer, struct upgrade, patience)->child, SIGKILL);
}

static int start_check(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return error_from_errno(errno);
    }
    pid_t child = fork();
    if (child == 0) {
        run_check(supervisor, ends[1]);
        _exit(1);
    }
    int error = child < 0 ? error_from_errno(errno) : 0;
    close(ends[1]);
    if (error != 0) {
        close(ends[0]);
        return error;
    }
    upgrade->child = child;
    upgrade->said = ends[0];
    event_timer_set(supervisor->loop, &upgrade->patience, event_now(supervisor->loop) + CHECK_PATIENCE);
    return 0;
}

void upgrade_begin(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    if (supervisor->stopping || upgrade->child != 0) {
        return; /* who asks while one is looked at hears of that one */
    }
    if (supervisor->reload.is_going || !process_has_place(supervisor)) {
        upgrade->again = true;
        return;
    }
    upgrade->again = false;
    service_reloading(supervisor->boot->service);
    int error = start_check(supervisor);
    if (error != 0) {
        fail(supervisor, error_text(error));
    }
}

/* ---- the exec ---- */

static void execute(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    const struct sources *sources = &supervisor->boot->sources;
    char named[32];
    int handed = -1;
    keeper_leave(supervisor->boot->keeper);
    relief_end(supervisor, supervisor->relieved); /* the next program does not know of it */
    upgrade->client_count = control_unanswered(supervisor->control, upgrade->clients);
    int error = handover_write(supervisor, &handed);
    snprintf(named, sizeof named, HANDOVER_VARIABLE "%d", handed);
    char **environment = error == 0 ? handover_environment(sources->environment, named) : NULL;
    if (environment != NULL) {
        execve(upgrade->path, sources->argv, environment);
        error = error_from_errno(errno);
        free(environment);
    }
    handover_take_back(supervisor);
    if (handed >= 0) {
        close(handed);
    }
    fail(supervisor, error != 0 ? error_text(error) : error_text(ERROR_MEMORY));
}

/* The last line is the reason; lines before it are about other things that are wrong as well. */
static void tell_refusal(struct supervisor *supervisor, int status, char *said)
{
    char reason[SAID_SIZE + 64];
    for (char *end = strchr(said, '\n'); end != NULL; end = strchr(end, '\n')) {
        *end = end[1] == '\0' ? '\0' : ' ';
    }
    if (WIFSIGNALED(status)) {
        snprintf(reason, sizeof reason, "killed by signal %d while it looked at the configuration",
                 WTERMSIG(status));
    } else {
        snprintf(reason, sizeof reason, "does not take this configuration: %s",
                 said[0] != '\0' ? said : "it says nothing; is it dnseal?");
    }
    fail(supervisor, reason);
}

/* Of the end, so much that there is room for what is said around it. */
static void read_all(int descriptor, char said[SAID_SIZE])
{
    char part[SAID_SIZE / 4];
    size_t used = 0, most = SAID_SIZE / 2;
    for (ssize_t size; (size = read(descriptor, part, sizeof part)) > 0;) {
        size_t count = (size_t)size, over = used + count > most ? used + count - most : 0;
        memmove(said, said + over, used - over);
        memcpy(said + used - over, part, count);
        used += count - over;
    }
    said[used] = '\0';
}

/* Any program may end well; ours says that it looked. */
static bool is_content(int status, const char *said)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 && strstr(said, MONITOR_VALID) != NULL;
}

bool upgrade_reap(struct supervisor *supervisor, pid_t gone, int status)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    char said[SAID_SIZE] = "";
    if (upgrade->child == 0 || upgrade->child != gone) {
        return false;
    }
    upgrade->child = 0;
    event_timer_clear(&upgrade->patience);
    read_all(upgrade->said, said);
    close(upgrade->said);
    if (supervisor->stopping) {
        return true;
    }
    if (!is_content(status, said)) {
        tell_refusal(supervisor, status, said);
    } else if (supervisor->reload.is_going || supervisor->current == NULL || !process_has_place(supervisor)) {
        upgrade->again = true; /* what has begun meanwhile comes first */
    } else {
        execute(supervisor);
    }
    return true;
}

/* ---- in the next program ---- */

/* Parts of the cache that belong to groups which have no server of before. */
static void mark_partitions(struct supervisor *supervisor, const struct handover *handover)
{
    const struct config *config = supervisor->boot->plan->config;
    bool is_kept[CONFIG_PARTITIONS] = {false};
    for (size_t i = 0; i < handover->line_count; i++) {
        const struct handover_line *line = &handover->lines[i];
        for (size_t k = 0; k < config->upstream_count && line->is_group; k++) {
            const struct config_upstream *upstream = &config->upstreams[k];
            is_kept[line->partition] |= strcmp(upstream->label, line->text) == 0 &&
                                        config->groups[upstream->group].partition == line->partition;
        }
    }
    for (size_t i = 0; i < handover->line_count; i++) {
        const struct handover_line *line = &handover->lines[i];
        if (line->is_group && !is_kept[line->partition]) {
            supervisor->boot->forgets[line->partition] = true;
        }
    }
}

void upgrade_take_over(struct supervisor *supervisor)
{
    struct handover *handover = supervisor->boot->handover;
    if (handover == NULL) {
        return;
    }
    for (size_t i = 0; i < handover->engine_count; i++) {
        process_adopt(supervisor, &handover->engines[i]);
    }
    mark_partitions(supervisor, handover);
    if (handover->engine_count > 0) {
        store_mix(supervisor->boot);
    } else {
        reload_on_burial(supervisor); /* nobody of before can store anything any more */
    }
    supervisor->was_ready = supervisor->boot->serves = supervisor->current != NULL;
    for (size_t i = 0; i < handover->client_count; i++) {
        control_adopt(supervisor->control, &handover->clients[i]);
    }
    supervisor->upgrade.begun_at = clock_monotonic();
}

void upgrade_on_ready(struct supervisor *supervisor)
{
    struct boot *boot = supervisor->boot;
    struct process *old = supervisor->current;
    supervisor->current = supervisor->upgrade.successor;
    supervisor->upgrade.successor = NULL;
    relief_begin(supervisor, old, boot->plan->config->limits.drain_timeout, CONTROL_UPGRADE);
    sockets_close_others(&boot->table, boot->plan);
    reload_forget_partitions(supervisor);
    store_update(boot);
    if (log_begin(journal(supervisor), LOG_INFO, "upgrade")) {
        log_text(journal(supervisor), "version", DNSEAL_VERSION);
        log_duration(journal(supervisor), "duration_ms", clock_monotonic() - supervisor->upgrade.begun_at);
        journal_end(&boot->journal);
    }
}

void upgrade_on_death(struct supervisor *supervisor, const char *reason)
{
    supervisor->upgrade.successor = NULL;
    sockets_withdraw(&supervisor->boot->table, supervisor->boot->plan);
    fail(supervisor, reason[0] != '\0' ? reason : "its engine ended before it served");
}

/* ---- life ---- */

void upgrade_abandon(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    upgrade->again = false;
    if (upgrade->successor != NULL) {
        process_drain(upgrade->successor, supervisor->boot->plan->config->limits.drain_timeout);
        upgrade->successor = NULL;
    }
}

void upgrade_on_place(struct supervisor *supervisor)
{
    if (supervisor->upgrade.again && supervisor->current != NULL) {
        upgrade_begin(supervisor);
    }
}

/* What the kernel adds for a file that another one has replaced, as it may happen right after the exec. */
static void cut_mark(char *path)
{
    static const char mark[] = " (deleted)";
    size_t size = strlen(path), tail = sizeof mark - 1;
    if (size > tail && strcmp(path + size - tail, mark) == 0) {
        path[size - tail] = '\0';
    }
}

void upgrade_init(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    event_timer_init(&upgrade->patience, on_check_patience);
    ssize_t size = readlink("/proc/self/exe", upgrade->path, sizeof upgrade->path - 1);
    upgrade->path[size > 0 ? size : 0] = '\0';
    cut_mark(upgrade->path);
}

void upgrade_close(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    event_timer_clear(&upgrade->patience);
    if (upgrade->child != 0) {
        kill(upgrade->child, SIGKILL);
        close(upgrade->said);
    }
}
