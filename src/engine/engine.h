/*
 * The unprivileged process: worker threads, a thread that writes the log, and a main thread that listens to
 * the process that started it. It gets everything as descriptors and memory: after its start it opens no file
 * and binds no socket.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stddef.h>

#include "base/address.h"
#include "base/bytes.h"

#include "cache/cache.h"
#include "metrics/metrics.h"

#include "config/config.h"

#include "local/local.h"

/* A bound socket and the worker that it is for. */
struct engine_socket {
    int descriptor;
    bool udp;
    unsigned worker;
    unsigned group; /* of servers, where no route says otherwise */
};

struct engine_setup {
    const struct config *config;
    size_t upstream_count;            /* how many of the configuration's are used: the first ones */
    const struct address_list *known; /* of each of them that is known by name */
    unsigned workers;
    size_t stream_blocks;                /* of each worker, from the budget */
    const struct engine_socket *sockets; /* those of one worker side by side, in the order of the workers */
    size_t socket_count;
    struct metrics *metrics;
    struct upstream_facts *facts; /* of the servers, in the order of the configuration; NULL: none */
    const struct local *local;    /* NULL: nothing is answered here */
    struct cache cache;           /* with a head of NULL where nothing is kept; its owner is the engine */
    int authorities;              /* stored memory: the PEM text of tls.ca; -1 where nobody needs it */
    size_t authorities_size;
    int log_descriptor; /* closed when another takes its place: a file that was rotated away goes for good */
    int channel;        /* packets from and to the supervising process */
    int root;           /* whether the process has left the file system: 0, or why it has not */
};

/* Packets on the channel: one letter, and text behind it where one is named. */
enum engine_letter {
    ENGINE_READY = 'R',  /* from the engine: it serves */
    ENGINE_FAILED = 'F', /* from the engine: it cannot start; the reason follows */
    ENGINE_DRAIN = 'D',  /* to the engine: finish what waits, then end */
    ENGINE_STOP = 'S',   /* to the engine: end now */
    ENGINE_PULSE = 'P',  /* to the engine: is each worker's loop turning? From the engine: they all are, and
                          * what it was told before is done: after a drain nothing more is read */
    ENGINE_ADDRESSES = 'A', /* from the engine: those of an upstream that is known by name */
    ENGINE_TRAPPED = 'T',   /* from the engine, its last word: a system call that the sandbox does not bear */
    ENGINE_LOG = 'L',       /* to the engine: write the log to the descriptor that comes along */
    ENGINE_HEIR = 'H',      /* to the engine, before a drain or during it: connections of clients go on at the
                             * other end of the pair whose descriptor comes along */
    ENGINE_INHERIT = 'I',   /* to the engine: connections of clients come over that descriptor */
};

/* The letter ENGINE_ADDRESSES: written here, and read by somebody who need not believe it. */
enum { ENGINE_ADDRESSES_SIZE = 2 + ADDRESS_LIST_MAX * 17 };

size_t engine_addresses_write(size_t upstream, const struct address_list *addresses,
                              uint8_t out[ENGINE_ADDRESSES_SIZE]);

/* The addresses have no port. ERROR_MALFORMED. */
int engine_addresses_read(struct span letter, size_t *upstream, struct address_list *out);

/* The letter ENGINE_TRAPPED, read by somebody who need not believe it. */
struct engine_trap {
    int number;
    const char *name; /* "" where it is none of the list */
};

/* ERROR_MALFORMED. */
int engine_trap_read(struct span letter, struct engine_trap *out);

/* ---- the sandbox (root.c, sandbox.c) ---- */

enum { ENGINE_REASON_SIZE = 256 };

/* Gives the process an empty root, where the configuration does not switch that off; to be called by the one
 * thread there is, before it gives its rights up. 0, ERROR_PERMISSION where it has no right to it, or why
 * there is none. */
int engine_leave_root(const struct config *config);

/* Puts this process, which has one thread and everything open, into a sandbox of the kind that engines have,
 * in which it can dial servers; for good. `root` as in the setup. An error where it must not go on, with the
 * reason. */
int engine_confine_dial(const struct config *config, int root, char reason[ENGINE_REASON_SIZE]);

/* ---- running ---- */

/* Where limits.memory goes, in bytes for all workers together. */
struct engine_budget {
    size_t queries, links, clients, shared, cache, local;
    size_t buffers;       /* of streams: what is left over, or the least that is needed */
    size_t needed;        /* all of it with the fewest buffers; more than limits.memory: it cannot start */
    size_t stream_blocks; /* what each worker gets of the buffers, 0 when it cannot start */
};

/* `authorities`: the size of tls.ca's text. `local`: of the names that are answered here. */
struct engine_budget engine_budget(const struct config *config, size_t upstream_count, unsigned workers,
                                   size_t authorities, size_t local);

/* Serves until it is told to end or the channel closes. Returns the exit code: 0 after an orderly end, 1 when
 * it could not start (the channel has the reason). */
int engine_run(const struct engine_setup *setup);

#endif
