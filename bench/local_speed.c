/*
 * What names cost that are answered here: time to build and bytes for each at a million blocked names, and
 * time to ask for names that are blocked, that are not, and that are not where nothing is blocked.
 *
 *     ninja -C build bench/local_speed && build/bench/local_speed
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#include "dns/dns.h"

#include "common.h"
#include "local/local.h"

enum { NAMES = 1000000, ASKS = 4000000, LINE_SIZE = 48 };

/* "a1b2c3.d4e5f6a7b8.com": about as long as what lists hold. */
static size_t name_of(uint32_t number, char out[LINE_SIZE])
{
    static const char *const tops[] = {"com", "net", "org", "de", "co.uk"};
    uint32_t mixed = number * UINT32_C(2654435761);
    return (size_t)snprintf(out, LINE_SIZE, "s%x.host-%08x.%s", mixed >> 20, mixed,
                            tops[number % (sizeof tops / sizeof tops[0])]);
}

static void on_error(struct local_report *report, const char *line)
{
    (void)report;
    bench_fail(line);
}

static struct local *build(struct span list)
{
    struct local_report report = {.error = on_error};
    struct local_options options = {.hash_key = {{1, 2}}, .special_use = true};
    struct local_plan *plan;
    struct local *local;
    if (local_plan_open(&options, &report, &plan) != 0 || local_plan_block(plan, "list", list) != 0 ||
        local_build(plan, &local) != 0) {
        bench_fail("building");
    }
    local_plan_close(plan);
    return local;
}

static size_t question_of(uint32_t number, uint8_t out[DNS_QUESTION_MAX])
{
    char text[LINE_SIZE];
    size_t size = name_of(number, text), label = 0;
    out[0] = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '.') {
            out[label] = (uint8_t)(i - label);
            label = i + 1;
        }
        out[i + 1] = (uint8_t)text[i];
    }
    out[label] = (uint8_t)(size - label);
    memcpy(out + size + 1, "\0\0\1\0\1", 5);
    return size + 6;
}

static void ask(const char *what, const struct local *local, uint32_t first)
{
    enum { QUESTIONS = 65536 };
    static uint8_t questions[QUESTIONS][LINE_SIZE + 8], out[DNS_MESSAGE_MAX];
    static size_t sizes[QUESTIONS];
    for (uint32_t i = 0; i < QUESTIONS; i++) {
        uint8_t question[DNS_QUESTION_MAX];
        sizes[i] = question_of(first + i * 15, question);
        memcpy(questions[i], question, sizes[i]);
    }
    size_t hits = 0, size;
    uint64_t begin = clock_monotonic();
    for (uint32_t i = 0; i < ASKS; i++) {
        struct span question = span_of(questions[i % QUESTIONS], sizes[i % QUESTIONS]);
        hits += local_answer(local, question, out, sizeof out, &size) != LOCAL_UNKNOWN;
    }
    double each = (double)(clock_monotonic() - begin) / ASKS;
    printf("%-44s %6.1f ns  (%.2f %% blocked)\n", what, each, 100.0 * (double)hits / ASKS);
}

int main(void)
{
    char *list = malloc((size_t)NAMES * LINE_SIZE);
    size_t size = 0;
    if (list == NULL) {
        bench_fail("malloc");
    }
    for (uint32_t i = 0; i < NAMES; i++) {
        size += name_of(i, list + size);
        list[size++] = '\n';
    }
    uint64_t begin = clock_monotonic();
    struct local *full = build(span_of(list, size)), *empty = build(span_of(list, 0));
    double seconds = (double)(clock_monotonic() - begin) / 1e9;
    printf("%-44s %6.2f s\n", "to build a million names", seconds);
    printf("%-44s %6.1f B  (the name itself %.1f)\n", "memory for each",
           (double)(local_memory(full) - local_memory(empty)) / NAMES, (double)(size + NAMES) / NAMES);
    ask("a blocked name", full, 0);
    ask("a name that is not", full, NAMES);
    ask("a name where nothing is blocked", empty, 0);
    local_free(full);
    local_free(empty);
    free(list);
    return 0;
}
