/* The meters and their text, which is read here by a small reader of the exposition format (0.0.4). */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/list.h"
#include "base/memory.h"

#include "metrics/metrics.h"

enum { TEXT_MAX = 1 << 20, SAMPLES_MAX = 4096, NAME_MAX_SIZE = 128, LABELS_MAX = 512 };

struct sample {
    char name[NAME_MAX_SIZE], labels[LABELS_MAX];
    double value;
};

/* What the reader has found. */
struct exposition {
    struct metrics_sink sink;
    char text[TEXT_MAX];
    size_t size;
    struct sample samples[SAMPLES_MAX];
    size_t sample_count;
    char families[64][NAME_MAX_SIZE], types[64][16];
    size_t family_count;
    char helped[NAME_MAX_SIZE]; /* the family whose HELP came last */
};

static struct exposition exposition;

static void gather(struct metrics_sink *sink, struct span text)
{
    struct exposition *out = container_of(sink, struct exposition, sink);
    assert_true(out->size + text.size < sizeof out->text);
    memcpy(out->text + out->size, text.data, text.size);
    out->size += text.size;
}

/* ---- the reader ---- */

static size_t read_name(const char *line)
{
    size_t size = strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789");
    assert_true(size > 0 && size < NAME_MAX_SIZE && !isdigit((unsigned char)line[0]));
    return size;
}

/* A quoted value with the escapes \\, \" and \n, none else. */
static size_t read_label_value(const char *at)
{
    size_t size = 1;
    assert_int_equal(at[0], '"');
    for (; at[size] != '"'; size++) {
        assert_true(at[size] != '\0' && at[size] != '\n');
        if (at[size] == '\\') {
            size++;
            assert_non_null(memchr("\\\"n", at[size], 3));
        }
    }
    return size + 1;
}

static size_t read_labels(const char *at)
{
    size_t size = 0;
    do {
        size++; /* the brace or the comma */
        size_t name = read_name(at + size);
        assert_null(memchr(at + size, ':', name));
        size += name;
        assert_int_equal(at[size++], '=');
        size += read_label_value(at + size);
    } while (at[size] == ',');
    assert_int_equal(at[size], '}');
    return size + 1;
}

static bool is_of_family(const char *name, const char *family, const char *type)
{
    size_t size = strlen(family);
    if (strncmp(name, family, size) != 0) {
        return false;
    }
    const char *rest = name + size;
    if (strcmp(type, "histogram") != 0) {
        return rest[0] == '\0';
    }
    return strcmp(rest, "_bucket") == 0 || strcmp(rest, "_sum") == 0 || strcmp(rest, "_count") == 0;
}

static void read_sample(struct exposition *out, const char *line)
{
    struct sample *sample = &out->samples[out->sample_count++];
    assert_in_range(out->sample_count, 1, SAMPLES_MAX - 1);
    size_t name = read_name(line);
    size_t labels = line[name] == '{' ? read_labels(line + name) : 0;
    memcpy(sample->name, line, name);
    sample->name[name] = '\0';
    memcpy(sample->labels, line + name, labels);
    sample->labels[labels] = '\0';
    assert_int_equal(line[name + labels], ' ');
    char *end;
    sample->value = strtod(line + name + labels + 1, &end);
    assert_int_equal(*end, '\0');
    /* In its family's place, behind its head. */
    assert_true(out->family_count > 0);
    assert_true(
        is_of_family(sample->name, out->families[out->family_count - 1], out->types[out->family_count - 1]));
    for (size_t i = 0; i + 1 < out->sample_count; i++) {
        assert_false(strcmp(out->samples[i].name, sample->name) == 0 &&
                     strcmp(out->samples[i].labels, sample->labels) == 0);
    }
}

static void read_help(struct exposition *out, const char *line)
{
    size_t name = read_name(line);
    assert_int_equal(line[name], ' ');
    assert_true(strlen(line + name) > 10);
    memcpy(out->helped, line, name);
    out->helped[name] = '\0';
    for (size_t i = 0; i < out->family_count; i++) {
        assert_string_not_equal(out->families[i], out->helped);
    }
}

