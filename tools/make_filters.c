/*
 * Writes the filters of system calls to standard output, as constants of C, from the lists of
 * src/engine/calls.c. libseccomp translates names and conditions. It works here and not at a start, where it
 * would write to memory that is not its own if it were refused some (2.5.4).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/calls.h"

/* libseccomp: a search tree instead of one comparison behind the other. */
enum { AS_A_TREE = 2, API_LEVEL = 3, LONGEST = 1024, ENGINE = CALLS_WORKER | CALLS_LOG | CALLS_MAIN };

static void must(bool done, const char *what)
{
    if (!done) {
        fprintf(stderr, "make_filters: %s\n", what);
        exit(1);
    }
}

/* A call that this kind of machine does not have is left out. */
static void add_rule(scmp_filter_ctx context, const struct calls_rule *rule, uint32_t action)
{
    struct scmp_arg_cmp comparisons[CALLS_CONDITIONS_MAX];
    unsigned count = 0;
    int number = seccomp_syscall_resolve_name(rule->name);
    must(number != __NR_SCMP_ERROR, rule->name);
    for (; count < CALLS_CONDITIONS_MAX && rule->conditions[count].mask != 0; count++) {
        const struct calls_condition *condition = &rule->conditions[count];
        comparisons[count] =
            SCMP_CMP64(condition->argument, SCMP_CMP_MASKED_EQ, condition->mask, condition->value);
    }
    if (number >= 0) {
        must(seccomp_rule_add_array(context, action, number, count, comparisons) == 0, rule->name);
    }
}

static bool is_of_tools(const char *name)
{
    struct calls_list tools = engine_tools_calls();
    bool found = false;
    for (size_t i = 0; i < tools.count; i++) {
        found |= strcmp(tools.rules[i].name, name) == 0;
    }
    return found;
}

/* What the tools of the build may do in every way needs no rule for each way. */
static void add_rules(scmp_filter_ctx context, unsigned threads)
{
    struct calls_list allowed = calls_allowed(), trapped = calls_trapped(), tools = engine_tools_calls();
    for (size_t i = 0; i < allowed.count; i++) {
        if ((allowed.rules[i].threads & threads) != 0 && !is_of_tools(allowed.rules[i].name)) {
            add_rule(context, &allowed.rules[i], SCMP_ACT_ALLOW);
        }
    }
    for (size_t i = 0; i < trapped.count; i++) {
        if (!is_of_tools(trapped.rules[i].name)) {
            add_rule(context, &trapped.rules[i], SCMP_ACT_TRAP);
        }
    }
    for (size_t i = 0; i < tools.count; i++) {
        add_rule(context, &tools.rules[i], SCMP_ACT_ALLOW);
    }
}

static size_t read_program(scmp_filter_ctx context, struct sock_filter out[LONGEST])
{
    int file = memfd_create("filter", 0);
    must(file >= 0 && seccomp_export_bpf(context, file) == 0, "the filter cannot be written");
    ssize_t size = pread(file, out, LONGEST * sizeof *out, 0);
    must(size > 0 && (size_t)size < LONGEST * sizeof *out, "the filter is too long");
    close(file);
    return (size_t)size / sizeof *out;
}

/* Calls of another kind of machine, which the processor may know as well, have other numbers. Whoever is to
 * take a further filter must be able to. */
static size_t print_filter(const char *name, unsigned threads, bool narrows)
{
    static const struct calls_rule narrowing = {.name = "seccomp"};
    struct sock_filter program[LONGEST];
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    must(context != NULL, "no memory");
    must(seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0, "other machines");
    must(seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, AS_A_TREE) == 0, "no tree");
    add_rules(context, threads);
    if (narrows) {
        add_rule(context, &narrowing, SCMP_ACT_ALLOW);
    }
    size_t count = read_program(context, program);
    seccomp_release(context);
    printf("static const struct sock_filter %s[] = {\n", name);
    for (size_t i = 0; i < count; i++) {
        printf("    {0x%x, %u, %u, 0x%x},\n", program[i].code, program[i].jt, program[i].jf, program[i].k);
    }
    puts("};\n");
    return count;
}

static void print_traps(void)
{
    struct calls_list list = calls_trapped();
    puts("static const struct {\n    int number;\n    const char *name;\n} filter_traps[] = {");
    for (size_t i = 0; i < list.count; i++) {
        bool is_new = i == 0 || strcmp(list.rules[i].name, list.rules[i - 1].name) != 0;
        int number = seccomp_syscall_resolve_name(list.rules[i].name);
        if (is_new && number >= 0) {
            printf("    {%d, \"%s\"},\n", number, list.rules[i].name);
        }
    }
    puts("};\n");
}

int main(void)
{
    static const struct {
        const char *name;
        unsigned threads;
    } filters[] = {
        {"filter_common", ENGINE},   {"filter_worker", CALLS_WORKER}, {"filter_log", CALLS_LOG},
        {"filter_main", CALLS_MAIN}, {"filter_dial", CALLS_DIAL},
    };
    size_t longest = 0;
    must(seccomp_api_set(API_LEVEL) == 0, "libseccomp is too old"); /* whatever the kernel here can do */
    must(seccomp_syscall_resolve_name("socket") >= 0, "this kind of machine has one call for all of sockets");
    puts("/* Written by tools/make_filters.c from the lists of calls.h. */\n");
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        size_t count = print_filter(filters[i].name, filters[i].threads, i == 0);
        longest = count > longest ? count : longest;
    }
    print_traps();
    printf("enum { FILTER_LONGEST = %zu };\n", longest);
    return fflush(stdout) == 0 ? 0 : 1;
}
