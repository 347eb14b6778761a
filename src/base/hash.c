/*
 * SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"), one round a word and three at the
 * end. Pure function of key and bytes; the rooms call it for every table that strangers fill.
 */
#include "base/hash.h"

#include <endian.h>
#include <string.h>

struct state {
    uint64_t a, b, c, d;
};

static inline uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void mix(struct state *state)
{
    state->a += state->b;
    state->b = rotate(state->b, 13) ^ state->a;
    state->a = rotate(state->a, 32);
    state->c += state->d;
    state->d = rotate(state->d, 16) ^ state->c;
    state->a += state->d;
    state->d = rotate(state->d, 21) ^ state->a;
    state->c += state->b;
    state->b = rotate(state->b, 17) ^ state->c;
    state->c = rotate(state->c, 32);
}

static inline void absorb(struct state *state, uint64_t word)
{
    state->d ^= word;
    mix(state);
    state->a ^= word;
}

uint64_t hash_bytes(const struct hash_key *key, struct span bytes)
{
    struct state state = {
        .a = key->word[0] ^ UINT64_C(0x736f6d6570736575),
        .b = key->word[1] ^ UINT64_C(0x646f72616e646f6d),
        .c = key->word[0] ^ UINT64_C(0x6c7967656e657261),
        .d = key->word[1] ^ UINT64_C(0x7465646279746573),
    };
    uint64_t word = 0;
    size_t whole = bytes.size - bytes.size % sizeof word;
    for (size_t i = 0; i < whole; i += sizeof word) {
        memcpy(&word, bytes.data + i, sizeof word);
        absorb(&state, le64toh(word));
    }
    word = (uint64_t)bytes.size << 56;
    for (size_t i = whole; i < bytes.size; i++) {
        word |= (uint64_t)bytes.data[i] << 8 * (i - whole);
    }
    absorb(&state, word);
    state.c ^= 0xff;
    mix(&state);
    mix(&state);
    mix(&state);
    return state.a ^ state.b ^ state.c ^ state.d;
}
