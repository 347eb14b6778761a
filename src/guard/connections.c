/*
 * Connection counts that all workers share: one total and a table of buckets, each an atomic number. Entering
 * counts first and takes the count back when it was one too many, so that no two workers can both take the
 * last place.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

#include "guard/guard.h"

enum { BUCKETS = 65536 };

struct guard_connections {
    struct hash_key key;
    unsigned most, most_per_client;
    atomic_uint total;
    atomic_uint bucket[BUCKETS];
};

static atomic_uint *bucket_of(struct guard_connections *connections, const struct address *client)
{
    uint64_t hash = hash_bytes(&connections->key, span_of(client->bytes, sizeof client->bytes));
    return &connections->bucket[hash % BUCKETS];
}

int guard_connections_open(struct hash_key key, unsigned most, unsigned most_per_client,
                           struct guard_connections **out)
{
    assert(most > 0 && most_per_client > 0);
    void *memory;
    int error = memory_open(sizeof(struct guard_connections), &memory);
    if (error != 0) {
        return error;
    }
    struct guard_connections *connections = memory;
    connections->key = key;
    connections->most = most;
    connections->most_per_client = most_per_client;
    *out = connections;
    return 0;
}

size_t guard_connections_memory(void)
{
    return sizeof(struct guard_connections);
}

void guard_connections_close(struct guard_connections *connections)
{
    memory_close(connections, sizeof *connections);
}

enum guard_verdict guard_connections_enter(struct guard_connections *connections,
                                           const struct address *client)
{
    atomic_uint *bucket = bucket_of(connections, client);
    if (atomic_fetch_add_explicit(bucket, 1, memory_order_relaxed) >= connections->most_per_client) {
        atomic_fetch_sub_explicit(bucket, 1, memory_order_relaxed);
        return GUARD_CLIENT_FULL;
    }
    if (atomic_fetch_add_explicit(&connections->total, 1, memory_order_relaxed) >= connections->most) {
        guard_connections_leave(connections, client);
        return GUARD_FULL;
    }
    return GUARD_ENTER;
}

void guard_connections_leave(struct guard_connections *connections, const struct address *client)
{
    unsigned before = atomic_fetch_sub_explicit(bucket_of(connections, client), 1, memory_order_relaxed);
    assert(before > 0);
    atomic_fetch_sub_explicit(&connections->total, 1, memory_order_relaxed);
}
