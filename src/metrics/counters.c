/* The mapping that holds the meters, and what concerns all workers' pages together. */
#include <assert.h>
#include <string.h>

#include "base/memory.h"

#include "metrics/metrics.h"

enum { METRICS_VERSION = 5 };

static size_t mapping_size(size_t pages)
{
    return sizeof(struct metrics) + pages * sizeof(struct metrics_worker);
}

size_t metrics_memory(size_t workers)
{
    return mapping_size(workers + 1);
}

int metrics_open(size_t workers, struct metrics **out, int *descriptor)
{
    assert(workers > 0 && workers <= METRICS_WORKERS_MAX);
    void *memory;
    int error = memory_share(metrics_memory(workers), "dnseal-metrics", &memory, descriptor);
    if (error != 0) {
        return error;
    }
    struct metrics *metrics = memory;
    metrics->version = METRICS_VERSION;
    metrics->workers = (uint32_t)workers + 1;
    *out = metrics;
    return 0;
}

void metrics_close(struct metrics *metrics, int descriptor)
{
    memory_close(metrics, mapping_size(metrics->workers));
    memory_close_shared(descriptor);
}

void metrics_label_upstream(struct metrics *metrics, size_t upstream, const char *label)
{
    assert(upstream < METRICS_UPSTREAMS_MAX);
    char *place = metrics->label[upstream];
    size_t size = strnlen(label, METRICS_LABEL_MAX - 1);
    memcpy(place, label, size);
    place[size] = '\0';
    if (upstream >= metrics->upstreams) {
        metrics->upstreams = (uint32_t)upstream + 1;
    }
}

uint64_t metrics_sum(const struct metrics *metrics, enum metrics_meter meter)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < metrics->workers; i++) {
        sum += atomic_load_explicit(&metrics->worker[i].meter[meter], memory_order_relaxed);
    }
    return sum;
}

void metrics_reset_gauges(struct metrics_worker *worker)
{
    metrics_set(&worker->meter[METRICS_PENDING], 0);
    metrics_set(&worker->meter[METRICS_TCP_CONNECTIONS], 0);
    metrics_set(&worker->meter[METRICS_CACHE_ENTRIES], 0);
    metrics_set(&worker->meter[METRICS_CACHE_BYTES], 0);
    for (size_t i = 0; i < METRICS_UPSTREAMS_MAX; i++) {
        metrics_set(&worker->upstream[i].meter[METRICS_UPSTREAM_UP], 0);
        metrics_set(&worker->upstream[i].meter[METRICS_UPSTREAM_CONNECTIONS], 0);
    }
}