static void read_type(struct exposition *out, const char *line)
{
    size_t name = read_name(line), number = out->family_count++;
    assert_in_range(number, 0, 63);
    memcpy(out->families[number], line, name);
    out->families[number][name] = '\0';
    assert_string_equal(out->families[number], out->helped);
    const char *type = line + name + 1;
    assert_true(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0 || strcmp(type, "histogram") == 0);
    snprintf(out->types[number], sizeof out->types[number], "%s", type);
    const char *total = strstr(out->families[number], "_total");
    bool ends_in_total = total != NULL && strlen(total) == strlen("_total");
    assert_int_equal(ends_in_total, strcmp(type, "counter") == 0);
}

static void read_line(struct exposition *out, const char *line)
{
    if (strncmp(line, "# HELP ", 7) == 0) {
        read_help(out, line + 7);
    } else if (strncmp(line, "# TYPE ", 7) == 0) {
        read_type(out, line + 7);
    } else {
        read_sample(out, line);
    }
}

static void expose_all(const struct metrics *const *all, size_t count)
{
    exposition = (struct exposition){.sink.write = gather};
    metrics_text(all, count, &exposition.sink);
    assert_true(exposition.size > 0 && exposition.text[exposition.size - 1] == '\n');
    for (char *line = exposition.text, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        *end = '\0';
        read_line(&exposition, line);
    }
}

static void expose(const struct metrics *metrics)
{
    expose_all(&metrics, 1);
}

static double value_of(const char *name, const char *labels)
{
    for (size_t i = 0; i < exposition.sample_count; i++) {
        struct sample *sample = &exposition.samples[i];
        if (strcmp(sample->name, name) == 0 && strcmp(sample->labels, labels) == 0) {
            return sample->value;
        }
    }
    fail_msg("no sample %s%s", name, labels);
    return -1;
}

/* ---- the tests ---- */

static struct metrics *metrics_of(size_t workers, int *descriptor)
{
    struct metrics *metrics;
    assert_int_equal(metrics_open(workers, &metrics, descriptor), 0);
    return metrics;
}

static void assert_value(const char *name, const char *labels, double expected)
{
    double value = value_of(name, labels);
    if (value < expected - 1e-9 || value > expected + 1e-9) {
        fail_msg("%s%s is %f and not %f", name, labels, value, expected);
    }
}

static void a_new_mapping_says_zero_everywhere(void **state)
{
    (void)state;
    int descriptor;
    struct metrics *metrics = metrics_of(2, &descriptor);
    assert_int_equal(metrics->workers, 3);
    expose(metrics);
    assert_true(exposition.sample_count > 40);
    for (size_t i = 0; i < exposition.sample_count; i++) {
        bool info = strcmp(exposition.samples[i].name, "dnseal_build_info") == 0;
        assert_true(exposition.samples[i].value == (info ? 1 : 0));
    }
    assert_value("dnseal_build_info", "{version=\"" DNSEAL_VERSION "\"}", 1);
    metrics_close(metrics, descriptor);
}

static void every_meter_is_written_once(void **state)
{
    (void)state;
    int descriptor;
    struct metrics *metrics = metrics_of(1, &descriptor);
    for (size_t i = 0; i < METRICS_UPSTREAMS_MAX; i++) {
        char label[32];
        snprintf(label, sizeof label, "tls://192.0.2.%zu:853#a", i);
        metrics_label_upstream(metrics, i, label);
    }
    expose(metrics);
    size_t histograms = METRICS_REQUEST_COUNT + METRICS_UPSTREAMS_MAX;
    assert_int_equal(exposition.sample_count, METRICS_METER_COUNT + 1 +
                                                  METRICS_UPSTREAMS_MAX * METRICS_UPSTREAM_METER_COUNT +
                                                  histograms * (METRICS_BUCKETS + 2));
    metrics_close(metrics, descriptor);
}

