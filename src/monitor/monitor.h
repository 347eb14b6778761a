/*
 * The process that is started: it reads the configuration, opens every socket, key and file, starts the
 * engine, and stays to watch over it. It never parses a byte from the network.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

/* The whole program. Returns its exit code: 0 after a clean stop, 1 when the start was refused or failed (the
 * reason is on standard error), 2 for wrong usage. */
int monitor_run(int argc, char *const *argv, char *const *environment);

#endif
