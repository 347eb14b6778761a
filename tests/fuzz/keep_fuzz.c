/*
 * A file of the cache. The bytes as they are, and with the highest bit of the first one as what stands inside
 * of a file: a head and a block with right checksums are put around them, so that the reader gets beyond
 * those. What is refused leaves nothing in the cache, and what was read comes out again as it went in.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "dns/dns.h"

#include "keep/internal.h"

#include "target.h"

enum { SEALED = 0x80, MAGIC = 0x89, HEAD = 2 };

static const struct keep_terms terms = {
    .boot = CACHE_TIME_BEGIN + 5000, .wall = 1800000000000, .origin = 77, .most = 86400000, .stale = 1000};

static void write_all(int file, const void *bytes, size_t size)
{
    must(write(file, bytes, size) == (ssize_t)size);
}

/* The second byte is how many entries the block says it has. */
static void write_sealed(int file, const uint8_t *data, size_t size)
{
    static struct keep_block block;
    struct keep_head head = {.version = KEEP_VERSION,
                             .form = DNS_STORED_FORM,
                             .written_at = terms.wall - 100,
                             .origin = terms.origin};
    uint8_t bytes[KEEP_HEAD_SIZE];
    keep_head_write(&head, bytes);
    write_all(file, bytes, sizeof bytes);
    keep_block_begin(&block, &head);
    size_t room = sizeof block.bytes - KEEP_BLOCK_HEAD, inside = size - HEAD < room ? size - HEAD : room;
    memcpy(block.bytes + KEEP_BLOCK_HEAD, data + HEAD, inside);
    block.size += inside;
    block.entries = data[1];
    keep_block_seal(&block);
    write_all(file, block.bytes, block.size);
    keep_block_next(&block);
    keep_block_seal(&block);
    write_all(file, block.bytes, block.size);
}

static uint64_t entries_of(const struct cache *cache)
{
    struct cache_numbers numbers;
    cache_count(cache, &numbers);
    return numbers.entries;
}

/* Written and read again it is as much. */
static void check_again(struct cache *cache, struct cache *other, int file)
{
    struct keep_count written, count;
    int error;
    must(ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0);
    must(keep_write(cache, &terms, file, &written) == 0 && written.entries == entries_of(cache));
    must(keep_read(other, &terms, file, &count, &error) == KEEP_FAULT_NONE);
    must(count.entries == written.entries && count.bytes == written.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cache cache, other;
    static int file;
    if (cache.head == NULL) {
        struct hash_key key = {{1, 2}};
        must(cache_open(CACHE_SIZE_LEAST, key, 1, &cache) == 0 &&
             cache_open(CACHE_SIZE_LEAST, key, 1, &other) == 0);
        file = memfd_create("keep-fuzz", MFD_CLOEXEC);
        must(file >= 0);
    }
    cache_clear(&cache);
    cache_clear(&other);
    must(ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0);
    if (size >= HEAD && (data[0] & SEALED) != 0 && data[0] != MAGIC) {
        write_sealed(file, data, size);
    } else {
        write_all(file, data, size);
    }
    struct keep_count count;
    int error;
    enum keep_fault fault = keep_read(&cache, &terms, file, &count, &error);
    must(fault < KEEP_FAULT_SYSTEM && error == 0);
    must(fault == KEEP_FAULT_NONE || (count.entries == 0 && entries_of(&cache) == 0));
    if (fault == KEEP_FAULT_NONE) {
        check_again(&cache, &other, file);
    }
    return 0;
}
