/*
 * What is done with the cache as a whole: it is written to a file and read back after a restart, and entries
 * are forgotten by name. The file's form is told in docs/architecture.md. Nothing in a file is believed: a
 * file that is not whole and sound to its last byte gives no entry.
 *
 * Files are descriptors here: whose they are, and where they lie, is the caller's to judge.
 */
#ifndef KEEP_KEEP_H
#define KEEP_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

#include "cache/cache.h"
#include "dns/dns.h"

/* Why a file is not read. The words stand in the log. */
#define KEEP_FAULTS(X)      \
    X(NONE, "none")         \
    X(FOREIGN, "foreign")   \
    X(VERSION, "version")   \
    X(DAMAGED, "damaged")   \
    X(ORIGIN, "upstreams")  \
    X(FUTURE, "future")     \
    X(OLD, "old")           \
    X(IRREGULAR, "no_file") \
    X(OWNER, "owner")       \
    X(MODE, "mode")         \
    X(SYSTEM, "system")

enum keep_fault {
#define X(name, word) KEEP_FAULT_##name,
    KEEP_FAULTS(X)
#undef X
};

const char *keep_fault_word(enum keep_fault fault);

/* What entries are judged by, the same when they are written and when they are read. */
struct keep_terms {
    uint64_t boot, wall; /* the two clocks at one moment, in milliseconds */
    uint64_t origin;     /* of whom the answers are: those of others are not read */
    uint64_t most;       /* milliseconds that an entry may live, and a file may be old */
    uint64_t stale;      /* milliseconds for which an entry is of use after its life */
    uint64_t generation; /* of the cache, when it was decided to read: what is forgotten since stays away */
};

struct keep_count {
    uint64_t entries, bytes;
};

/* Whether an entry of that age (milliseconds) is still of use. */
bool keep_is_wanted(uint64_t age, uint32_t fresh_for, uint64_t stale);

/* Writes all entries that are wanted to an empty file. ERROR_FULL, ERROR_SYSTEM and the like, with a part of
 * it written. Takes 210 KB of stack. */
int keep_write(struct cache *cache, const struct keep_terms *terms, int descriptor, struct keep_count *count);

/* Stores what is wanted of a file, unless the cache has it already: nothing when there is any fault in it.
 * With KEEP_FAULT_SYSTEM `error` is what reading came to. Takes 140 KB of stack. */
enum keep_fault keep_read(struct cache *cache, const struct keep_terms *terms, int descriptor,
                          struct keep_count *count, int *error);

/* Stores all entries of one cache in another that nobody else writes to; what does not fit is forgotten.
 * Takes 70 KB of stack. */
void keep_copy(struct cache *from, struct cache *to);

/* Whether the bytes a file begins with are those of any version's file; an empty file has nothing to lose,
 * and counts as one. */
bool keep_is_ours(struct span begin);
enum { KEEP_MAGIC_SIZE = 8 };

/* Forgets what is kept under a name (a text, see dns_name_from_text) for every type, class and kind of
 * answer, and with `below` also under every name that ends in it; what is still being asked for is not kept,
 * of whatever name it is. ERROR_INVALID for what is no name. */
int keep_forget(struct cache *cache, const char *name, bool below, uint64_t *forgotten);

/* Forgets what is kept of the groups for which there is a true, in the same way. Returns how many entries
 * those were. */
uint64_t keep_forget_groups(struct cache *cache, const bool groups[DNS_KEY_GROUP_MAX + 1]);

#endif
