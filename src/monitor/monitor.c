/* What was asked for on the command line, done. */
#include "monitor/monitor.h"

#include <signal.h>
#include <stdio.h>
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

static int print_config(const struct boot *boot)
{
    struct config_sink sink = {.write = print_text};
    config_print(boot->config, &sink);
    return 0;
}

static int tell_valid(struct boot *boot, const struct arguments *arguments)
{
    puts("dnseal: the configuration is valid");
    return arguments->connect ? dial_upstreams(boot) : 0;
}

static int serve(struct boot *boot)
{
    return boot_open(boot) == 0 ? supervise(boot) : 1;
}

static int act(struct boot *boot, const struct arguments *arguments)
{
    if (arguments->action == ACTION_PRINT_CONFIG) {
        return print_config(boot);
    }
    if (arguments->action == ACTION_CONTROL) {
        return control_send(boot->config->control.socket, arguments->command);
    }
    if (boot_check(boot, arguments) != 0 || boot_plan(boot) != 0) {
        return 1;
    }
    return arguments->action == ACTION_CHECK ? tell_valid(boot, arguments) : serve(boot);
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
    struct boot boot = {.log_descriptor = -1, .authorities = -1};
    int code = boot_configure(&boot, &arguments, environment) == 0 ? act(&boot, &arguments) : 1;
    boot_close(&boot);
    return finish(&arguments, code);
}
