/*
 * One run: an engine in a process of its own, with a client that checks every answer. A story tells the
 * client what to do; a plan tells the engine's calls how to fail.
 */
#ifndef TESTS_FAULT_RUN_H
#define TESTS_FAULT_RUN_H

#include <sys/types.h>

#include "metrics/metrics.h"

#include "config/config.h"

#include "engine/engine.h"

#include "far.h"
#include "fault.h"

enum { ASKED_MAX = 1024, CONNECTIONS_MAX = 8, UPSTREAMS_MAX = 2, TROUBLE_SIZE = 256, QUESTION_MAX = 64 };

enum asked_state { ASKED_OUT, ASKED_RIGHT, ASKED_FAILED, ASKED_DROPPED, ASKED_LEFT };

struct asked {
    enum far_manner manner;
    int connection; /* -1: over UDP */
    enum asked_state state;
    uint8_t question[QUESTION_MAX];
    size_t question_size;
};

struct connection {
    int descriptor; /* -1: not open */
    size_t size;
    uint8_t bytes[2 + 65535];
};

struct run;

struct story {
    const char *name;
    void (*play)(struct run *run);
    enum far_server servers[UPSTREAMS_MAX];
    size_t server_count;
    bool cold;       /* OpenSSL comes up under faults as well */
    bool from_start; /* faults strike from the engine's first call on, else once it is ready */
    bool logs;       /* every query, and all that can be said */
    bool by_name;    /* the servers are known by name alone, and the first good one is asked for it */
};

struct plan {
    int call; /* of enum fault_call; -1: none */
    int error;
    unsigned first, times;
};

struct run {
    const struct story *story;
    const struct far_end *far;
    struct fault_page *page;
    struct config *config;
    struct metrics *metrics;
    struct engine_socket sockets[2]; /* UDP, TCP */
    uint16_t port[2];
    int metrics_descriptor, authorities, channel, log, words;
    pid_t engine;
    bool refused;  /* the start was, with a reason */
    bool strict;   /* nothing but right answers will do */
    bool draining; /* the engine was told to end */
    int udp;
    struct connection connections[CONNECTIONS_MAX];
    struct asked asked[ASKED_MAX];
    unsigned asked_count, counts[ASKED_LEFT + 1];
    uint64_t drops_seen, closes_seen;
    uint64_t quiet_since;       /* 0: something may still come */
    char trouble[TROUBLE_SIZE]; /* empty while all is well */
};

/* Plays the story under the plan, then asks some more without faults, then ends the engine. What was wrong is
 * in `trouble`. The page tells what was counted. */
void run_play(struct run *run, const struct story *story, const struct plan *plan);

/* The first trouble is kept. */
__attribute__((format(printf, 2, 3))) void run_trouble(struct run *run, const char *format, ...);

/* Milliseconds, longer where the machine is slow (TIME_SCALE). */
int run_scaled(int milliseconds);

/* Tells the engine to finish what waits and to end. */
void run_drain(struct run *run);

/* ---- the client (client.c) ---- */

void client_open(struct run *run);
void client_close(struct run *run);

/* Sends so many questions at once; over a connection, in one write. */
void client_ask(struct run *run, enum far_manner manner, unsigned count);
void client_ask_over(struct run *run, int connection, enum far_manner manner, unsigned count);

/* Opens one of the connections. */
void client_connect(struct run *run, int connection);
/* Leaves: questions that are out on it are owed no answer any more. */
void client_leave(struct run *run, int connection, bool with_reset);
/* Sends no more, and waits for what is owed. */
void client_half_close(struct run *run, int connection);

/* Until every question has its answer or was dropped and counted. */
void client_await(struct run *run);

/* Takes what comes for so many milliseconds. */
void client_idle(struct run *run, int milliseconds);

/* Takes what comes until so many questions wait inside, or some time has gone by: a fault may have eaten
 * some. */
void client_await_pending(struct run *run, unsigned count);

/* Waits until no question waits inside, and holds what was dropped so far for settled. */
void client_forget_drops(struct run *run);

/* ---- the stories (stories.c) ---- */

extern const struct story stories[];
extern const size_t story_count;

#endif
