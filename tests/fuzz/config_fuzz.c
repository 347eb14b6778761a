/*
 * Files of configuration: whatever the bytes are, either there is a complaint and no configuration, or none
 * and one that prints as a file which reads as the same configuration again. Complaints are printable ASCII.
 */
#include <string.h>

#include "base/error.h"

#include "config/config.h"

#include "target.h"

enum { PRINTED_MAX = 8 << 20 };

struct printed {
    struct config_sink sink;
    char *text;
    size_t size;
};

struct complaints {
    struct config_report report;
    size_t count;
};

static void note_text(struct config_sink *sink, struct span text)
{
    struct printed *printed = (struct printed *)(void *)((char *)sink - offsetof(struct printed, sink));
    must(printed->size + text.size <= PRINTED_MAX);
    if (text.size > 0) {
        memcpy(printed->text + printed->size, text.data, text.size);
    }
    printed->size += text.size;
}

static void note_error(struct config_report *report, const char *line)
{
    ((struct complaints *)(void *)((char *)report - offsetof(struct complaints, report)))->count++;
    for (; *line != '\0'; line++) {
        must(*line >= 0x20 && *line < 0x7f);
    }
}

static struct config *read_file(struct span text)
{
    struct complaints complaints = {.report.error = note_error};
    struct config_sources sources = {.text = text, .file_read = true};
    struct config *config = NULL;
    int error = config_build(&sources, &complaints.report, &config);
    must(error == (complaints.count > 0 ? ERROR_INVALID : 0));
    must((error == 0) == (config != NULL));
    return config;
}

static struct printed print(const struct config *config)
{
    struct printed printed = {.sink.write = note_text, .text = malloc(PRINTED_MAX)};
    must(printed.text != NULL);
    config_print(config, &printed.sink);
    return printed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config = read_file(span_of(data, size));
    if (config == NULL) {
        return 0;
    }
    struct printed first = print(config);
    struct config *again = read_file(span_of(first.text, first.size));
    must(again != NULL);
    struct printed second = print(again);
    must(span_equal(span_of(first.text, first.size), span_of(second.text, second.size)));
    free(first.text);
    free(second.text);
    config_free(config);
    config_free(again);
    return 0;
}
