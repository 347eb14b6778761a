/*
 * See curtain.h. A thread of real-time priority turns on the other core while the curtain is down, and the
 * load generator, of that priority as well, has its own core. The load generator calls this when it is told
 * to send bursts from behind a curtain.
 */
#include "curtain.h"

#include <errno.h>
#include <sched.h>

#include "common.h"

enum { PRIORITY = 1 };

static void *occupy(void *context)
{
    struct curtain *curtain = context;
    for (;;) {
        while (sem_wait(&curtain->wanted) != 0) {}
        atomic_store(&curtain->down, true);
        while (!atomic_load(&curtain->lifted)) {}
        atomic_store(&curtain->down, false);
    }
    return NULL;
}

static void must(int error, const char *what)
{
    if (error != 0) {
        errno = error;
        bench_fail(what);
    }
}

void curtain_open(struct curtain *curtain, size_t core)
{
    const struct sched_param priority = {.sched_priority = PRIORITY};
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    must(sem_init(&curtain->wanted, 0, 0), "sem_init");
    must(pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority), "real-time scheduling");
    pthread_attr_t attributes; /* the priority is inherited, the core is not */
    pthread_t thread;
    must(pthread_attr_init(&attributes), "pthread_attr_init");
    must(pthread_attr_setaffinity_np(&attributes, sizeof cores, &cores), "pthread_attr_setaffinity_np");
    must(pthread_create(&thread, &attributes, occupy, curtain), "pthread_create");
    (void)pthread_attr_destroy(&attributes);
    (void)pthread_detach(thread);
}

void curtain_drop(struct curtain *curtain)
{
    atomic_store(&curtain->lifted, false);
    (void)sem_post(&curtain->wanted);
    while (!atomic_load(&curtain->down)) {}
}

void curtain_lift(struct curtain *curtain)
{
    atomic_store(&curtain->lifted, true);
    while (atomic_load(&curtain->down)) {}
}
