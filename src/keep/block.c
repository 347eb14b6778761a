/*
 * The form of a file: a head, blocks of entries, and an empty block at the end. Numbers are little-endian.
 * Every block has its number in the file and a checksum under a key that is the file's own, so that none can
 * be missing, doubled, or come from another file. The checksum is against accidents: whoever may write the
 * file may write what he likes, which is why the caller looks at owner and mode.
 */
#include <string.h>

#include "keep/internal.h"

static const uint8_t magic[KEEP_MAGIC_SIZE] = {0x89, 'd', 'n', 's', 'e', 'a', 'l', '\n'};

/* Where things stand in the head, in the head of a block, and in that of an entry. */
enum {
    HEAD_VERSION = KEEP_MAGIC_SIZE,
    HEAD_FORM = 12,
    HEAD_WRITTEN_AT = 16,
    HEAD_ORIGIN = 24,
    HEAD_CHECKSUM = 32,
    BLOCK_NUMBER = 8, /* behind the checksum, which covers all from here on */
    BLOCK_SIZE = 16,
    BLOCK_ENTRIES = 20,
    ENTRY_FRESH_FOR = 4,
    ENTRY_NOTE = 8,
    ENTRY_KEY_SIZE = 10,
    ENTRY_VALUE_SIZE = 12,
};

static void put(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)(value >> 8 * i);
    }
}

static uint64_t get(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)at[i] << 8 * i;
    }
    return value;
}

const char *keep_fault_word(enum keep_fault fault)
{
    static const char *const words[] = {
#define X(name, word) [KEEP_FAULT_##name] = word,
        KEEP_FAULTS(X)
#undef X
    };
    return words[fault];
}

bool keep_is_ours(struct span begin)
{
    return begin.size == 0 || (begin.size >= sizeof magic && memcmp(begin.data, magic, sizeof magic) == 0);
}

/* ---- the head ---- */

static uint64_t head_checksum(const uint8_t *bytes)
{
    return hash_bytes(&(struct hash_key){{0, 0}}, span_of(bytes, HEAD_CHECKSUM));
}

void keep_head_write(const struct keep_head *head, uint8_t out[KEEP_HEAD_SIZE])
{
    memcpy(out, magic, sizeof magic);
    put(out + HEAD_VERSION, head->version, 4);
    put(out + HEAD_FORM, head->form, 4);
    put(out + HEAD_WRITTEN_AT, head->written_at, 8);
    put(out + HEAD_ORIGIN, head->origin, 8);
    put(out + HEAD_CHECKSUM, head_checksum(out), 8);
}

enum keep_fault keep_head_read(struct span bytes, struct keep_head *out)
{
    if (!keep_is_ours(bytes)) {
        return KEEP_FAULT_FOREIGN;
    }
    if (bytes.size < KEEP_HEAD_SIZE) {
        return KEEP_FAULT_DAMAGED;
    }
    *out = (struct keep_head){
        .version = (uint32_t)get(bytes.data + HEAD_VERSION, 4),
        .form = (uint32_t)get(bytes.data + HEAD_FORM, 4),
        .written_at = get(bytes.data + HEAD_WRITTEN_AT, 8),
        .origin = get(bytes.data + HEAD_ORIGIN, 8),
    };
    if (out->version != KEEP_VERSION) {
        return KEEP_FAULT_VERSION; /* whose checksum may stand elsewhere */
    }
    return get(bytes.data + HEAD_CHECKSUM, 8) == head_checksum(bytes.data) ? KEEP_FAULT_NONE
                                                                           : KEEP_FAULT_DAMAGED;
}

/* ---- blocks ---- */

static uint64_t block_checksum(const struct keep_block *block, size_t size)
{
    return hash_bytes(&block->key, span_of(block->bytes + BLOCK_NUMBER, size - BLOCK_NUMBER));
}

void keep_block_begin(struct keep_block *block, const struct keep_head *head)
{
    block->key = (struct hash_key){{head->written_at, head->origin}};
    block->number = 0;
    block->entries = 0;
    block->size = KEEP_BLOCK_HEAD;
}

void keep_block_next(struct keep_block *block)
{
    block->number++;
    block->entries = 0;
    block->size = KEEP_BLOCK_HEAD;
}

bool keep_block_put(struct keep_block *block, const struct keep_entry *entry)
{
    size_t size = KEEP_ENTRY_HEAD + entry->key.size + entry->value.size;
    if (size > sizeof block->bytes - block->size) {
        return false;
    }
    uint8_t *at = block->bytes + block->size;
    put(at, entry->age, 4);
    put(at + ENTRY_FRESH_FOR, entry->fresh_for, 4);
    put(at + ENTRY_NOTE, entry->note, 2);
    put(at + ENTRY_KEY_SIZE, entry->key.size, 2);
    put(at + ENTRY_VALUE_SIZE, entry->value.size, 2);
    struct bytes_writer rest = bytes_writer_of(at + KEEP_ENTRY_HEAD, entry->key.size + entry->value.size);
    bytes_write(&rest, entry->key);
    bytes_write(&rest, entry->value);
    block->size += size;
    block->entries++;
    return true;
}

void keep_block_seal(struct keep_block *block)
{
    put(block->bytes + BLOCK_NUMBER, block->number, 8);
    put(block->bytes + BLOCK_SIZE, block->size, 4);
    put(block->bytes + BLOCK_ENTRIES, block->entries, 4);
    put(block->bytes, block_checksum(block, block->size), 8);
}

size_t keep_block_size(const struct keep_block *block)
{
    uint64_t size = get(block->bytes + BLOCK_SIZE, 4);
    return size >= KEEP_BLOCK_HEAD && size <= sizeof block->bytes ? (size_t)size : 0;
}

bool keep_block_is_whole(struct keep_block *block)
{
    block->entries = (uint32_t)get(block->bytes + BLOCK_ENTRIES, 4);
    return get(block->bytes + BLOCK_NUMBER, 8) == block->number &&
           get(block->bytes, 8) == block_checksum(block, block->size);
}

bool keep_block_take(const struct keep_block *block, size_t *at, struct keep_entry *out)
{
    size_t left = block->size - *at;
    const uint8_t *head = block->bytes + *at;
    if (left < KEEP_ENTRY_HEAD) {
        return false;
    }
    size_t key_size = get(head + ENTRY_KEY_SIZE, 2), value_size = get(head + ENTRY_VALUE_SIZE, 2);
    if (key_size > CACHE_KEY_MAX || key_size + value_size > left - KEEP_ENTRY_HEAD) {
        return false;
    }
    *out = (struct keep_entry){
        .key = span_of(head + KEEP_ENTRY_HEAD, key_size),
        .value = span_of(head + KEEP_ENTRY_HEAD + key_size, value_size),
        .age = (uint32_t)get(head, 4),
        .fresh_for = (uint32_t)get(head + ENTRY_FRESH_FOR, 4),
        .note = (uint16_t)get(head + ENTRY_NOTE, 2),
    };
    *at += KEEP_ENTRY_HEAD + key_size + value_size;
    return true;
}
