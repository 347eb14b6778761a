/*
 * Names that are answered here, without asking anybody: the special-use names that no server must hear of
 * (RFC 6303, RFC 6761 and their kin), the operator's own names from hosts files and records, and names that
 * are blocked. And of the names that are asked, which belong to a group of servers of their own. Everything
 * is gathered in a plan, from bytes that somebody else has read, and built once: what
 * comes of it never changes and is shared by all threads and by all processes that are forked from the
 * builder.
 *
 * Own records win over blocks, blocks over special use.
 */
#ifndef LOCAL_LOCAL_H
#define LOCAL_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/hash.h"

/* What is said to a question for a blocked name: that the name does not exist; the addresses 0.0.0.0 and ::,
 * and that there is nothing of any other type; or REFUSED. */
enum local_block_answer { LOCAL_BLOCK_NXDOMAIN, LOCAL_BLOCK_NULL, LOCAL_BLOCK_REFUSED };

struct local_options {
    struct hash_key hash_key; /* a secret */
    bool special_use;
    enum local_block_answer block_answer;
};

/* Receives each error as one line of printable ASCII without its newline: "FILE:LINE: reason", or "PLACE:
 * reason" for what came with its place. */
struct local_report {
    void (*error)(struct local_report *report, const char *line);
};

/* ---- gathering ---- */

struct local_plan;

/* An empty plan; the caller closes it. ERROR_MEMORY. */
int local_plan_open(const struct local_options *options, struct local_report *report,
                    struct local_plan **out);
void local_plan_close(struct local_plan *plan);

/* All of these: ERROR_INVALID after at least one report, ERROR_MEMORY, ERROR_EXHAUSTED for more than a
 * gigabyte of names. What is given is borrowed until they return. `place` is what reports begin with. */

/* Names from this one on are left out of special use. */
int local_plan_forward(struct local_plan *plan, const char *place, const char *name);

/* Names from this one on are asked at this group of servers, and left out of special use. */
int local_plan_route(struct local_plan *plan, const char *place, const char *name, uint8_t group);

/* A record as in a zone file, on one line and with whole names: NAME [TTL] [IN] TYPE DATA. */
int local_plan_record(struct local_plan *plan, const char *place, const char *text);

/* The text of a hosts file (hosts(5)): A, AAAA and, for the first name of an address's first line, PTR. */
int local_plan_hosts(struct local_plan *plan, const char *path, struct span text);

/* The text of a block list. A line is a domain, which is blocked with everything below it, or an address that
 * is nobody's (0.0.0.0, ::, 127.0.0.1, ::1) with names, each of which is blocked alone. */
int local_plan_block(struct local_plan *plan, const char *path, struct span text);

/* Why a text is no record, or is nothing that special use could leave out; NULL when it is. Static memory. */
const char *local_record_refusal(const char *text);
const char *local_forward_refusal(const char *text);

/* Why a text is no name that a route could begin at. */
const char *local_route_refusal(const char *text);

/* ---- the built thing ---- */

struct local;

/* Builds it from everything that the plan has; the plan is of no further use. The errors of the plan. */
int local_build(struct local_plan *plan, struct local **out);
void local_free(struct local *local);

/* The bytes that it holds. */
size_t local_memory(const struct local *local);

/* How many names have records of their own, and how many are blocked. */
struct local_numbers {
    size_t names, blocked;
};
struct local_numbers local_count(const struct local *local);

enum local_verdict {
    LOCAL_UNKNOWN, /* none of ours: ask somebody */
    LOCAL_KNOWN,
    LOCAL_BLOCKED,
};

/* What is to be said to a question (name, type, class), where it is not LOCAL_UNKNOWN as a whole message with
 * id 0 and this question. A capacity of DNS_MESSAGE_MAX is always enough. No lock, no allocation, no system
 * call. */
enum local_verdict local_answer(const struct local *local, struct span question, uint8_t *out,
                                size_t capacity, size_t *size);

/* Puts the group for a question into `group`, and leaves it as it is where no route has the name: the longest
 * end of the name that has one. A question for DS is about what the zone above says (RFC 4035, section
 * 3.1.4.1), and a route at its very name does not count. No lock, no allocation, no system call. */
void local_route(const struct local *local, struct span question, unsigned *group);

#endif
