/* What is said to whoever started the program, or told it to take another configuration. */
#include <stdarg.h>
#include <stdio.h>

#include "monitor/internal.h"

enum { COMPLAINT_SIZE = 2048 };

static void print_line(struct config_report *report, const char *line)
{
    (void)report;
    fprintf(stderr, "%s\n", line);
}

struct config_report complain_on_standard_error(void)
{
    return (struct config_report){.error = print_line};
}

__attribute__((format(printf, 2, 0))) static void say(struct config_report *report, const char *format,
                                                      va_list arguments)
{
    char line[COMPLAINT_SIZE];
    int head = snprintf(line, sizeof line, "dnseal: ");
    vsnprintf(line + head, sizeof line - (size_t)head, format, arguments);
    report->error(report, line);
}

void complain_to(struct config_report *report, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(report, format, arguments);
    va_end(arguments);
}

void complain(const char *format, ...)
{
    struct config_report report = complain_on_standard_error();
    va_list arguments;
    va_start(arguments, format);
    say(&report, format, arguments);
    va_end(arguments);
}
