/*
 * Meters in shared memory, that outlive the engine which moves them and can be read by other processes at any
 * moment. Each worker has a page of its own that it alone writes: a count is a load and a store, never a
 * locked instruction. No label ever comes from a client.
 */
#ifndef METRICS_METRICS_H
#define METRICS_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum { METRICS_WORKERS_MAX = 128, METRICS_UPSTREAMS_MAX = 40, METRICS_LABEL_MAX = 128, METRICS_BUCKETS = 16 };

/* Families: id, kind, name, help. */
#define METRICS_FAMILIES(X)                                                                                  \
    X(QUERIES, COUNTER, "dnseal_queries_total", "Messages of clients that were read, by transport")          \
    X(RESPONSES, COUNTER, "dnseal_responses_total",                                                          \
      "Answers sent to clients, by transport and response code")                                             \
    X(DROPPED, COUNTER, "dnseal_dropped_total", "Messages and answers that were dropped or shed, by reason") \
    X(PENDING, GAUGE, "dnseal_pending_queries", "Queries that wait for an upstream")                         \
    X(JOINED, COUNTER, "dnseal_joined_queries_total",                                                        \
      "Queries that waited for the answer to another client's")                                              \
    X(TCP_CONNECTIONS, GAUGE, "dnseal_tcp_connections", "Open client connections, by transport")             \
    X(TCP_CLOSES, COUNTER, "dnseal_tcp_closes_total", "Client connections closed, by transport and reason")  \
    X(TCP_PASSED, COUNTER, "dnseal_tcp_passed_total",                                                        \
      "Client connections that went on with the next engine, by transport")                                  \
    X(CACHE_LOOKUPS, COUNTER, "dnseal_cache_lookups_total", "Questions looked up in the cache, by result")   \
    X(CACHE_ENTRIES, GAUGE, "dnseal_cache_entries", "Answers that are kept")                                 \
    X(CACHE_BYTES, GAUGE, "dnseal_cache_bytes", "Bytes that they take, with their books")                    \
    X(CACHE_EVICTIONS, COUNTER, "dnseal_cache_evictions_total", "Answers forgotten to make room")            \
    X(LOG_DROPPED, COUNTER, "dnseal_log_dropped_total", "Log events lost because the log could not follow")  \
    X(ENGINE_RESTARTS, COUNTER, "dnseal_engine_restarts_total", "Engines started in place of one that died") \
    X(CONFIG_RELOADS, COUNTER, "dnseal_config_reloads_total",                                                \
      "Configurations taken while running, by result")                                                       \
    X(SANDBOX_DEGRADED, GAUGE, "dnseal_sandbox_degraded", "Layers of the sandbox that are missing")          \
    X(UPSTREAM_QUERIES, COUNTER, "dnseal_upstream_queries_total",                                            \
      "Queries sent upstream, by what came of them")                                                         \
    X(UPSTREAM_RECORDS, COUNTER, "dnseal_upstream_records_total",                                            \
      "TLS records written that carried queries")                                                            \
    X(UPSTREAM_UP, GAUGE, "dnseal_upstream_up", "Workers that hold the upstream for usable")                 \
    X(UPSTREAM_CONNECTIONS, GAUGE, "dnseal_upstream_connections", "Open connections to the upstream")        \
    X(UPSTREAM_CONNECTS, COUNTER, "dnseal_upstream_connects_total", "Connections opened, by TLS resumption") \
    X(UPSTREAM_CLOSES, COUNTER, "dnseal_upstream_closes_total", "Connections closed, by reason")             \
    X(UPSTREAM_TLS_FAILURES, COUNTER, "dnseal_upstream_tls_failures_total",                                  \
      "TLS handshakes refused, by reason")                                                                   \
    X(UPSTREAM_HEDGES, COUNTER, "dnseal_upstream_hedges_total",                                              \
      "Answers that were late, by what came of asking once more")