static void values_are_summed_over_all_pages(void **state)
{
    (void)state;
    int descriptor;
    struct metrics *metrics = metrics_of(3, &descriptor);
    metrics_label_upstream(metrics, 0, "a");
    metrics_label_upstream(metrics, 1, "b");
    for (size_t i = 0; i < metrics->workers; i++) {
        metrics_add(&metrics->worker[i].meter[METRICS_QUERIES_UDP], 1000 + i);
        metrics_add(&metrics->worker[i].upstream[1].meter[METRICS_UPSTREAM_ANSWER], 10);
        metrics_set(&metrics->worker[i].meter[METRICS_PENDING], 5);
    }
    metrics_subtract(&metrics->worker[2].meter[METRICS_PENDING], 2);
    assert_int_equal(metrics_sum(metrics, METRICS_QUERIES_UDP), 4006);
    expose(metrics);
    assert_value("dnseal_queries_total", "{transport=\"udp\"}", 4006);
    assert_value("dnseal_queries_total", "{transport=\"tcp\"}", 0);
    assert_value("dnseal_pending_queries", "", 18);
    assert_value("dnseal_upstream_queries_total", "{upstream=\"a\",outcome=\"answer\"}", 0);
    assert_value("dnseal_upstream_queries_total", "{upstream=\"b\",outcome=\"answer\"}", 40);
    metrics_close(metrics, descriptor);
}

static void observe_in(struct metrics *metrics, size_t worker, uint64_t nanoseconds)
{
    metrics_observe(&metrics->worker[worker].request[METRICS_REQUEST_UDP_UPSTREAM], nanoseconds);
}

/* A bound belongs to its bucket: le is "less or equal". */
static void durations_fall_on_the_right_side_of_a_bound(void **state)
{
    (void)state;
    int descriptor;
    struct metrics *metrics = metrics_of(2, &descriptor);
    observe_in(metrics, 0, 0);
    observe_in(metrics, 1, 100 * CLOCK_MICROSECOND);
    observe_in(metrics, 0, 100 * CLOCK_MICROSECOND + 1);
    observe_in(metrics, 1, CLOCK_SECOND);
    observe_in(metrics, 0, 5 * CLOCK_SECOND);
    observe_in(metrics, 0, 5 * CLOCK_SECOND + 1);
    observe_in(metrics, 0, 3600 * CLOCK_SECOND);
    expose(metrics);
    const char *name = "dnseal_request_duration_seconds_bucket";
    assert_value(name, "{transport=\"udp\",source=\"upstream\",le=\"0.0001\"}", 2);
    assert_value(name, "{transport=\"udp\",source=\"upstream\",le=\"0.00025\"}", 3);
    assert_value(name, "{transport=\"udp\",source=\"upstream\",le=\"0.5\"}", 3);
    assert_value(name, "{transport=\"udp\",source=\"upstream\",le=\"1\"}", 4);
    assert_value(name, "{transport=\"udp\",source=\"upstream\",le=\"5\"}", 5);
    assert_value(name, "{transport=\"udp\",source=\"upstream\",le=\"+Inf\"}", 7);
    assert_value("dnseal_request_duration_seconds_count", "{transport=\"udp\",source=\"upstream\"}", 7);
    assert_value("dnseal_request_duration_seconds_sum", "{transport=\"udp\",source=\"upstream\"}",
                 3600 + 10 + 1 + 0.000200002);
    metrics_close(metrics, descriptor);
}

static void the_bounds_rise_and_the_buckets_are_cumulative(void **state)
{
    (void)state;
    int descriptor;
    struct metrics *metrics = metrics_of(1, &descriptor);
    for (uint64_t duration = 1; duration < 100 * CLOCK_SECOND; duration += duration / 3 + 1) {
        observe_in(metrics, 0, duration);
    }
    expose(metrics);
    double bound = 0, count = 0;
    unsigned buckets = 0;
    for (size_t i = 0; i < exposition.sample_count; i++) {
        const char *le = strstr(exposition.samples[i].labels, "source=\"upstream\",le=\"");
        if (le == NULL || strstr(exposition.samples[i].labels, "udp") == NULL) {
            continue;
        }
        double this_bound = strtod(le + strlen("source=\"upstream\",le=\""), NULL);
        assert_true(this_bound > bound && exposition.samples[i].value > count);
        bound = this_bound;
        count = exposition.samples[i].value;
        buckets++;
    }
    assert_int_equal(buckets, METRICS_BUCKETS);
    metrics_close(metrics, descriptor);
}

