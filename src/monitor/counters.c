/* All counters as events of the log, at a signal. */
#include <string.h>

#include "monitor/internal.h"

struct counter_lines {
    struct metrics_sink sink;
    struct boot *boot;
};

static bool is_zero(struct span number)
{
    for (size_t i = 0; i < number.size; i++) {
        if (number.data[i] != '0' && number.data[i] != '.') {
            return false;
        }
    }
    return true;
}

/* A sample a line, those that are not 0. */
static void log_counter(struct metrics_sink *sink, struct span text)
{
    struct boot *boot = container_of(sink, struct counter_lines, sink)->boot;
    const uint8_t *space = memrchr(text.data, ' ', text.size);
    if (text.data[0] == '#' || space == NULL) {
        return;
    }
    size_t name_size = (size_t)(space - text.data);
    struct span value = span_of(space + 1, text.size - name_size - 2);
    if (is_zero(value) || !log_begin(&boot->journal.log, LOG_INFO, "counter")) {
        return;
    }
    log_span(&boot->journal.log, "name", span_of(text.data, name_size));
    log_decimal(&boot->journal.log, "value", value);
    journal_end(&boot->journal);
}

void counters_log(struct boot *boot)
{
    struct counter_lines lines = {.sink.write = log_counter, .boot = boot};
    boot_write_metrics(boot, &lines.sink);
}
