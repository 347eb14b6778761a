/*
 * What commands do that are answered at once, and what the answers say: the metrics, the cache's flush,
 * health. They come in by control.c, which knows who asked and sends the answer.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#include "monitor/control.h"

enum { LINE_SIZE = 256 };

__attribute__((format(printf, 2, 3))) static void say(struct metrics_sink *sink, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    sink->write(sink, span_of(line, (size_t)size < sizeof line ? (size_t)size : sizeof line - 1));
}

static void log_flush(struct boot *boot, const char *what, uint64_t forgotten)
{
    if (log_begin(&boot->journal.log, LOG_INFO, "cache_flush")) {
        log_text(&boot->journal.log, "what", what);
        log_number(&boot->journal.log, "entries", (int64_t)forgotten);
        journal_end(&boot->journal);
    }
}

/* Whether the byte is part of what a backslash before it began. */
static bool is_escaped(const char *text, size_t at)
{
    size_t begin = at;
    while (begin > 0 && text[begin - 1] == '\\') {
        begin--;
    }
    return (at - begin) % 2 == 1;
}

/* `what`: nothing, a name, or a name and the word below. It is cut into. */
static int forget(struct cache *cache, char *what, uint64_t *forgotten)
{
    static const char below[] = " below";
    size_t size = strlen(what), tail = sizeof below - 1;
    if (size == 0) {
        struct cache_numbers numbers;
        cache_count(cache, &numbers);
        cache_clear(cache);
        *forgotten = numbers.entries;
        return 0;
    }
    bool is_below = size > tail && strcmp(what + size - tail, below) == 0 && !is_escaped(what, size - tail);
    if (is_below) {
        what[size - tail] = '\0';
    }
    return keep_forget(cache, what, is_below, forgotten);
}

static uint32_t flush(struct boot *boot, const char *what, struct metrics_sink *sink)
{
    char words[CONTROL_COMMAND_SIZE];
    uint64_t forgotten;
    if (boot->cache.head == NULL) {
        say(sink, "nothing is kept: cache.size is 0\n");
        return 1;
    }
    snprintf(words, sizeof words, "%s", what);
    if (forget(&boot->cache, words, &forgotten) != 0) {
        say(sink,
            "not a name (in one, \"\\ \" is a space and \"\\\\\" a backslash); known are: flush, flush NAME, "
            "flush NAME below\n");
        return 2;
    }
    keeper_renew(boot->keeper);
    log_flush(boot, what, forgotten);
    say(sink, "%ju entries forgotten\n", (uintmax_t)forgotten);
    return 0;
}

/* Whether some server of the group that is asked where nothing else is said may be asked for more than in
 * vain. */
static bool has_server(const struct boot *boot)
{
    const struct config *config = boot->plan->config;
    for (size_t i = 0; i < boot->plan->upstreams_used; i++) {
        if (config->upstreams[i].group == config->rest && !upstream_facts_is_down(boot->plan->facts, i)) {
            return true;
        }
    }
    return false;
}

uint32_t command_health(const struct boot *boot, bool is_alive, struct metrics_sink *sink)
{
    if (!boot->serves) {
        say(sink, "not ready: no engine serves\n");
    } else if (!has_server(boot)) {
        const struct config *config = boot->plan->config;
        say(sink, "not ready: every upstream is down (group %s): the log and --check --connect tell why\n",
            config->groups[config->rest].name);
    } else if (!is_alive) {
        say(sink, "not ready: the engine does not answer\n");
    } else {
        say(sink, "ready\n");
        return 0;
    }
    return 1;
}

uint32_t command_obey(struct boot *boot, const char *command, struct metrics_sink *sink)
{
    static const char flush_of[] = "flush ";
    size_t size = sizeof flush_of - 1;
    if (strcmp(command, "status") == 0) {
        boot_write_metrics(boot, sink);
        return 0;
    }
    if (strcmp(command, "flush") == 0) {
        return flush(boot, "", sink);
    }
    if (strncmp(command, flush_of, size) == 0 && command[size] != '\0') {
        return flush(boot, command + size, sink);
    }
    say(sink, "unknown command; known are: " CONTROL_COMMANDS "\n");
    return 2;
}
