/*
 * Finds out the addresses of servers that are configured by name. It asks servers that are configured by
 * address, over pools of its own, and nobody else: never the doors, the routes or the cache of this program.
 * What was found serves until something better is found: neither a denial nor silence takes an address away.
 * Of one worker; no locks.
 */
#ifndef BOOTSTRAP_BOOTSTRAP_H
#define BOOTSTRAP_BOOTSTRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"

#include "upstream/upstream.h"

enum { BOOTSTRAP_SERVERS_MAX = 8, BOOTSTRAP_NAMES_MAX = UPSTREAM_SERVERS_MAX };

struct bootstrap_options {
    struct upstream_options upstream; /* its servers, 1 to BOOTSTRAP_SERVERS_MAX, are all asked at once */
    size_t name_count;                /* 1 to BOOTSTRAP_NAMES_MAX */
    size_t padding_block;             /* of questions that are encrypted; 0: no padding */
    /* Whether the server with this name may not be asked there, because it is this program itself. */
    bool (*is_own)(void *owner, size_t name, const struct address *address);
    /* The addresses of a name are others than before. */
    void (*found)(void *owner, size_t name, const struct address_list *addresses);
    void *owner;
};

struct bootstrap;

/* Asks nobody yet. The caller closes it, before the pools whose servers it finds. ERROR_MEMORY. */
int bootstrap_open(const struct bootstrap_options *options, const struct upstream_surroundings *surroundings,
                   struct bootstrap **out);
void bootstrap_close(struct bootstrap *bootstrap);

/* The most bytes that it takes, its pools included. */
size_t bootstrap_memory(const struct bootstrap_options *options);

/* What the server with this name is opened with. */
struct upstream_lookup *bootstrap_lookup(struct bootstrap *bootstrap, size_t name);

/* A server that is known by name. */
struct bootstrap_target {
    const char *host; /* a valid host name; outlives the bootstrap */
    uint16_t port;
    struct upstream_pool *pool;
    size_t server;             /* its index in the pool */
    struct address_list known; /* what it was opened with */
};

/* Looks the name up now, and from here on before its time is over as long as the pool is in use, and when its
 * server asks for it. */
void bootstrap_begin(struct bootstrap *bootstrap, size_t name, const struct bootstrap_target *target);

/* What is asked of a host. */
struct bootstrap_form {
    const char *host;     /* a valid host name */
    uint16_t type;        /* A or AAAA */
    size_t padding_block; /* where the question is encrypted; 0: no padding */
};

/* Writes the question into `room`, as it fits the pool, and makes of the ask one for it: all but the deadline
 * and `done`. */
void bootstrap_question_write(struct upstream_ask *ask, const struct upstream_pool *pool,
                              const struct bootstrap_form *form, uint8_t room[DNS_QUERY_MAX]);

/* The addresses that the answer to such a question holds, with this port, and without those that nobody can
 * have. NULL, or why there are none: "denied", "failure" or "no_address". */
const char *bootstrap_answer_read(const struct dns_answer *answer, uint16_t type, uint16_t port,
                                  struct address_list *out);

/* What a person can do about a reason for which a name has no address; NULL where it is none of this room's.
 */
const char *bootstrap_reason_hint(const char *reason);

/* What is known of the network holds no more. */
void bootstrap_network_changed(struct bootstrap *bootstrap);

#endif
