/*
 * Writes to standard output what the documentation takes from the table of options: `manual` (Markdown),
 * `roff` (a part of dnseal.yaml(5)) or `schema` (JSON Schema); and what it takes from the lists of system
 * calls: `sandbox` (Markdown).
 */
#include <stdio.h>
#include <string.h>

#include "config/config.h"

#include "engine/calls.h"

static void write_out(struct config_sink *sink, struct span text)
{
    (void)sink;
    fwrite(text.data, 1, text.size, stdout);
}

static const char sandbox_head[] =
    "# The sandbox\n\n"
    "This file is generated from the lists in `src/engine/calls.c`; `tools/make_docs sandbox` writes it "
    "anew.\n\n"
    "The engine, the process that reads what strangers send, lives in three layers, which the option "
    "`sandbox` "
    "switches. Each is for good: nothing in the process can take it off.\n\n"
    "- **No files.** Started as root it gets an empty root: the directory of a thread that is no more "
    "(`engine_leave_root`). Landlock takes every right to files away, whoever started it (`landlock_take`), "
    "and where the kernel knows how, the binding of TCP ports, abstract sockets and signals to others. Log, "
    "sockets and memory are descriptors that it got from the monitor.\n"
    "- **No rights.** No user but its own, no groups, no capabilities, no_new_privs (`privileges_drop`); its "
    "memory "
    "goes into no core dump and is not shown to other processes of the same user "
    "(`privileges_forbid_dumps`).\n"
    "- **Few system calls.** When all threads are there, and before one of them reads a byte, one filter is "
    "put on "
    "all of them, and on each thread its own, narrower one (`sandbox_shut`).\n\n"
    "What a filter does not know it answers with ENOSYS, as a kernel that is older would: libraries go "
    "another way "
    "then. What only somebody would call who has taken the engine over ends it: SIGSYS, an event `sandbox` "
    "with the "
    "call's name and number in the monitor's log, and another engine. Calls of another kind of machine (32 "
    "bit, x32) "
    "kill the process. Builds with a sanitizer may read files and make some more calls "
    "(`src/engine/calls_sanitized.c`).\n\n";

static void print_cell(const char *text)
{
    printf(" %s |", text != NULL ? text : "");
}

static void print_allowed(void)
{
    struct calls_list list = calls_allowed();
    puts("## Calls that are made\n\n"
         "*Dialler* is the process of `--check --connect`.\n\n"
         "| Call | Worker | Log | Main thread | Dialler | Only | For |\n"
         "| --- | --- | --- | --- | --- | --- | --- |");
    for (size_t i = 0; i < list.count; i++) {
        const struct calls_rule *rule = &list.rules[i];
        printf("| `%s` |", rule->name);
        for (enum calls_thread thread = CALLS_WORKER; thread <= CALLS_DIAL; thread *= 2) {
            print_cell(rule->threads & thread ? "yes" : "");
        }
        print_cell(rule->when);
        print_cell(rule->what);
        putchar('\n');
    }
}

static void print_trapped(void)
{
    struct calls_list list = calls_trapped();
    puts("\n## Calls that end the engine\n\n"
         "| Call | When | What it would be for |\n"
         "| --- | --- | --- |");
    for (size_t i = 0; i < list.count; i++) {
        printf("| `%s` |", list.rules[i].name);
        print_cell(list.rules[i].when);
        print_cell(list.rules[i].what);
        putchar('\n');
    }
}

static void print_sandbox(void)
{
    fputs(sandbox_head, stdout);
    print_allowed();
    print_trapped();
}

int main(int argc, char **argv)
{
    struct config_sink sink = {.write = write_out};
    const char *wanted = argc == 2 ? argv[1] : "";
    if (strcmp(wanted, "manual") == 0) {
        config_print_manual(&sink);
    } else if (strcmp(wanted, "roff") == 0) {
        config_print_roff(&sink);
    } else if (strcmp(wanted, "schema") == 0) {
        config_print_schema(&sink);
    } else if (strcmp(wanted, "sandbox") == 0) {
        print_sandbox();
    } else {
        fputs("usage: make_docs manual|roff|schema|sandbox\n", stderr);
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
