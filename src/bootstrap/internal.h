/*
 * What the files of this room share. A name has two families of addresses; a look-up asks every server for
 * both, and each family takes the first good answer.
 *
 * Files, from the bottom up: question.c (what is asked), report.c (what the log is told), name.c (a name's
 * life), bootstrap.c (opening and closing).
 */
#ifndef BOOTSTRAP_INTERNAL_H
#define BOOTSTRAP_INTERNAL_H

#include "base/clock.h"

#include "dns/dns.h"
#include "event/event.h"

#include "bootstrap/bootstrap.h"

enum { BOOTSTRAP_FAMILIES = 2 };

struct bootstrap_name;

struct bootstrap_question {
    struct upstream_ask ask;
    struct bootstrap_name *name;
    struct bootstrap_family *family;
    bool is_out;
    uint8_t message[DNS_QUERY_MAX];
};

struct bootstrap_family {
    uint16_t type;
    struct address_list addresses;
    unsigned out;      /* questions */
    bool is_settled;   /* in this look-up, by an answer */
    bool is_empty;     /* some server says that there is no address */
    uint32_t lifetime; /* seconds, of what settled it */
};

struct bootstrap_name {
    struct upstream_lookup lookup;
    struct bootstrap *bootstrap;
    size_t number;
    struct bootstrap_target target;
    struct bootstrap_family family[BOOTSTRAP_FAMILIES]; /* IPv6 first */
    struct address_list given;                          /* what the server was told */
    struct event_timer due;                             /* for the next look-up */
    struct event_timer delay;                           /* for the other family's answer */
    uint64_t begun_at;
    unsigned failures;  /* look-ups in a row */
    bool is_wanted;     /* the server asks for it */
    bool has_lapsed;    /* its time is over, and nobody needed it */
    const char *reason; /* why this look-up has brought nothing so far, NULL: no reason yet */
    const char *blamed; /* the server that said so */
    const char *told;   /* the reason that the log knows, NULL after a success */
    uint64_t told_at;
    struct bootstrap_question *questions; /* one of each family for each server */
};

struct bootstrap {
    struct bootstrap_options options;
    struct upstream_surroundings around;
    size_t server_count;
    struct upstream_pool *pools[BOOTSTRAP_SERVERS_MAX];
    size_t memory; /* of this */
    struct bootstrap_question *questions;
    struct bootstrap_name names[];
};

/* ---- report.c ---- */

void bootstrap_tell_found(const struct bootstrap_name *name, uint64_t lifetime);
void bootstrap_tell_failure(struct bootstrap_name *name);

/* ---- name.c ---- */

void bootstrap_name_init(struct bootstrap_name *name, struct bootstrap *bootstrap, size_t number);

/* From here on it lives. */
void bootstrap_name_begin(struct bootstrap_name *name, const struct bootstrap_target *target);

/* What is known of the network holds no more: where the last look-up failed, another one may not. */
void bootstrap_name_doubt(struct bootstrap_name *name);

/* Takes everything back. */
void bootstrap_name_end(struct bootstrap_name *name);

#endif
