/*
 * The meters as text, in the Prometheus exposition format. Sums are taken over the workers' pages; each
 * family is written once, with its help and type before its samples.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

#include "metrics/buckets.h"
#include "metrics/metrics.h"

enum kind { COUNTER, GAUGE };

enum family {
#define X(id, kind, name, help) FAMILY_##id,
    METRICS_FAMILIES(X)
#undef X
        FAMILY_COUNT
};

static const struct {
    enum kind kind;
    const char *name, *help;
} families[FAMILY_COUNT] = {
#define X(id, kind, name, help) [FAMILY_##id] = {kind, name, help},
    METRICS_FAMILIES(X)
#undef X
};

struct meter {
    enum family family;
    const char *labels;
};

static const struct meter meters[METRICS_METER_COUNT] = {
#define X(id, family, labels) [METRICS_##id] = {FAMILY_##family, labels},
    METRICS_METERS(X)
#undef X
};

static const struct meter upstream_meters[METRICS_UPSTREAM_METER_COUNT] = {
#define X(id, family, labels) [METRICS_UPSTREAM_##id] = {FAMILY_##family, labels},
    METRICS_UPSTREAM_METERS(X)
#undef X
};

static const char *const request_labels[METRICS_REQUEST_COUNT] = {
    [METRICS_REQUEST_UDP_CACHE] = "transport=\"udp\",source=\"cache\"",
    [METRICS_REQUEST_TCP_CACHE] = "transport=\"tcp\",source=\"cache\"",
    [METRICS_REQUEST_UDP_STALE] = "transport=\"udp\",source=\"stale\"",
    [METRICS_REQUEST_TCP_STALE] = "transport=\"tcp\",source=\"stale\"",
    [METRICS_REQUEST_UDP_UPSTREAM] = "transport=\"udp\",source=\"upstream\"",
    [METRICS_REQUEST_UDP_LOCAL] = "transport=\"udp\",source=\"local\"",
    [METRICS_REQUEST_TCP_UPSTREAM] = "transport=\"tcp\",source=\"upstream\"",
    [METRICS_REQUEST_TCP_LOCAL] = "transport=\"tcp\",source=\"local\"",
};

static const char *const bound_texts[METRICS_BUCKETS] = {
#define X(microseconds, text) text,
    METRICS_BOUNDS(X)
#undef X
        "+Inf"};

enum { LINE_SIZE = 1024, LABELS_SIZE = 512 };

static void write_line(struct metrics_sink *sink, const char *line, int length)
{
    if (length > 0 && length < LINE_SIZE) {
        sink->write(sink, span_of(line, (size_t)length));
    }
}

static void write_head(struct metrics_sink *sink, const char *name, const char *help, const char *type)
{
    char line[LINE_SIZE];
    write_line(sink, line,
               snprintf(line, sizeof line, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type));
}

static void write_sample(struct metrics_sink *sink, const char *name, const char *labels, uint64_t value)
{
    char line[LINE_SIZE];
    const char *format = labels[0] == '\0' ? "%s%s %" PRIu64 "\n" : "%s{%s} %" PRIu64 "\n";
    write_line(sink, line, snprintf(line, sizeof line, format, name, labels, value));
}

/* upstream="…" with the escapes of the format, and further labels behind it. */
static void upstream_labels(const char *label, const char *more, char out[LABELS_SIZE])
{
    struct bytes_writer writer = bytes_writer_of((uint8_t *)out, LABELS_SIZE - 1);
    bytes_write(&writer, span_text("upstream=\""));
    for (const char *at = label; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            bytes_write_u8(&writer, '\\');
        }
        bytes_write_u8(&writer, *at == '\n' ? ' ' : (uint8_t)*at);
    }
    bytes_write_u8(&writer, '"');
    if (more[0] != '\0') {
        bytes_write_u8(&writer, ',');
        bytes_write(&writer, span_text(more));
    }
    out[bytes_written(&writer)] = '\0';
}

/* All mappings, and where their sums go. */
struct page {
    const struct metrics *const *all;
    size_t count;
    struct metrics_sink *sink;
    enum family family; /* that is being written */
};

/* Whether a mapping before this one, or this one before, has the label already. */
static bool is_repeated(const struct page *page, size_t mapping, size_t upstream)
{
    const char *label = page->all[mapping]->label[upstream];
    for (size_t i = 0; i < mapping; i++) {
        if (metrics_find_upstream(page->all[i], label) < page->all[i]->upstreams) {
            return true;
        }
    }
    return metrics_find_upstream(page->all[mapping], label) < upstream;
}

static void each_label(const struct page *page, void (*write)(const struct page *, const char *label))
{
    for (size_t i = 0; i < page->count; i++) {
        for (size_t upstream = 0; upstream < page->all[i]->upstreams; upstream++) {
            if (!is_repeated(page, i, upstream)) {
                write(page, page->all[i]->label[upstream]);
            }
        }
    }
}

static uint64_t sum_in(const struct metrics *metrics, size_t upstream, size_t meter)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < metrics->workers; i++) {
        sum +=
            atomic_load_explicit(&metrics->worker[i].upstream[upstream].meter[meter], memory_order_relaxed);
    }
    return sum;
}