/* Meters: id, family, labels. */
#define METRICS_METERS(X)                                                                     \
    X(QUERIES_UDP, QUERIES, "transport=\"udp\"")                                              \
    X(QUERIES_TCP, QUERIES, "transport=\"tcp\"")                                              \
    X(RESPONSES_UDP_NOERROR, RESPONSES, "transport=\"udp\",rcode=\"NOERROR\"")                \
    X(RESPONSES_UDP_FORMERR, RESPONSES, "transport=\"udp\",rcode=\"FORMERR\"")                \
    X(RESPONSES_UDP_SERVFAIL, RESPONSES, "transport=\"udp\",rcode=\"SERVFAIL\"")              \
    X(RESPONSES_UDP_NXDOMAIN, RESPONSES, "transport=\"udp\",rcode=\"NXDOMAIN\"")              \
    X(RESPONSES_UDP_NOTIMP, RESPONSES, "transport=\"udp\",rcode=\"NOTIMP\"")                  \
    X(RESPONSES_UDP_REFUSED, RESPONSES, "transport=\"udp\",rcode=\"REFUSED\"")                \
    X(RESPONSES_UDP_OTHER, RESPONSES, "transport=\"udp\",rcode=\"other\"")                    \
    X(RESPONSES_TCP_NOERROR, RESPONSES, "transport=\"tcp\",rcode=\"NOERROR\"")                \
    X(RESPONSES_TCP_FORMERR, RESPONSES, "transport=\"tcp\",rcode=\"FORMERR\"")                \
    X(RESPONSES_TCP_SERVFAIL, RESPONSES, "transport=\"tcp\",rcode=\"SERVFAIL\"")              \
    X(RESPONSES_TCP_NXDOMAIN, RESPONSES, "transport=\"tcp\",rcode=\"NXDOMAIN\"")              \
    X(RESPONSES_TCP_NOTIMP, RESPONSES, "transport=\"tcp\",rcode=\"NOTIMP\"")                  \
    X(RESPONSES_TCP_REFUSED, RESPONSES, "transport=\"tcp\",rcode=\"REFUSED\"")                \
    X(RESPONSES_TCP_OTHER, RESPONSES, "transport=\"tcp\",rcode=\"other\"")                    \
    X(DROPPED_SHORT, DROPPED, "reason=\"short\"")                                             \
    X(DROPPED_QR, DROPPED, "reason=\"qr\"")                                                   \
    X(DROPPED_OVERSIZE, DROPPED, "reason=\"oversize\"")                                       \
    X(DROPPED_LATE, DROPPED, "reason=\"late\"")                                               \
    X(DROPPED_SOURCE, DROPPED, "reason=\"source\"")                                           \
    X(DROPPED_OVERLOAD, DROPPED, "reason=\"overload\"")                                       \
    X(DROPPED_CLIENT_GONE, DROPPED, "reason=\"client_gone\"")                                 \
    X(DROPPED_OUTPUT, DROPPED, "reason=\"output\"")                                           \
    X(DROPPED_SEND, DROPPED, "reason=\"send\"")                                               \
    X(PENDING, PENDING, "")                                                                   \
    X(TCP_CONNECTIONS, TCP_CONNECTIONS, "transport=\"tcp\"")                                  \
    X(TCP_CLOSES_PEER, TCP_CLOSES, "transport=\"tcp\",reason=\"peer\"")                       \
    X(TCP_CLOSES_RESET, TCP_CLOSES, "transport=\"tcp\",reason=\"reset\"")                     \
    X(TCP_CLOSES_FRAME, TCP_CLOSES, "transport=\"tcp\",reason=\"frame\"")                     \
    X(TCP_CLOSES_IDLE, TCP_CLOSES, "transport=\"tcp\",reason=\"idle\"")                       \
    X(TCP_CLOSES_MESSAGE_TIMEOUT, TCP_CLOSES, "transport=\"tcp\",reason=\"message_timeout\"") \
    X(TCP_CLOSES_WRITE_TIMEOUT, TCP_CLOSES, "transport=\"tcp\",reason=\"write_timeout\"")     \
    X(TCP_CLOSES_OUTPUT, TCP_CLOSES, "transport=\"tcp\",reason=\"output\"")                   \
    X(TCP_CLOSES_LIMIT, TCP_CLOSES, "transport=\"tcp\",reason=\"limit\"")                     \
    X(TCP_CLOSES_CLIENT_LIMIT, TCP_CLOSES, "transport=\"tcp\",reason=\"client_limit\"")       \
    X(TCP_CLOSES_PRESSURE, TCP_CLOSES, "transport=\"tcp\",reason=\"pressure\"")               \
    X(TCP_CLOSES_MEMORY, TCP_CLOSES, "transport=\"tcp\",reason=\"memory\"")                   \
    X(TCP_CLOSES_DRAIN, TCP_CLOSES, "transport=\"tcp\",reason=\"drain\"")                     \
    X(TCP_PASSED, TCP_PASSED, "transport=\"tcp\"")                                            \
    X(JOINED, JOINED, "")                                                                     \
    X(CACHE_HIT, CACHE_LOOKUPS, "result=\"hit\"")                                             \
    X(CACHE_MISS, CACHE_LOOKUPS, "result=\"miss\"")                                           \
    X(CACHE_ENTRIES, CACHE_ENTRIES, "")                                                       \
    X(CACHE_BYTES, CACHE_BYTES, "")                                                           \
    X(CACHE_EVICTIONS, CACHE_EVICTIONS, "")                                                   \
    X(LOG_DROPPED, LOG_DROPPED, "")                                                           \
    X(ENGINE_RESTARTS, ENGINE_RESTARTS, "")                                                   \
    X(CONFIG_RELOADS_OK, CONFIG_RELOADS, "result=\"ok\"")                                     \
    X(CONFIG_RELOADS_FAILED, CONFIG_RELOADS, "result=\"failed\"")                             \
    X(SANDBOX_DEGRADED, SANDBOX_DEGRADED, "")

