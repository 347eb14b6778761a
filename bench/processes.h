/*
 * What a program has used: all threads of a process and of its descendants.
 */
#ifndef BENCH_PROCESSES_H
#define BENCH_PROCESSES_H

#include <stdint.h>

/* Nanoseconds on a core, from /proc/PID/task/TID/schedstat; 0 for a process that is not there. */
uint64_t processes_time(long process);

#endif
