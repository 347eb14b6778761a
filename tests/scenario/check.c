/* What a play says about meters and log lines. Meters are read as everybody reads them: from the exposition's
 * text. */
#include <stdio.h>
#include <stdlib.h>

#include "world.h"

struct text {
    struct metrics_sink sink;
    struct fake_bytes bytes;
};

static void take_text(struct metrics_sink *sink, struct span text)
{
    fake_bytes_append(&container_of(sink, struct text, sink)->bytes, text);
}

/* A meter is NAME or NAME{LABELS}, written as in the exposition. */
void meter_sentence(struct world *world, struct words *words)
{
    struct text text = {.sink.write = take_text};
    const struct metrics *metrics = world->metrics;
    metrics_text(&metrics, 1, &text.sink);
    fake_bytes_append(&text.bytes, span_of("", 1));
    const char *name = words_next(words);
    size_t size = strlen(name);
    const char *line = (const char *)text.bytes.data;
    while (line != NULL && !(strncmp(line, name, size) == 0 && line[size] == ' ')) {
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    if (line == NULL) {
        play_fails("there is no meter %s", name);
    }
    unsigned long found = strtoul(line + size, NULL, 10);
    fake_bytes_free(&text.bytes);
    if (!words_take(words, "is")) {
        play_fails("a meter is something");
    }
    bool at_least = words_take(words, "at least");
    unsigned long expected = words_number(words);
    if (at_least ? found < expected : found != expected) {
        play_fails("%s is %lu", name, found);
    }
    words_end(words);
}

static bool line_has(const char *line, const char *what)
{
    size_t size = strlen(what);
    for (const char *at = strstr(line, what); at != NULL; at = strstr(at + 1, what)) {
        if (at[-1] == ' ' && (at[size] == ' ' || at[size] == '\0')) {
            return true;
        }
    }
    return false;
}

/* "log has EVENT key=value ...", "log has N EVENT ...", "log has no EVENT ..." */
void log_sentence(struct world *world, struct words *words)
{
    if (!words_take(words, "has")) {
        play_fails("the log has something");
    }
    bool none = words_take(words, "no");
    const char *first = words_next(words);
    char *end;
    unsigned long expected = strtoul(first, &end, 10);
    bool counted = end != first;
    char event[128];
    snprintf(event, sizeof event, "event=%s", counted ? words_next(words) : first);
    unsigned long found = 0;
    for (size_t i = 0; i < world->line_count; i++) {
        bool right = line_has(world->line[i], event);
        for (size_t word = words->next; word < words->count && right; word++) {
            right = line_has(world->line[i], words->word[word]);
        }
        found += right;
    }
    if (none || counted ? found != (none ? 0 : expected) : found == 0) {
        for (size_t i = 0; i < world->line_count; i++) {
            fprintf(stderr, "log: %s\n", world->line[i]);
        }
        play_fails("the log has %lu such lines", found);
    }
}
