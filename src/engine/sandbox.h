/*
 * The engine's sandbox: files taken away, system calls filtered. Built when everything is open and before
 * there are threads; each thread enters it before it does anything else. Private to the room.
 */
#ifndef ENGINE_SANDBOX_H
#define ENGINE_SANDBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"

#include "config/config.h"

#include "engine/calls.h"

enum sandbox_layer { SANDBOX_ROOT, SANDBOX_LANDLOCK, SANDBOX_SECCOMP, SANDBOX_LAYER_COUNT };

struct sandbox {
    bool is_open;
    enum config_sandbox mode;
    int missing[SANDBOX_LAYER_COUNT]; /* why a layer is not there; 0: it is */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_decided; /* the threads need not wait any more */
    bool is_shut;    /* the filter for all is on */
    bool is_refused;
    unsigned arrived, entered;
};

/* Takes the files away. `root`: what became of the process's own root, 0 or an error. A layer that cannot be
 * had is noted. */
void sandbox_open(struct sandbox *sandbox, enum config_sandbox mode, int root);
void sandbox_close(struct sandbox *sandbox);

/* The first thing that a thread does, with the sandbox for its owner; false: it must not go on. Waits for
 * sandbox_shut or sandbox_refuse. */
bool sandbox_enter_worker(void *sandbox);
bool sandbox_enter_log(void *sandbox);

/* From the thread that opened it, when so many others were started: the filter for all, then each one's own,
 * and that of this thread. Then nothing gets wider any more. */
void sandbox_shut(struct sandbox *sandbox, unsigned others, enum calls_thread self);

/* Instead: sends the threads that were started away. */
void sandbox_refuse(struct sandbox *sandbox);

/* Layers that are not there. */
unsigned sandbox_degraded(const struct sandbox *sandbox);

/* With `strict` no layer may be missing: ERROR_UNSUPPORTED, and why in words. */
int sandbox_judge(const struct sandbox *sandbox, char *out, size_t size);

/* Begins the event about a layer that is not there; false where there is nothing to tell. */
bool sandbox_begin_event(const struct sandbox *sandbox, enum sandbox_layer layer, struct log *log);

#endif
