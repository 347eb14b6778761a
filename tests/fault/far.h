/*
 * The far end: a process with DNS over TLS servers, and one in clear text, that no fault touches. What it
 * does with a question is told by the first letters of its name, so that it needs to know nothing of runs.
 */
#ifndef TESTS_FAULT_FAR_H
#define TESTS_FAULT_FAR_H

#include <stdint.h>
#include <sys/types.h>

/* What a question's name begins with, and what becomes of it. */
#define FAR_MANNERS(X)                                                                         \
    X(PLAIN, "plain") /* answered at once */                                                   \
    X(LARGE, "large") /* answered with FAR_LARGE_COUNT addresses: too large for a datagram */  \
    X(HUGE, "huge")   /* answered with FAR_HUGE_COUNT addresses */                             \
    X(SLOW, "slow")   /* answered after FAR_PAUSE, with all that came meanwhile */             \
    X(CLOSE, "close") /* as the first of a connection answered, else it ends the connection */ \
    X(RESET, "reset") /* the same with a reset */                                              \
    X(MUTE, "mute")   /* not answered by FAR_MOODY */                                          \
    X(FAIL, "fail")   /* SERVFAIL from FAR_MOODY */

enum far_manner {
#define X(name, word) FAR_##name,
    FAR_MANNERS(X)
#undef X
        FAR_MANNER_COUNT
};
extern const char *const far_words[FAR_MANNER_COUNT];

enum { FAR_LARGE_COUNT = 200, FAR_HUGE_COUNT = 3900, FAR_PAUSE = 60 /* milliseconds */ };

/* The servers, each at a port of its own. */
enum far_server {
    FAR_GOOD,
    FAR_MOODY,    /* has its days: mute, fail */
    FAR_BRIEF,    /* announces a short idle limit */
    FAR_STRANGER, /* its certificate bears another name */
    FAR_ABSENT,   /* nobody listens */
    FAR_BARE,     /* in clear text, over UDP and TCP */
    FAR_SERVER_COUNT
};

#define FAR_NAME "far.test"

/* A name whose address is that of the servers. */
#define FAR_HOST "plain-65535.test"

struct far_end {
    pid_t process;
    uint16_t port[FAR_SERVER_COUNT];
    char authorities[4096]; /* PEM */
};

/* Starts the process; it ends with the calling one. Memory that is shared. */
struct far_end *far_raise(void);
void far_raze(struct far_end *far);

/* Connects to a server and goes again, so that the library has everything at hand that this takes. */
void far_greet(const struct far_end *far);

/* The address in the i-th record of the answer to the question with this number. */
uint32_t far_address(unsigned number, unsigned i);

/* How many records an answer to such a question has. */
unsigned far_records(enum far_manner manner);

#endif