/* Shows: regression 18 */
static void labels_are_escaped_and_cut(void **state)
{
    (void)state;
    int descriptor;
    struct metrics *metrics = metrics_of(1, &descriptor);
    char longest[2 * METRICS_LABEL_MAX];
    memset(longest, '"', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    metrics_label_upstream(metrics, 0, "a\"b\\c\nd");
    metrics_label_upstream(metrics, 1, longest);
    expose(metrics);
    assert_value("dnseal_upstream_up", "{upstream=\"a\\\"b\\\\c d\"}", 0);
    assert_int_equal(strlen(metrics->label[1]), METRICS_LABEL_MAX - 1);
    metrics_close(metrics, descriptor);
}

/* All meters of the mapping: those of its upstreams, too. */
static void set_all(struct metrics *metrics, uint64_t value)
{
    for (size_t i = 0; i < metrics->workers; i++) {
        for (size_t meter = 0; meter < METRICS_METER_COUNT; meter++) {
            metrics_set(&metrics->worker[i].meter[meter], value);
        }
        for (size_t upstream = 0; upstream < metrics->upstreams; upstream++) {
            for (size_t meter = 0; meter < METRICS_UPSTREAM_METER_COUNT; meter++) {
                metrics_set(&metrics->worker[i].upstream[upstream].meter[meter], value);
            }
        }
    }
}

static bool is_gauge(const char *name)
{
    for (size_t family = 0; family < exposition.family_count; family++) {
        if (strcmp(name, exposition.families[family]) == 0) {
            return strcmp(exposition.types[family], "gauge") == 0;
        }
    }
    return false;
}

static void assert_samples(const char *labels, double counters, double gauges)
{
    unsigned seen = 0;
    for (size_t i = 0; i < exposition.sample_count; i++) {
        const struct sample *sample = &exposition.samples[i];
        if (strstr(sample->labels, labels) != NULL && strstr(sample->name, "_seconds") == NULL) {
            assert_true(sample->value == (is_gauge(sample->name) ? gauges : counters));
            seen++;
        }
    }
    assert_true(seen > 0);
}

/* What an engine counted stays when it is gone, and what it held goes. */
static void what_is_gone_is_counted_on(void **state)
{
    (void)state;
    int descriptors[2];
    struct metrics *total = metrics_of(0, &descriptors[0]), *gone = metrics_of(2, &descriptors[1]);
    metrics_label_upstream(gone, 0, "old");
    metrics_label_upstream(gone, 1, "both");
    set_all(gone, 7);
    metrics_observe(&gone->worker[1].request[METRICS_REQUEST_UDP_CACHE], 1000);
    metrics_observe(&gone->worker[1].upstream[1].duration, 1000);
    metrics_take_labels(total, gone);
    metrics_fold(total, gone);
    metrics_close(gone, descriptors[1]);
    expose(total);
    assert_samples("upstream=\"both\"", 21, 0);
    assert_samples("transport=\"udp\",rcode=\"NOERROR\"", 21, 0);
    assert_true(value_of("dnseal_request_duration_seconds_count", "{transport=\"udp\",source=\"cache\"}") ==
                1);
    assert_true(value_of("dnseal_upstream_duration_seconds_count", "{upstream=\"both\"}") == 1);
    metrics_close(total, descriptors[0]);
}

/* The total follows the configuration: counts of a server that both have go on, in another place. */
static void labels_move_with_their_counts(void **state)
{
    (void)state;
    int descriptors[2];
    struct metrics *total = metrics_of(0, &descriptors[0]), *now = metrics_of(1, &descriptors[1]);
    metrics_label_upstream(total, 0, "gone");
    metrics_label_upstream(total, 1, "both");
    set_all(total, 5);
    metrics_label_upstream(now, 0, "both");
    metrics_label_upstream(now, 1, "new");
    metrics_take_labels(total, now);
    expose(total);
    assert_samples("upstream=\"both\"", 5, 0);
    assert_samples("upstream=\"new\"", 0, 0);
    for (size_t i = 0; i < exposition.sample_count; i++) {
        assert_null(strstr(exposition.samples[i].labels, "upstream=\"gone\""));
    }
    metrics_close(total, descriptors[0]);
    metrics_close(now, descriptors[1]);
}

/* Two engines beside each other: each upstream stands there once, whatever its number is in each; whether it
 * is up says the newer one alone. */
static void engines_are_added_up_by_label(void **state)
{
    (void)state;
    int descriptors[2];
    struct metrics *all[2] = {metrics_of(1, &descriptors[0]), metrics_of(1, &descriptors[1])};
    metrics_label_upstream(all[0], 0, "x");
    metrics_label_upstream(all[0], 1, "y");
    metrics_label_upstream(all[1], 0, "y");
    metrics_set(&all[0]->worker[0].upstream[1].meter[METRICS_UPSTREAM_ANSWER], 3);
    metrics_set(&all[1]->worker[0].upstream[0].meter[METRICS_UPSTREAM_ANSWER], 4);
    metrics_set(&all[0]->worker[0].upstream[1].meter[METRICS_UPSTREAM_UP], 1);
    metrics_set(&all[1]->worker[0].upstream[0].meter[METRICS_UPSTREAM_UP], 1);
    metrics_set(&all[0]->worker[0].meter[METRICS_SANDBOX_DEGRADED], 2);
    metrics_set(&all[1]->worker[0].meter[METRICS_SANDBOX_DEGRADED], 1);
    metrics_retire(all[0]);
    expose_all((const struct metrics *const *)all, 2);
    assert_true(value_of("dnseal_sandbox_degraded", "") == 1);
    assert_true(value_of("dnseal_upstream_queries_total", "{upstream=\"y\",outcome=\"answer\"}") == 7);
    assert_true(value_of("dnseal_upstream_up", "{upstream=\"y\"}") == 1);
    metrics_show_down(all[1], "y", true);
    metrics_show_down(all[1], "z", true); /* of another configuration */
    expose_all((const struct metrics *const *)all, 2);
    assert_true(value_of("dnseal_upstream_up", "{upstream=\"y\"}") == 0);
    metrics_show_down(all[1], "y", false);
    expose_all((const struct metrics *const *)all, 2);
    assert_true(value_of("dnseal_upstream_up", "{upstream=\"y\"}") == 1);
    unsigned seen = 0;
    for (size_t i = 0; i < exposition.sample_count; i++) {
        const struct sample *sample = &exposition.samples[i];
        seen += strcmp(sample->name, "dnseal_upstream_up") == 0;
    }
    assert_int_equal(seen, 2);
    for (size_t i = 0; i < 2; i++) {
        metrics_close(all[i], descriptors[i]);
    }
}

static void a_mapping_of_another_make_is_not_adopted(void **state)
{
    (void)state;
    int descriptor;
    struct metrics *metrics = metrics_of(2, &descriptor), *adopted;
    size_t size = metrics_memory(2);
    metrics_set(&metrics->worker[2].meter[METRICS_JOINED], 9);
    assert_int_equal(metrics_adopt(descriptor, size, &adopted), 0);
    assert_true(metrics_sum(adopted, METRICS_JOINED) == 9);
    memory_close(adopted, size);
    assert_int_equal(metrics_adopt(descriptor, size - 8, &adopted), ERROR_INVALID);
    assert_int_equal(metrics_adopt(descriptor, 4, &adopted), ERROR_INVALID);
    metrics->version++;
    assert_int_equal(metrics_adopt(descriptor, size, &adopted), ERROR_INVALID);
    metrics->version--;
    metrics->workers = 1000;
    assert_int_equal(metrics_adopt(descriptor, size, &adopted), ERROR_INVALID);
    metrics->workers = 3;
    metrics_close(metrics, descriptor);
}

static void another_process_moves_the_same_meters(void **state)
{
    (void)state;
    int descriptor;
    struct metrics *metrics = metrics_of(1, &descriptor);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        metrics_add(&metrics->worker[0].meter[METRICS_QUERIES_TCP], 3);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(metrics_sum(metrics, METRICS_QUERIES_TCP), 3);
    metrics_close(metrics, descriptor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_mapping_says_zero_everywhere),
        cmocka_unit_test(every_meter_is_written_once),
        cmocka_unit_test(values_are_summed_over_all_pages),
        cmocka_unit_test(durations_fall_on_the_right_side_of_a_bound),
        cmocka_unit_test(the_bounds_rise_and_the_buckets_are_cumulative),
        cmocka_unit_test(labels_are_escaped_and_cut),
        cmocka_unit_test(what_is_gone_is_counted_on),
        cmocka_unit_test(labels_move_with_their_counts),
        cmocka_unit_test(engines_are_added_up_by_label),
        cmocka_unit_test(a_mapping_of_another_make_is_not_adopted),
        cmocka_unit_test(another_process_moves_the_same_meters),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
