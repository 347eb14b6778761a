/* The mapping that holds the meters, and what concerns all workers' pages together. */
#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

#include "metrics/metrics.h"

enum { METRICS_VERSION = 8 };

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
    assert(workers <= METRICS_WORKERS_MAX);
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

int metrics_adopt(int descriptor, size_t size, struct metrics **out)
{
    void *memory;
    int error = size < sizeof(struct metrics) ? ERROR_INVALID : memory_adopt(descriptor, size, &memory);
    if (error != 0) {
        return error;
    }
    struct metrics *metrics = memory;
    if (metrics->version != METRICS_VERSION || metrics->upstreams > METRICS_UPSTREAMS_MAX ||
        metrics->workers > METRICS_WORKERS_MAX + 1 || mapping_size(metrics->workers) != size) {
        memory_close(memory, size);
        return ERROR_INVALID;
    }
    *out = metrics;
    return 0;
}

/* ---- one mapping into another ---- */

static uint64_t load(const metrics_value *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void fold_histogram(struct metrics_histogram *into, const struct metrics_histogram *from)
{
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        metrics_add(&into->bucket[i], load(&from->bucket[i]));
    }
    metrics_add(&into->sum, load(&from->sum));
}

static void fold_upstream(struct metrics_upstream *into, const struct metrics_upstream *from)
{
    for (size_t i = 0; i < METRICS_UPSTREAM_METER_COUNT; i++) {
        if (!metrics_upstream_meter_is_gauge(i)) {
            metrics_add(&into->meter[i], load(&from->meter[i]));
        }
    }
    fold_histogram(&into->duration, &from->duration);
}

size_t metrics_find_upstream(const struct metrics *metrics, const char *label)
{
    size_t upstream = 0;
    while (upstream < metrics->upstreams && strcmp(metrics->label[upstream], label) != 0) {
        upstream++;
    }
    return upstream;
}

static void fold_worker(struct metrics *total, const struct metrics *from,
                        const struct metrics_worker *worker)
{
    struct metrics_worker *into = &total->worker[0];
    for (size_t i = 0; i < METRICS_METER_COUNT; i++) {
        if (!metrics_meter_is_gauge(i)) {
            metrics_add(&into->meter[i], load(&worker->meter[i]));
        }
    }
    for (size_t i = 0; i < METRICS_REQUEST_COUNT; i++) {
        fold_histogram(&into->request[i], &worker->request[i]);
    }
    for (size_t i = 0; i < from->upstreams; i++) {
        size_t upstream = metrics_find_upstream(total, from->label[i]);
        if (upstream < total->upstreams) {
            fold_upstream(&into->upstream[upstream], &worker->upstream[i]);
        }
    }
}

void metrics_fold(struct metrics *total, const struct metrics *gone)
{
    for (size_t i = 0; i < gone->workers; i++) {
        fold_worker(total, gone, &gone->worker[i]);
    }
}

void metrics_take_labels(struct metrics *total, const struct metrics *now)
{
    struct metrics_upstream kept[METRICS_UPSTREAMS_MAX] = {0};
    for (size_t i = 0; i < now->upstreams; i++) {
        size_t before = metrics_find_upstream(total, now->label[i]);
        if (before < total->upstreams) {
            fold_upstream(&kept[i], &total->worker[0].upstream[before]);
        }
    }
    memset(total->worker[0].upstream, 0, sizeof total->worker[0].upstream);
    for (size_t i = 0; i < now->upstreams; i++) {
        fold_upstream(&total->worker[0].upstream[i], &kept[i]);
    }
    memcpy(total->label, now->label, sizeof total->label);
    total->upstreams = now->upstreams;
}

void metrics_show_down(struct metrics *metrics, const char *label, bool is_down)
{
    size_t upstream = metrics_find_upstream(metrics, label);
    if (upstream < metrics->upstreams) {
        metrics->is_down[upstream] = is_down;
    }
}

void metrics_retire(struct metrics *metrics)
{
    metrics->is_retired = 1;
}
