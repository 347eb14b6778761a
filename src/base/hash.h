/*
 * SipHash-1-3, keyed: for tables whose keys strangers choose. The key is random at every start.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdint.h>

#include "base/bytes.h"

struct hash_key {
    uint64_t word[2];
};

/* 64 bits that nobody without the key can predict. */
uint64_t hash_bytes(const struct hash_key *key, struct span bytes);

#endif
