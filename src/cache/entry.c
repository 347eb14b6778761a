/*
 * An entry as words of the log: 40 bits of stored_at, 16 of note and a byte that is 0 (ring.c marks the
 * unused end of a ring with it); 32 bits of fresh_for, 16 of the value's size and 16 of the key's; 32 bits of
 * a claim; then key and value, without a gap. Called by readers without a lock and by the holder of a part;
 * readers may meet half of an entry, which is why nothing here trusts a size.
 */
#include <string.h>

#include "cache/internal.h"

enum { NOTE_SHIFT = 40, VALUE_SHIFT = 32, KEY_SHIFT = 48, CLAIM_WORD = 2 };

bool cache_entry_read(const struct cache_view *view, uint32_t place, struct cache_entry *out)
{
    if (place + CLAIM_WORD >= view->log_words) {
        return false;
    }
    uint64_t times = cache_load(&view->log[place]);
    uint64_t sizes = cache_load(&view->log[place + 1]);
    out->life = (struct cache_life){.stored_at = times & (CACHE_TIME_END - 1),
                                    .fresh_for = (uint32_t)sizes,
                                    .note = (uint16_t)(times >> NOTE_SHIFT)};
    out->key_size = sizes >> KEY_SHIFT;
    out->value_size = sizes >> VALUE_SHIFT & UINT16_MAX;
    return out->key_size <= CACHE_KEY_MAX &&
           cache_entry_words(out->key_size, out->value_size) <= view->log_words - place;
}

void cache_entry_copy(const cache_word *entry, size_t from, uint8_t *out, size_t size)
{
    const cache_word *at = entry + from / sizeof *at;
    size_t skip = from % sizeof *at;
    uint64_t word;
    if (skip > 0) {
        size_t part = sizeof word - skip < size ? sizeof word - skip : size;
        word = cache_load(at++);
        memcpy(out, (const uint8_t *)&word + skip, part);
        out += part;
        size -= part;
    }
    for (; size >= sizeof word; size -= sizeof word, out += sizeof word) {
        word = cache_load(at++);
        memcpy(out, &word, sizeof word);
    }
    if (size > 0) {
        word = cache_load(at);
        memcpy(out, &word, size);
    }
}

/* For less than a word, the first `skip` bytes of which are others': a call of memcmp takes longer. */
static bool is_same(uint64_t word, size_t skip, const uint8_t *wanted, size_t size)
{
    uint8_t bytes[sizeof word];
    unsigned difference = 0;
    memcpy(bytes, &word, sizeof word);
    for (size_t i = 0; i < size; i++) {
        difference |= bytes[skip + i] ^ wanted[i];
    }
    return difference == 0;
}

bool cache_entry_has_key(const cache_word *entry, const struct cache_entry *head, struct span key)
{
    const cache_word *at = entry + CLAIM_WORD;
    const size_t skip = CACHE_ENTRY_HEAD % sizeof *at;
    size_t done = key.size < sizeof *at - skip ? key.size : sizeof *at - skip;
    if (head->key_size != key.size || !is_same(cache_load(at++), skip, key.data, done)) {
        return false;
    }
    for (; key.size - done >= sizeof *at; done += sizeof *at) {
        uint64_t wanted;
        memcpy(&wanted, key.data + done, sizeof wanted);
        if (cache_load(at++) != wanted) {
            return false;
        }
    }
    return done == key.size || is_same(cache_load(at), 0, key.data + done, key.size - done);
}

/* Bytes on their way into words. */
struct pen {
    cache_word *at;
    uint8_t word[sizeof(cache_word)];
    size_t filled;
};

static void put_word(struct pen *pen)
{
    uint64_t word;
    memcpy(&word, pen->word, sizeof word);
    cache_put(pen->at++, word);
    pen->filled = 0;
}

static void put_bytes(struct pen *pen, struct span bytes)
{
    while (bytes.size > 0) {
        size_t room = sizeof pen->word - pen->filled;
        size_t part = bytes.size < room ? bytes.size : room;
        memcpy(pen->word + pen->filled, bytes.data, part);
        pen->filled += part;
        bytes = span_of(bytes.data + part, bytes.size - part);
        if (pen->filled == sizeof pen->word) {
            put_word(pen);
        }
    }
}

void cache_entry_write(cache_word *entry, struct span key, struct span value, const struct cache_life *life)
{
    cache_put(&entry[0], life->stored_at | (uint64_t)life->note << NOTE_SHIFT);
    cache_put(&entry[1],
              life->fresh_for | (uint64_t)value.size << VALUE_SHIFT | (uint64_t)key.size << KEY_SHIFT);
    struct pen pen = {.at = entry + CLAIM_WORD, .filled = CACHE_ENTRY_HEAD % sizeof(cache_word)};
    put_bytes(&pen, key);
    put_bytes(&pen, value);
    if (pen.filled > 0) {
        put_word(&pen);
    }
}

uint64_t cache_entry_claimed(const cache_word *entry, uint64_t stored_at)
{
    uint32_t after;
    cache_entry_copy(entry, CLAIM_WORD * sizeof *entry, (uint8_t *)&after, sizeof after);
    return after > 0 ? stored_at + after : 0;
}

/* The other half of the word is a part of key or value, and stays what it is: a reader may copy it meanwhile.
 */
void cache_entry_claim(cache_word *entry, uint64_t stored_at, uint64_t until)
{
    uint64_t distance = until > stored_at ? until - stored_at : 0;
    uint32_t after = distance < UINT32_MAX ? (uint32_t)distance : UINT32_MAX;
    uint64_t word = cache_load(&entry[CLAIM_WORD]);
    memcpy(&word, &after, sizeof after);
    cache_put(&entry[CLAIM_WORD], word);
}
