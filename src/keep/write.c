/*
 * From the cache to a file. Called by the monitor's side, in a process that has nothing else to do: every
 * entry is shown by cache_visit, which holds a worker up for no longer than a copy takes, and a disk that is
 * slow holds up nobody.
 */
#include <errno.h>
#include <unistd.h>

#include "base/error.h"
#include "base/list.h"

#include "dns/dns.h"

#include "keep/internal.h"

struct writing {
    struct cache_visitor visitor;
    const struct keep_terms *terms;
    int descriptor;
    int error; /* the first one; nothing is written after it */
    struct keep_count count;
    struct keep_block block;
};

bool keep_is_wanted(uint64_t age, uint32_t fresh_for, uint64_t stale)
{
    return age < fresh_for + stale;
}

static void write_bytes(struct writing *writing, struct span bytes)
{
    while (bytes.size > 0 && writing->error == 0) {
        ssize_t written = write(writing->descriptor, bytes.data, bytes.size);
        if (written < 0) {
            writing->error = errno == EINTR ? 0 : error_from_errno(errno);
            continue;
        }
        writing->count.bytes += (uint64_t)written;
        bytes = span_of(bytes.data + written, bytes.size - (size_t)written);
    }
}

static void write_block(struct writing *writing)
{
    keep_block_seal(&writing->block);
    write_bytes(writing, span_of(writing->block.bytes, writing->block.size));
    keep_block_next(&writing->block);
}

/* What was stored while this goes on is as old as the file. */
static bool show(struct cache_visitor *visitor, struct span key, struct span value,
                 const struct cache_life *life)
{
    struct writing *writing = container_of(visitor, struct writing, visitor);
    const struct keep_terms *terms = writing->terms;
    uint64_t age = terms->boot > life->stored_at ? terms->boot - life->stored_at : 0;
    if (writing->error != 0 || age > UINT32_MAX || !keep_is_wanted(age, life->fresh_for, terms->stale)) {
        return true;
    }
    struct keep_entry entry = {
        .key = key, .value = value, .age = (uint32_t)age, .fresh_for = life->fresh_for, .note = life->note};
    if (!keep_block_put(&writing->block, &entry)) {
        write_block(writing);
        keep_block_put(&writing->block, &entry);
    }
    writing->count.entries++;
    return true;
}

int keep_write(struct cache *cache, const struct keep_terms *terms, int descriptor, struct keep_count *count)
{
    struct writing writing = {.visitor.visit = show, .terms = terms, .descriptor = descriptor};
    struct keep_head head = {
        .version = KEEP_VERSION, .form = DNS_STORED_FORM, .written_at = terms->wall, .origin = terms->origin};
    uint8_t bytes[KEEP_HEAD_SIZE];
    keep_head_write(&head, bytes);
    write_bytes(&writing, span_of(bytes, sizeof bytes));
    keep_block_begin(&writing.block, &head);
    cache_visit(cache, &writing.visitor);
    if (writing.block.entries > 0) {
        write_block(&writing);
    }
    write_block(&writing); /* the empty one, which ends the file */
    *count = writing.count;
    return writing.error;
}
