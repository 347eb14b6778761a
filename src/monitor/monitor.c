/* What was asked for on the command line, done. */
#include "monitor/monitor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

#include "tls/tls.h"

#include "monitor/control.h"

enum { FIRST_PROCESS = 1 };

static void print_text(struct config_sink *sink, struct span text)
{
    (void)sink;
    fwrite(text.data, 1, text.size, stdout);
}

static int print_version(void)
{
    printf("dnseal %s\n%s\n", DNSEAL_VERSION, tls_library_version());
    return 0;
}

static int print_config(const struct plan *plan)
{
    struct config_sink sink = {.write = print_text};
    config_print(plan->config, &sink);
    return 0;
}

static int tell_valid(struct plan *plan, const struct arguments *arguments)
{
    puts(MONITOR_VALID);
    return arguments->connect ? dial_upstreams(plan) : 0;
}

/* The plan is another one when this ends, where there was a reload. */
static int serve(struct plan *plan, const struct sources *sources, struct service *service,
                 struct handover *handover)
{
    privileges_forbid_dumps();
    struct config_report report = complain_on_standard_error();
    struct boot boot = {.sources = *sources,
                        .plan = plan,
                        .service = service,
                        .handover = handover->is_there || handover->is_stored ? handover : NULL,
                        .log_descriptor = -1};
    for (size_t i = 0; i < handover->line_count; i++) {
        if (!handover->lines[i].is_group) {
            addresses_learn(plan, handover->lines[i].text);
        }
    }
    int code = boot_open(&boot, &report) == 0 ? supervise(&boot) : 1;
    boot_close(&boot);
    return code;
}

/* Who only looks at a configuration has no part in what a service manager or the program of before gave. */
static int run(struct plan *plan, struct sources *sources, struct handover *handover)
{
    struct config_report report = complain_on_standard_error();
    struct service *service = NULL;
    char *const *given = sources->environment;
    int error = handover_read(given, handover);
    char **environment = handover->is_there ? handover_environment(given, NULL) : NULL;
    sources->environment = environment != NULL ? environment : given;
    error = error == 0 ? service_read(sources->environment, &service) : error;
    if (error == 0) {
        error = handover->is_there ? service_inherit(service, handover->passed, handover->passed_count)
                                   : handover_read_stored(service, handover);
    }
    error = error == 0 ? activation_open(service) : error;
    sources->service = service;
    error = error == 0 ? plan_configure(plan, sources, &report) : error;
    error = error == 0 ? plan_check(plan, sources, &report) : error;
    error = error == 0 ? plan_work_out(plan, &report) : error;
    int code = error == 0 ? serve(plan, sources, service, handover) : 1;
    service_close(service);
    free(environment);
    return code;
}

static int run_once(struct plan *plan, struct sources *sources)
{
    struct handover handover;
    int code = run(plan, sources, &handover);
    handover_free(&handover);
    return code;
}

static int command(struct plan *plan, const struct sources *sources)
{
    struct config_report report = complain_on_standard_error();
    char *path;
    int error = plan_find_control(plan, sources, &report, &path);
    int code = error == 0 ? ask_send(path, sources->arguments->command) : 1;
    free(path);
    return code;
}

static int look_at(struct plan *plan, const struct sources *sources)
{
    struct config_report report = complain_on_standard_error();
    if (plan_configure(plan, sources, &report) != 0) {
        return 1;
    }
    if (sources->arguments->action == ACTION_PRINT_CONFIG) {
        return print_config(plan);
    }
    bool is_valid = plan_check(plan, sources, &report) == 0 && plan_work_out(plan, &report) == 0;
    return is_valid ? tell_valid(plan, sources->arguments) : 1;
}

static int act(struct plan *plan, struct sources *sources)
{
    switch (sources->arguments->action) {
    case ACTION_RUN:
        return run_once(plan, sources);
    case ACTION_CONTROL:
        return command(plan, sources);
    default:
        return look_at(plan, sources);
    }
}

/* What was asked for is not done when nobody can read it. Of health the code alone is the answer. */
static int finish(const struct arguments *arguments, int code)
{
    bool is_health = arguments->action == ACTION_CONTROL && strcmp(arguments->command, "health") == 0;
    int without_words = is_health ? code : 1;
    return arguments_are_answered() ? code : without_words;
}

/* The kernel spares the first process of a container what it has no handler for: a stop that comes during the
 * start would be lost. Held back, it waits until signals are read. */
static void hold_signals(void)
{
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    if (getpid() == FIRST_PROCESS) {
        sigprocmask(SIG_BLOCK, &stops, NULL);
    }
}

int monitor_run(int argc, char *const *argv, char *const *environment)
{
    signal(SIGXFSZ, SIG_IGN); /* a log that may not grow any more loses lines, and its writer goes on */
    signal(SIGPIPE, SIG_IGN); /* whoever reads our words may go: that must not end us without one */
    hold_signals();
    struct arguments arguments;
    if (tls_library_open() != 0) {
        complain("the TLS library cannot be opened");
        return 1;
    }
    if (arguments_read(argc, argv, &arguments) != 0) {
        return 2;
    }
    if (arguments.action == ACTION_HELP) {
        arguments_print_help();
        return finish(&arguments, 0);
    }
    if (arguments.action == ACTION_VERSION) {
        return finish(&arguments, print_version());
    }
    struct plan plan;
    struct sources sources = {.arguments = &arguments, .argv = argv, .environment = environment};
    plan_init(&plan);
    int code = act(&plan, &sources);
    plan_free(&plan);
    return finish(&arguments, code);
}
