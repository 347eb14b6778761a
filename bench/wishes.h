/*
 * What the load generator is told on its command line.
 */
#ifndef BENCH_WISHES_H
#define BENCH_WISHES_H

#include <stdbool.h>

struct wishes {
    const char *protocol;            /* udp, tcp or tls */
    const char *server;              /* the address that is asked */
    const char *authorities, *name;  /* over TLS: whose certificates, and for whom */
    const char *run, *log;           /* NULL: no log */
    double port, sockets, process;   /* process: 0 for none */
    double outstanding, rate, burst; /* rate and burst: 0 for none */
    double every;                    /* milliseconds between bursts; 0: only one, on one socket */
    double core;                     /* the program's, held while one of many bursts is sent */
    double seconds, warmup, timeout;
    double set, exponent, flood, first, age; /* see names.h; age in seconds */
    bool fill, echo;
};

/* Exits with 2 when the arguments are others. */
void wishes_read(struct wishes *wishes, int argc, char **argv);

#endif
