/* The command line. What it says wins over the environment and the file. */
#include <getopt.h>
#include <stdio.h>

#include "base/error.h"

#include "monitor/control.h"

enum {
    OPTION_LISTEN = 256,
    OPTION_UPSTREAM,
    OPTION_CHECK,
    OPTION_CONNECT,
    OPTION_PRINT,
    OPTION_CONTROL,
    OPTION_HEALTH,
    OPTION_VERSION,
    OPTION_HELP
};

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"upstream", required_argument, NULL, OPTION_UPSTREAM},
    {"check", no_argument, NULL, OPTION_CHECK},
    {"connect", no_argument, NULL, OPTION_CONNECT},
    {"print-config", no_argument, NULL, OPTION_PRINT},
    {"control", required_argument, NULL, OPTION_CONTROL},
    {"healthcheck", no_argument, NULL, OPTION_HEALTH},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

bool arguments_are_answered(void)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0) {
        return true;
    }
    complain("not all of it could be written to standard output");
    return false;
}

void arguments_print_help(void)
{
    fputs(
        "Usage: dnseal [OPTION]...\n"
        "A DNS forwarder: plain DNS in over UDP and TCP, DNS over TLS out.\n"
        "\n"
        "  -c, --config FILE        read this file (default: /etc/dnseal/dnseal.yaml where it exists)\n"
        "      --listen ADDR:PORT   serve this address over UDP and TCP; may be repeated\n"
        "      --upstream URL       ask this server: tls://ADDRESS[:853]#NAME, tls://HOST (with bootstrap), "
        "a\n"
        "                           preset (cloudflare, google, quad9, adguard), or in clear text\n"
        "                           udp://ADDRESS, tcp://ADDRESS; may be repeated: policy says who is asked\n"
        "      --check              check the configuration and exit\n"
        "      --connect            with --check: dial every server as well, and tell about each\n"
        "      --print-config       print the whole configuration that is in force and exit\n"
        "      --control COMMAND    send a command to the dnseal that runs: status, health, reload,\n"
        "                           upgrade, flush, 'flush NAME', 'flush NAME below'\n"
        "      --healthcheck        the same as --control health: exit code 0 while the dnseal that runs\n"
        "                           serves and does not know all its upstreams to be down\n"
        "      --version            print the version and what is built in, and exit\n"
        "      --help               print this text and exit\n"
        "\n"
        "Exit codes: 0 clean stop, 1 start refused or failed (the reason is on standard error), 2 wrong "
        "usage.\n"
        "Manual: dnseal(8), dnseal.yaml(5).\n",
        stdout);
}

static int append(const char **list, size_t *count, const char *value, const char *option)
{
    if (*count == ARGUMENTS_LIST_MAX) {
        complain("%s: given more than %d times", option, ARGUMENTS_LIST_MAX);
        return ERROR_INVALID;
    }
    list[(*count)++] = value;
    return 0;
}

static int set_action(struct arguments *arguments, enum arguments_action action)
{
    if (arguments->action != ACTION_RUN && arguments->action != action) {
        complain("only one of --check, --print-config, --control, --healthcheck, --version and --help can be "
                 "given");
        return ERROR_INVALID;
    }
    arguments->action = action;
    return 0;
}

static int take_command(struct arguments *arguments, const char *command)
{
    if (command[0] == '\0') {
        complain("--control: an empty text is an unknown command; known are: " CONTROL_COMMANDS);
        return ERROR_INVALID;
    }
    arguments->command = command;
    return set_action(arguments, ACTION_CONTROL);
}

static int take_option(struct arguments *arguments, int option)
{
    switch (option) {
    case 'c':
        arguments->file = optarg;
        return 0;
    case OPTION_LISTEN:
        return append(arguments->listen, &arguments->listen_count, optarg, "--listen");
    case OPTION_UPSTREAM:
        return append(arguments->upstream, &arguments->upstream_count, optarg, "--upstream");
    case OPTION_CHECK:
        return set_action(arguments, ACTION_CHECK);
    case OPTION_CONNECT:
        arguments->connect = true;
        return 0;
    case OPTION_PRINT:
        return set_action(arguments, ACTION_PRINT_CONFIG);
    case OPTION_CONTROL:
        return take_command(arguments, optarg);
    case OPTION_HEALTH:
        return take_command(arguments, "health");
    case OPTION_VERSION:
        return set_action(arguments, ACTION_VERSION);
    case OPTION_HELP:
        return set_action(arguments, ACTION_HELP);
    default:
        return ERROR_INVALID; /* getopt_long has said what is wrong */
    }
}

int arguments_read(int argc, char *const *argv, struct arguments *out)
{
    *out = (struct arguments){0};
    optind = 0; /* from the beginning, whatever a call before left */
    int option, error = 0;
    while (error == 0 && (option = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
        error = take_option(out, option);
    }
    if (error == 0 && out->connect && out->action != ACTION_CHECK) {
        complain("--connect goes with --check");
        error = ERROR_INVALID;
    }
    if (error == 0 && optind < argc) {
        complain("%s: this program takes options only", argv[optind]);
        error = ERROR_INVALID;
    }
    if (error != 0) {
        fputs("Try 'dnseal --help'.\n", stderr);
    }
    return error;
}
