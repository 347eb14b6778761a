/*
 * A curtain before the program: while it is down nothing runs on the cores but the load generator, so that a
 * burst lies in the program's sockets as a whole before the first of it is read.
 */
#ifndef BENCH_CURTAIN_H
#define BENCH_CURTAIN_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>

struct curtain {
    sem_t wanted;
    atomic_bool down;
    atomic_bool lifted;
};

/* The caller stays on its core, and `core` is the other one. Both need the right to real-time scheduling.
 * The thread that this starts ends with the program. */
void curtain_open(struct curtain *curtain, size_t core);

/* Each `drop` has one `lift`. */
void curtain_drop(struct curtain *curtain);
void curtain_lift(struct curtain *curtain);

#endif
