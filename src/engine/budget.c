/*
 * How limits.memory is shared out: every reservation of an engine is known before the first is made, and what
 * is left over becomes buffers for streams. Called by whoever starts the engine, before it opens anything.
 */
#include "guard/guard.h"
#include "metrics/metrics.h"
#include "tls/tls.h"

#include "worker/worker.h"

#include "engine/engine.h"
#include "engine/log_writer.h"

/* What the heap holds besides: loops, contexts, lists of the configuration. */
enum { PROCESS_MEMORY = 1024 * 1024, WORKER_HEAP = 256 * 1024 };

static size_t shared_memory(unsigned workers, size_t authorities)
{
    return guard_connections_memory() + metrics_memory(workers) + log_writer_memory(workers + 1) +
           tls_trust_memory(authorities) + PROCESS_MEMORY + (size_t)workers * WORKER_HEAP;
}

struct engine_budget engine_budget(const struct config *config, size_t upstream_count, unsigned workers,
                                   size_t authorities, size_t local)
{
    struct worker_memory each = worker_memory(config, upstream_count, workers);
    struct engine_budget budget = {
        .queries = workers * each.queries,
        .links = workers * each.links,
        .clients = workers * each.clients,
        .buffers = workers * each.buffers_least,
        .shared = shared_memory(workers, authorities),
        .cache = (size_t)config->cache.size,
        .local = local,
    };
    size_t before =
        budget.queries + budget.links + budget.clients + budget.shared + budget.cache + budget.local;
    budget.needed = before + budget.buffers;
    if (budget.needed <= config->limits.memory) {
        budget.buffers = (size_t)config->limits.memory - before;
        budget.stream_blocks = worker_buffers(budget.buffers / workers);
    }
    return budget;
}
