/*
 * Puts the layers on in the right order: files while there is one thread, whose Landlock the others inherit;
 * then, with all threads there and waiting, one filter for all of them, and each one's own. So no filter has
 * to bear what starting a thread takes. A layer that the kernel does not have is noted, and what that means
 * is up to the option. Called by engine.c, and by engine_confine_dial for a process with one thread.
 */
#include "engine/sandbox.h"

#include <stdio.h>
#include <unistd.h>

#include "base/error.h"

#include "engine/engine.h"
#include "engine/filter.h"
#include "engine/landlock.h"

static const char *const names[SANDBOX_LAYER_COUNT] = {
    [SANDBOX_ROOT] = "root",
    [SANDBOX_LANDLOCK] = "landlock",
    [SANDBOX_SECCOMP] = "seccomp",
};

static const char *const hints[SANDBOX_LAYER_COUNT] = {
    [SANDBOX_ROOT] = "the engine has no empty root of its own: mount /proc where dnseal runs",
    [SANDBOX_LANDLOCK] =
        "the engine may open what its user may: take a kernel with Landlock (5.13 or newer, not "
        "switched off by lsm=) and a container that allows it",
    [SANDBOX_SECCOMP] = "the engine may make any system call: take a kernel with seccomp filters and a "
                        "container that allows them",
};

/* ---- opening ---- */

void sandbox_open(struct sandbox *sandbox, enum config_sandbox mode, int root)
{
    *sandbox = (struct sandbox){.mode = mode, .is_open = true};
    pthread_mutex_init(&sandbox->lock, NULL);
    pthread_cond_init(&sandbox->changed, NULL);
    if (mode == CONFIG_SANDBOX_OFF) {
        for (unsigned i = 0; i < SANDBOX_LAYER_COUNT; i++) {
            sandbox->missing[i] = ERROR_REFUSED;
        }
        return;
    }
    sandbox->missing[SANDBOX_ROOT] = root;
    int readable = engine_tools_open_files();
    sandbox->missing[SANDBOX_LANDLOCK] = landlock_take(readable);
    if (readable >= 0) {
        close(readable);
    }
}

void sandbox_close(struct sandbox *sandbox)
{
    if (!sandbox->is_open) {
        return;
    }
    pthread_cond_destroy(&sandbox->changed);
    pthread_mutex_destroy(&sandbox->lock);
}

/* ---- what is missing ---- */

/* That somebody with no such right cannot leave his root is no lack: Landlock takes the files as well. */
static bool lacks(const struct sandbox *sandbox, enum sandbox_layer layer)
{
    bool is_theirs = layer != SANDBOX_ROOT || sandbox->missing[layer] != ERROR_PERMISSION;
    return sandbox->missing[layer] != 0 && is_theirs;
}

unsigned sandbox_degraded(const struct sandbox *sandbox)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SANDBOX_LAYER_COUNT; i++) {
        count += lacks(sandbox, i);
    }
    return count;
}

/* ---- the threads ---- */

static void note(struct sandbox *sandbox, int error)
{
    pthread_mutex_lock(&sandbox->lock);
    if (error != 0) {
        sandbox->missing[SANDBOX_SECCOMP] = error;
    }
    sandbox->entered++;
    pthread_cond_broadcast(&sandbox->changed);
    pthread_mutex_unlock(&sandbox->lock);
}

static void decide(struct sandbox *sandbox, bool is_refused)
{
    pthread_mutex_lock(&sandbox->lock);
    sandbox->is_decided = true;
    sandbox->is_refused |= is_refused;
    pthread_cond_broadcast(&sandbox->changed);
    pthread_mutex_unlock(&sandbox->lock);
}

static void wait_until(struct sandbox *sandbox, const unsigned *count, unsigned others)
{
    pthread_mutex_lock(&sandbox->lock);
    while (*count < others) {
        pthread_cond_wait(&sandbox->changed, &sandbox->lock);
    }
    pthread_mutex_unlock(&sandbox->lock);
}