/* Meters that each upstream has: id, family, labels besides upstream="…". */
#define METRICS_UPSTREAM_METERS(X)                                          \
    X(ANSWER, UPSTREAM_QUERIES, "outcome=\"answer\"")                       \
    X(FAILURE, UPSTREAM_QUERIES, "outcome=\"failure\"")                     \
    X(MALFORMED, UPSTREAM_QUERIES, "outcome=\"malformed\"")                 \
    X(MISMATCH, UPSTREAM_QUERIES, "outcome=\"mismatch\"")                   \
    X(LATE, UPSTREAM_QUERIES, "outcome=\"late\"")                           \
    X(TRUNCATED, UPSTREAM_QUERIES, "outcome=\"truncated\"")                 \
    X(TIMEOUT, UPSTREAM_QUERIES, "outcome=\"timeout\"")                     \
    X(CLOSED, UPSTREAM_QUERIES, "outcome=\"closed\"")                       \
    X(SUPERSEDED, UPSTREAM_QUERIES, "outcome=\"superseded\"")               \
    X(RECORDS, UPSTREAM_RECORDS, "")                                        \
    X(UP, UPSTREAM_UP, "")                                                  \
    X(CONNECTIONS, UPSTREAM_CONNECTIONS, "")                                \
    X(CONNECTS_FULL, UPSTREAM_CONNECTS, "resumed=\"false\"")                \
    X(CONNECTS_RESUMED, UPSTREAM_CONNECTS, "resumed=\"true\"")              \
    X(CLOSES_IDLE, UPSTREAM_CLOSES, "reason=\"idle\"")                      \
    X(CLOSES_IN_FLIGHT, UPSTREAM_CLOSES, "reason=\"in_flight\"")            \
    X(CLOSES_MISMATCH, UPSTREAM_CLOSES, "reason=\"mismatch\"")              \
    X(CLOSES_MALFORMED, UPSTREAM_CLOSES, "reason=\"malformed\"")            \
    X(CLOSES_SILENT, UPSTREAM_CLOSES, "reason=\"silent\"")                  \
    X(CLOSES_DEAD_PATH, UPSTREAM_CLOSES, "reason=\"dead_path\"")            \
    X(CLOSES_NETWORK, UPSTREAM_CLOSES, "reason=\"network\"")                \
    X(CLOSES_AGE, UPSTREAM_CLOSES, "reason=\"age\"")                        \
    X(CLOSES_REFRESH, UPSTREAM_CLOSES, "reason=\"refresh\"")                \
    X(CLOSES_UNUSED, UPSTREAM_CLOSES, "reason=\"unused\"")                  \
    X(CLOSES_EXHAUSTED, UPSTREAM_CLOSES, "reason=\"exhausted\"")            \
    X(TLS_EXPIRED, UPSTREAM_TLS_FAILURES, "reason=\"expired\"")             \
    X(TLS_NOT_YET_VALID, UPSTREAM_TLS_FAILURES, "reason=\"not_yet_valid\"") \
    X(TLS_WRONG_CLOCK, UPSTREAM_TLS_FAILURES, "reason=\"wrong_clock\"")     \
    X(TLS_WRONG_NAME, UPSTREAM_TLS_FAILURES, "reason=\"wrong_name\"")       \
    X(TLS_SELF_SIGNED, UPSTREAM_TLS_FAILURES, "reason=\"self_signed\"")     \
    X(TLS_UNKNOWN_CA, UPSTREAM_TLS_FAILURES, "reason=\"unknown_ca\"")       \
    X(TLS_BAD_CHAIN, UPSTREAM_TLS_FAILURES, "reason=\"bad_chain\"")         \
    X(TLS_PURPOSE, UPSTREAM_TLS_FAILURES, "reason=\"purpose\"")             \
    X(TLS_WEAK, UPSTREAM_TLS_FAILURES, "reason=\"weak\"")                   \
    X(TLS_PIN, UPSTREAM_TLS_FAILURES, "reason=\"pin\"")                     \
    X(TLS_VERSION, UPSTREAM_TLS_FAILURES, "reason=\"version\"")             \
    X(TLS_CIPHER, UPSTREAM_TLS_FAILURES, "reason=\"cipher\"")               \
    X(TLS_ALPN, UPSTREAM_TLS_FAILURES, "reason=\"alpn\"")                   \
    X(TLS_NOT_TLS, UPSTREAM_TLS_FAILURES, "reason=\"not_tls\"")             \
    X(TLS_ALERT, UPSTREAM_TLS_FAILURES, "reason=\"alert\"")                 \
    X(TLS_CLOSED, UPSTREAM_TLS_FAILURES, "reason=\"closed\"")               \
    X(TLS_OTHER, UPSTREAM_TLS_FAILURES, "reason=\"other\"")                 \
    X(HEDGES_WON, UPSTREAM_HEDGES, "result=\"won\"")                        \
    X(HEDGES_LOST, UPSTREAM_HEDGES, "result=\"lost\"")                      \
    X(HEDGES_DENIED, UPSTREAM_HEDGES, "result=\"denied\"")

