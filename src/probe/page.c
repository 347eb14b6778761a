/*
 * The lines of a report: a head for each server, and below it what is known, a label and a text each. What is
 * told of a server has been made printable where it came in. Called by explain.c and report.c.
 */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "probe/internal.h"

enum { LINE_SIZE = 1280, MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

static void write_text(const struct probe_page *page, const char *text)
{
    page->sink->write(page->sink, span_text(text));
}

void probe_page_line(const struct probe_page *page, const char *label, const char *format, ...)
{
    char text[LINE_SIZE], line[LINE_SIZE + 32];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(line, sizeof line, "    %-12s %s\n", label, text);
    write_text(page, line);
}

void probe_page_head(const struct probe_page *page, const char *label, const char *verdict, bool is_bad)
{
    bool is_red = is_bad && page->is_coloured;
    write_text(page, is_red ? "\033[31m" : "");
    write_text(page, label);
    write_text(page, ": ");
    write_text(page, verdict);
    write_text(page, is_red ? "\033[0m\n" : "\n");
}

const char *probe_moment(int64_t seconds, char out[PROBE_MOMENT_SIZE])
{
    struct tm parts;
    time_t moment = (time_t)seconds;
    out[0] = '\0';
    if (gmtime_r(&moment, &parts) != NULL) {
        strftime(out, PROBE_MOMENT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    return out;
}

const char *probe_distance(int64_t seconds, char out[PROBE_MOMENT_SIZE])
{
    int64_t unit = seconds >= 2 * DAY ? DAY : seconds >= 2 * HOUR ? HOUR : MINUTE;
    const char *name = unit == DAY ? "days" : unit == HOUR ? "hours" : "minutes";
    snprintf(out, PROBE_MOMENT_SIZE, "%lld %s", (long long)(seconds / unit), name);
    return out;
}
