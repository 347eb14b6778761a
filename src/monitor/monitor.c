/* What was asked for on the command line, done. */
#include "monitor/monitor.h"

#include <stdio.h>

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

static int check(struct boot *boot, const struct arguments *arguments)
{
    if (boot_check(boot, arguments) != 0) {
        return 1;
    }
    puts("dnseal: the configuration is valid");
    return 0;
}

static int serve(struct boot *boot)
{
    return boot_open(boot) == 0 ? supervise(boot) : 1;
}

static int act(struct boot *boot, const struct arguments *arguments)
{
    switch (arguments->action) {
    case ACTION_CHECK:
        return check(boot, arguments);
    case ACTION_PRINT_CONFIG:
        return print_config(boot);
    case ACTION_CONTROL:
        return control_send(boot->config->control.socket, arguments->command);
    default:
        return serve(boot);
    }
}

int monitor_run(int argc, char *const *argv, char *const *environment)
{
    struct arguments arguments;
    if (arguments_read(argc, argv, &arguments) != 0) {
        return 2;
    }
    if (arguments.action == ACTION_HELP) {
        arguments_print_help();
        return 0;
    }
    if (arguments.action == ACTION_VERSION) {
        return print_version();
    }
    struct boot boot = {.log_descriptor = -1};
    int code = boot_configure(&boot, &arguments, environment) == 0 ? act(&boot, &arguments) : 1;
    boot_close(&boot);
    return code;
}