enum metrics_meter {
#define X(id, family, labels) METRICS_##id,
    METRICS_METERS(X)
#undef X
        METRICS_METER_COUNT
};

enum metrics_upstream_meter {
#define X(id, family, labels) METRICS_UPSTREAM_##id,
    METRICS_UPSTREAM_METERS(X)
#undef X
        METRICS_UPSTREAM_METER_COUNT
};

/* Durations of requests, by transport and by what answered them. */
enum metrics_request {
    METRICS_REQUEST_UDP_CACHE,
    METRICS_REQUEST_UDP_STALE,
    METRICS_REQUEST_UDP_UPSTREAM,
    METRICS_REQUEST_UDP_LOCAL,
    METRICS_REQUEST_TCP_CACHE,
    METRICS_REQUEST_TCP_STALE,
    METRICS_REQUEST_TCP_UPSTREAM,
    METRICS_REQUEST_TCP_LOCAL,
    METRICS_REQUEST_COUNT
};

typedef atomic_uint_least64_t metrics_value;

struct metrics_histogram {
    metrics_value bucket[METRICS_BUCKETS]; /* the last one is without bound */
    metrics_value sum;                     /* nanoseconds */
};

struct metrics_upstream {
    metrics_value meter[METRICS_UPSTREAM_METER_COUNT];
    struct metrics_histogram duration;
};