static uint64_t sum_upstream(const struct page *page, const char *label, size_t meter)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < page->count; i++) {
        size_t upstream = metrics_find_upstream(page->all[i], label);
        if (upstream == page->all[i]->upstreams) {
            continue;
        }
        bool is_hidden = page->all[i]->is_retired || page->all[i]->is_down[upstream];
        sum += meter == METRICS_UPSTREAM_UP && is_hidden ? 0 : sum_in(page->all[i], upstream, meter);
    }
    return sum;
}

static void write_upstream(const struct page *page, const char *label)
{
    char labels[LABELS_SIZE];
    for (size_t i = 0; i < METRICS_UPSTREAM_METER_COUNT; i++) {
        if (upstream_meters[i].family == page->family) {
            upstream_labels(label, upstream_meters[i].labels, labels);
            write_sample(page->sink, families[page->family].name, labels, sum_upstream(page, label, i));
        }
    }
}

/* What an engine that ends lacks says nothing of the one that serves. */
static uint64_t sum_all(const struct page *page, size_t meter)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < page->count; i++) {
        bool is_past = meter == METRICS_SANDBOX_DEGRADED && page->all[i]->is_retired;
        sum += is_past ? 0 : metrics_sum(page->all[i], (enum metrics_meter)meter);
    }
    return sum;
}

static void write_family(const struct page *page)
{
    const char *name = families[page->family].name;
    write_head(page->sink, name, families[page->family].help,
               families[page->family].kind == COUNTER ? "counter" : "gauge");
    for (size_t i = 0; i < METRICS_METER_COUNT; i++) {
        if (meters[i].family == page->family) {
            write_sample(page->sink, name, meters[i].labels, sum_all(page, i));
        }
    }
    each_label(page, write_upstream);
}

static void add_histogram(struct metrics_histogram *sum, const struct metrics_histogram *part)
{
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        metrics_add(&sum->bucket[i], atomic_load_explicit(&part->bucket[i], memory_order_relaxed));
    }
    metrics_add(&sum->sum, atomic_load_explicit(&part->sum, memory_order_relaxed));
}

static void write_histogram(struct metrics_sink *sink, const char *name, const char *labels,
                            struct metrics_histogram *histogram)
{
    char line[LINE_SIZE];
    uint64_t count = 0;
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        count += atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
        write_line(sink, line,
                   snprintf(line, sizeof line, "%s_bucket{%s,le=\"%s\"} %" PRIu64 "\n", name, labels,
                            bound_texts[i], count));
    }
    double seconds =
        (double)atomic_load_explicit(&histogram->sum, memory_order_relaxed) / (double)CLOCK_SECOND;
    write_line(sink, line, snprintf(line, sizeof line, "%s_sum{%s} %.9f\n", name, labels, seconds));
    write_line(sink, line, snprintf(line, sizeof line, "%s_count{%s} %" PRIu64 "\n", name, labels, count));
}

static void write_requests(const struct page *page)
{
    static const char name[] = "dnseal_request_duration_seconds";
    write_head(page->sink, name, "From a client's query to its answer, by transport and by what answered",
               "histogram");
    for (size_t request = 0; request < METRICS_REQUEST_COUNT; request++) {
        struct metrics_histogram sum = {0};
        for (size_t i = 0; i < page->count; i++) {
            for (size_t k = 0; k < page->all[i]->workers; k++) {
                add_histogram(&sum, &page->all[i]->worker[k].request[request]);
            }
        }
        write_histogram(page->sink, name, request_labels[request], &sum);
    }
}

static const char upstream_duration[] = "dnseal_upstream_duration_seconds";

static void write_upstream_duration(const struct page *page, const char *label)
{
    struct metrics_histogram sum = {0};
    char labels[LABELS_SIZE];
    for (size_t i = 0; i < page->count; i++) {
        size_t upstream = metrics_find_upstream(page->all[i], label);
        for (size_t k = 0; k < page->all[i]->workers && upstream < page->all[i]->upstreams; k++) {
            add_histogram(&sum, &page->all[i]->worker[k].upstream[upstream].duration);
        }
    }
    upstream_labels(label, "", labels);
    write_histogram(page->sink, upstream_duration, labels, &sum);
}

static void write_build_info(struct metrics_sink *sink)
{
    write_head(sink, "dnseal_build_info", "1, with the version that runs as a label", "gauge");
    write_sample(sink, "dnseal_build_info", "version=\"" DNSEAL_VERSION "\"", 1);
}

bool metrics_meter_is_gauge(size_t meter)
{
    return families[meters[meter].family].kind == GAUGE;
}

bool metrics_upstream_meter_is_gauge(size_t meter)
{
    return families[upstream_meters[meter].family].kind == GAUGE;
}

void metrics_text(const struct metrics *const *all, size_t count, struct metrics_sink *sink)
{
    struct page page = {.all = all, .count = count, .sink = sink};
    for (page.family = 0; page.family < FAMILY_COUNT; page.family++) {
        write_family(&page);
    }
    write_requests(&page);
    write_head(sink, upstream_duration, "From a query's way upstream to its answer", "histogram");
    each_label(&page, write_upstream_duration);
    write_build_info(sink);
}