static bool enter(struct sandbox *sandbox, enum calls_thread thread)
{
    pthread_mutex_lock(&sandbox->lock);
    sandbox->arrived++;
    pthread_cond_broadcast(&sandbox->changed);
    while (!sandbox->is_decided) {
        pthread_cond_wait(&sandbox->changed, &sandbox->lock);
    }
    pthread_mutex_unlock(&sandbox->lock);
    int error = sandbox->is_shut ? filter_take_own(thread) : 0;
    note(sandbox, error);
    return !sandbox->is_refused && !(error != 0 && sandbox->mode == CONFIG_SANDBOX_STRICT);
}

bool sandbox_enter_worker(void *sandbox)
{
    return enter(sandbox, CALLS_WORKER);
}

bool sandbox_enter_log(void *sandbox)
{
    return enter(sandbox, CALLS_LOG);
}

void sandbox_shut(struct sandbox *sandbox, unsigned others, enum calls_thread self)
{
    wait_until(sandbox, &sandbox->arrived, others); /* the beginning of a thread takes calls of its own */
    if (sandbox->missing[SANDBOX_SECCOMP] == 0) {
        sandbox->missing[SANDBOX_SECCOMP] = filter_take_common();
        sandbox->is_shut = sandbox->missing[SANDBOX_SECCOMP] == 0;
    }
    decide(sandbox, sandbox->mode == CONFIG_SANDBOX_STRICT && sandbox_degraded(sandbox) > 0);
    wait_until(sandbox, &sandbox->entered, others);
    if (sandbox->is_shut) {
        note(sandbox, filter_take_own(self));
    }
}

void sandbox_refuse(struct sandbox *sandbox)
{
    decide(sandbox, true);
}

/* ---- telling ---- */

static const char *reason_of(const struct sandbox *sandbox, enum sandbox_layer layer)
{
    return sandbox->mode == CONFIG_SANDBOX_OFF ? "switched off" : error_text(sandbox->missing[layer]);
}

int sandbox_judge(const struct sandbox *sandbox, char *out, size_t size)
{
    for (unsigned i = 0; i < SANDBOX_LAYER_COUNT && sandbox->mode == CONFIG_SANDBOX_STRICT; i++) {
        if (lacks(sandbox, i)) {
            snprintf(out, size, "sandbox: strict: %s: %s: %s; or set sandbox to auto", names[i],
                     reason_of(sandbox, i), hints[i]);
            return ERROR_UNSUPPORTED;
        }
    }
    return 0;
}

bool sandbox_begin_event(const struct sandbox *sandbox, enum sandbox_layer layer, struct log *log)
{
    bool is_off = sandbox->mode == CONFIG_SANDBOX_OFF;
    bool is_told = is_off ? layer == 0 : lacks(sandbox, layer);
    if (!is_told || !log_begin(log, LOG_WARNING, "sandbox")) {
        return false;
    }
    log_text(log, "layer", is_off ? "all" : names[layer]);
    log_text(log, "reason", reason_of(sandbox, layer));
    log_text(log, "hint",
             is_off ? "nothing keeps the engine from files and system calls: set sandbox to auto"
                    : hints[layer]);
    return true;
}

/* ---- for other processes ---- */

/* One thread needs one filter. */
int engine_confine_dial(const struct config *config, int root, char reason[ENGINE_REASON_SIZE])
{
    struct sandbox sandbox;
    sandbox_open(&sandbox, config->sandbox, root);
    if (config->sandbox != CONFIG_SANDBOX_OFF) {
        sandbox.missing[SANDBOX_SECCOMP] = filter_take_own(CALLS_DIAL);
    }
    int error = sandbox_judge(&sandbox, reason, ENGINE_REASON_SIZE);
    sandbox_close(&sandbox);
    return error;
}
