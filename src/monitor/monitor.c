/* What was asked for on the command line, done. */
#include "monitor/monitor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#include "tls/tls.h"

#include "monitor/internal.h"

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
    puts("dnseal: the configuration is valid");
    return arguments->connect ? dial_upstreams(plan) : 0;
}

/* The plan is another one when this ends, where there was a reload. */
static int serve(struct plan *plan, const struct arguments *arguments, char *const *environment)
{
    struct config_report report = complain_on_standard_error();
    struct boot boot = {
        .arguments = arguments, .environment = environment, .plan = plan, .log_descriptor = -1};
    int code = boot_open(&boot, &report) == 0 ? supervise(&boot) : 1;
    boot_close(&boot);
    return code;
}

static int command(struct plan *plan, const struct arguments *arguments, char *const *environment)
{
    struct config_report report = complain_on_standard_error();
    char *path;
    int error = plan_find_control(plan, arguments, environment, &report, &path);
    int code = error == 0 ? control_send(path, arguments->command) : 1;
    free(path);
    return code;
}

static int act(struct plan *plan, const struct arguments *arguments, char *const *environment)
{
    struct config_report report = complain_on_standard_error();
    if (arguments->action == ACTION_CONTROL) {
        return command(plan, arguments, environment);
    }
    if (plan_configure(plan, arguments, environment, &report) != 0) {
        return 1;
    }
    if (arguments->action == ACTION_PRINT_CONFIG) {
        return print_config(plan);
    }
    if (plan_check(plan, arguments, &report) != 0 || plan_work_out(plan, &report) != 0) {
        return 1;
    }
    return arguments->action == ACTION_CHECK ? tell_valid(plan, arguments)
                                             : serve(plan, arguments, environment);
}

/* What was asked for is not done when nobody can read it. Of health the code alone is the answer. */
static int finish(const struct arguments *arguments, int code)
{
    bool is_health = arguments->action == ACTION_CONTROL && strcmp(arguments->command, "health") == 0;
    int without_words = is_health ? code : 1;
    return arguments_are_answered() ? code : without_words;
}

int monitor_run(int argc, char *const *argv, char *const *environment)
{
    signal(SIGXFSZ, SIG_IGN); /* a log that may not grow any more loses lines, and its writer goes on */
    signal(SIGPIPE, SIG_IGN); /* whoever reads our words may go: that must not end us without one */
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
    plan_init(&plan);
    int code = act(&plan, &arguments, environment);
    plan_free(&plan);
    return finish(&arguments, code);
}
