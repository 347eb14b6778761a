/*
 * The system calls of the engine: what each thread may make once it serves, and what nobody ever makes but
 * who has taken a thread over. The list is the document: docs/sandbox.md is written from it. Private to the
 * room, and to what tests it.
 */
#ifndef ENGINE_CALLS_H
#define ENGINE_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who makes calls. The last one is no thread of an engine, but the process that dials servers for a report.
 */
enum calls_thread {
    CALLS_WORKER = 1,
    CALLS_LOG = 2,
    CALLS_MAIN = 4,
    CALLS_DIAL = 8,
};

enum { CALLS_CONDITIONS_MAX = 3 };

/* Stands for the number of the own process, which no list can know: beyond what the kernel numbers. */
#define CALLS_OWN_PROCESS UINT32_C(0x5e1f5e1f)

/* An argument, masked, has this value. */
struct calls_condition {
    unsigned argument;
    uint64_t mask; /* 0: no condition, and none behind it */
    uint64_t value;
};

/* A call that is made in several ways has a rule for each. */
struct calls_rule {
    const char *name;
    unsigned threads; /* that may make it; of no meaning where nobody may */
    const char *when; /* the conditions in words; NULL without */
    const char *what; /* it is for */
    struct calls_condition conditions[CALLS_CONDITIONS_MAX];
};

struct calls_list {
    const struct calls_rule *rules;
    size_t count;
};

/* What is allowed. Whatever stands in neither list is answered as if the kernel did not know it. */
struct calls_list calls_allowed(void);

/* What ends the engine. */
struct calls_list calls_trapped(void);

/* What the tools that a build was instrumented with need beyond that; it is then no trap (calls_plain.c or
 * calls_sanitized.c, whichever was built). */
struct calls_list engine_tools_calls(void);

/* The directory below which they read files, opened; -1: they read none. */
int engine_tools_open_files(void);
bool engine_tools_read_files(void);

#endif