/* One worker's page. */
struct metrics_worker {
    _Alignas(64) metrics_value meter[METRICS_METER_COUNT];
    struct metrics_histogram request[METRICS_REQUEST_COUNT];
    struct metrics_upstream upstream[METRICS_UPSTREAMS_MAX];
};

/* The whole mapping. */
struct metrics {
    uint32_t version;
    uint32_t workers;    /* pages that follow; the last one is the supervising process's own */
    uint32_t upstreams;  /* labels that are set */
    uint32_t is_retired; /* the engine finishes what it has: its servers' state is no longer shown */
    char label[METRICS_UPSTREAMS_MAX][METRICS_LABEL_MAX]; /* terminated */
    bool is_down[METRICS_UPSTREAMS_MAX]; /* for all workers: one that has not asked it lately does not know */
    struct metrics_worker worker[];
};

/* ---- the mapping and its meters (counters.c, histogram.c) ---- */

/* A zeroed mapping with a page for each of `workers` workers (0 or more) and one more; `descriptor` as
 * memory_share tells. ERROR_MEMORY. */
int metrics_open(size_t workers, struct metrics **out, int *descriptor);
void metrics_close(struct metrics *metrics, int descriptor);

/* The bytes of such a mapping. */
size_t metrics_memory(size_t workers);

/* Gives an upstream's meters their label, which is escaped when it is written out. */
void metrics_label_upstream(struct metrics *metrics, size_t upstream, const char *label);

/* The single writer's way to count. */
static inline void metrics_add(metrics_value *value, uint64_t amount)
{
    uint64_t old = atomic_load_explicit(value, memory_order_relaxed);
    atomic_store_explicit(value, old + amount, memory_order_relaxed);
}

static inline void metrics_subtract(metrics_value *value, uint64_t amount)
{
    metrics_add(value, 0 - amount);
}

static inline void metrics_set(metrics_value *value, uint64_t amount)
{
    atomic_store_explicit(value, amount, memory_order_relaxed);
}

void metrics_observe(struct metrics_histogram *histogram, uint64_t nanoseconds);

/* Maps what another process opened. ERROR_INVALID when its version or its size is not ours, ERROR_MEMORY. */
int metrics_adopt(int descriptor, size_t size, struct metrics **out);

/* Which upstream has the label; the number of them when none has. */
size_t metrics_find_upstream(const struct metrics *metrics, const char *label);

/* Adds the counts of an engine that is gone, its gauges apart, to the total's own page; upstreams that the
 * total has no label for are forgotten. */
void metrics_fold(struct metrics *total, const struct metrics *gone);

/* The total has the upstreams of this mapping from now on, with what it counted for them. */
void metrics_take_labels(struct metrics *total, const struct metrics *now);

/* What the workers have found out together, whatever the one or other has last seen of this upstream. */
void metrics_show_down(struct metrics *metrics, const char *label, bool is_down);

void metrics_retire(struct metrics *metrics);

/* The sum over all workers. */
uint64_t metrics_sum(const struct metrics *metrics, enum metrics_meter meter);

/* ---- kinds of meters (text.c) ---- */

bool metrics_meter_is_gauge(size_t meter);
bool metrics_upstream_meter_is_gauge(size_t meter);

/* ---- the text (text.c) ---- */

/* Receives the exposition in pieces. */
struct metrics_sink {
    void (*write)(struct metrics_sink *sink, struct span text);
};

/* Everything in the Prometheus text exposition format, version 0.0.4: the sums of all mappings. */
void metrics_text(const struct metrics *const *all, size_t count, struct metrics_sink *sink);

#endif
