/*
 * What the files of the room share: the form of a file. block.c puts bytes into it and back, for write.c and
 * read.c; forget.c has nothing to do with files.
 */
#ifndef KEEP_INTERNAL_H
#define KEEP_INTERNAL_H

#include "base/hash.h"

#include "keep/keep.h"

enum {
    KEEP_VERSION = 1,
    KEEP_HEAD_SIZE = 40,
    KEEP_BLOCK_HEAD = 24,
    KEEP_BLOCK_MOST = 128 * 1024, /* with its head; more than the largest entry */
    KEEP_ENTRY_HEAD = 14,
};

struct keep_head {
    uint32_t version, form;
    uint64_t written_at; /* wall, milliseconds */
    uint64_t origin;
};

void keep_head_write(const struct keep_head *head, uint8_t out[KEEP_HEAD_SIZE]);

/* DAMAGED, FOREIGN, VERSION, or NONE. */
enum keep_fault keep_head_read(struct span bytes, struct keep_head *out);

/* A block on its way, its head included. */
struct keep_block {
    struct hash_key key; /* of the file: a block of another one is not taken */
    uint64_t number;
    uint32_t entries;
    size_t size; /* with the head */
    uint8_t bytes[KEEP_BLOCK_MOST];
};

void keep_block_begin(struct keep_block *block, const struct keep_head *head);

/* The next block, empty. */
void keep_block_next(struct keep_block *block);

/* An entry with its age in milliseconds. */
struct keep_entry {
    struct span key, value;
    uint32_t age, fresh_for;
    uint16_t note;
};

/* False when it does not fit any more. */
bool keep_block_put(struct keep_block *block, const struct keep_entry *entry);

/* Completes the head. */
void keep_block_seal(struct keep_block *block);

/* The size of the whole block, from its head; 0: of none. */
size_t keep_block_size(const struct keep_block *block);

/* Whether head and contents are what was sealed; sets `entries`. */
bool keep_block_is_whole(struct keep_block *block);

/* The entry at `*at` (KEEP_BLOCK_HEAD for the first one), and on to the next; false when it does not fit. */
bool keep_block_take(const struct keep_block *block, size_t *at, struct keep_entry *out);

#endif
