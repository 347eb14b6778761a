/*
 * The reference of all options as Markdown and as a part of dnseal.yaml(5), from the same table that reads
 * them. Descriptions in the table use Markdown's backticks; in roff they become bold.
 */
#include <stdio.h>

#include "config/table.h"

enum { ALLOWED_SIZE = 512 };

static const char introduction[] =
    "# Configuration\n"
    "\n"
    "This file is generated from the table of options in `src/config/schema.c`; `tools/make_docs manual` "
    "writes it "
    "anew.\n"
    "\n"
    "Every option has a default, so that no file is needed. What the command line says wins over the "
    "environment, the "
    "environment over the file (`/etc/dnseal/dnseal.yaml`, or the one given with `-c`), and the file over "
    "the "
    "defaults. A list replaces the list of a lower layer as a whole. `dnseal --check` tells every error of "
    "the configuration with its place, and once there is none every error of the files that it names; what "
    "depends on an option that is wrong is told when that one is right. It changes nothing. `dnseal "
    "--print-config` prints what is in force.\n"
    "\n"
    "The file is YAML, in UTF-8, one document. What a value means is the option's matter, not YAML's: `no` "
    "and `0123` "
    "are plain text until an option says otherwise. Anchors, aliases, tags and duplicate keys are refused, "
    "and so is "
    "every key that is not in this list.\n"
    "\n"
    "- A duration is a whole number with its unit: `ms`, `s`, `m` or `h`.\n"
    "- A size is a whole number of bytes, or one with its unit: `KiB`, `MiB` or `GiB`.\n"
    "- In the environment a list is written with commas, and a mapping as a list of `NAME=VALUE`. An unknown "
    "name that begins with `DNSEAL_` is an "
    "error; "
    "`DNSEAL_PORT...` and `DNSEAL_SERVICE_...` are left alone, because Kubernetes sets them for a Service of "
    "the name "
    "`dnseal`.\n"
    "\n"
    "## Older names in the environment\n"
    "\n"
    "These work as well; the `DNSEAL_` name of the same option wins over them, and an empty value counts as "
    "not set.\n"
    "\n"
    "| Name | Meaning |\n"
    "| --- | --- |\n"
    "| `DNS_SERVER_IP` | The address of the only upstream. |\n"
    "| `DNS_SERVER_PORT` | Its port, 853 where it is not given. |\n"
    "| `DNS_SERVER_NAME` | The name in its certificate. Without it, the name of the preset that has this "
    "address; "
    "where there is none, the certificate must bear the address. |\n"
    "| `CA_PATH` | The same as `tls.ca`. |\n"
    "| `LISTENING_PORT` | The port to listen on, at `PROXY_SERVER`, else at the addresses of `listen`. |\n"
    "| `PROXY_SERVER` | The address to listen on, or `localhost`. |\n"
    "| `PROXY_PORT` | The port to listen on where `LISTENING_PORT` is not given. |\n"
    "\n"
    "`DNS_SERVER_PORT` and `DNS_SERVER_NAME` without `DNS_SERVER_IP` are for the addresses 1.1.1.1 and "
    "1.0.0.1.\n"
    "\n"
    "## Presets\n"
    "\n"
    "The IPv6 addresses of a preset are left out where there is no route to them.\n"
    "\n"
    "| Word | Name in the certificate | Addresses |\n"
    "| --- | --- | --- |\n";

static const char example[] =
    "\n"
    "## Example\n"
    "\n"
    "```yaml\n"
    "listen:\n"
    "  - 127.0.0.1:53\n"
    "  - { address: \"192.168.1.1:53\", transport: [udp, tcp] }\n"
    "upstreams:\n"
    "  - \"tls://9.9.9.9#dns.quad9.net\"\n"
    "  - url: \"tls://[2001:db8::53]:853#dns.example.net\"\n"
    "    pins: [\"sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]\n"
    "access: { allow: [private, 203.0.113.0/24] }\n"
    "limits: { tcp_idle: 20s, tcp_output: 512KiB }\n"
    "log: { level: warning, format: json }\n"
    "```\n"
    "\n"
    "Two providers, of whom the faster one is asked; an office that shares its "
    "queries out three to one and\n"
    "asks nothing twice for being late; a cluster in clear text; the time servers' names from a server that "
    "is believed by its pins while the\n"
    "clock is wrong; and a listener for TCP that asks the office alone:\n"
    "\n"
    "```yaml\n"
    "listen:\n"
    "  - 127.0.0.1:53\n"
    "  - { address: \"192.168.1.1:5353\", transport: [tcp], upstreams: office }\n"
    "upstreams:\n"
    "  - cloudflare\n"
    "  - quad9\n"
    "  - { url: \"tls://192.0.2.53#a.office.example\", group: office, weight: 3 }\n"
    "  - { url: \"tls://192.0.2.54#b.office.example\", group: office }\n"
    "  - { url: \"udp://10.96.0.10\", group: cluster }\n"
    "  - url: \"tls://[2001:db8::53]#dns.example.net\"\n"
    "    group: time\n"
    "    pins: [\"sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]\n"
    "    without_clock: true\n"
    "groups:\n"
    "  office: { policy: round-robin, hedge: false }\n"
    "routes:\n"
    "  office.example: office\n"
    "  cluster.local: cluster\n"
    "  10.in-addr.arpa: cluster    # all of 10.0.0.0/8\n"
    "  pool.ntp.org: time\n"
    "```\n"
    "\n"
    "## Options\n";

static const char *type_text(enum config_type type)
{
    static const char *const texts[] = {
        [CONFIG_DURATION] = "duration",  [CONFIG_SIZE] = "size",      [CONFIG_NUMBER] = "whole number",
        [CONFIG_SWITCH] = "word",        [CONFIG_WORD] = "word",      [CONFIG_FILE] = "path of a file",
        [CONFIG_PATH] = "absolute path", [CONFIG_USER] = "name",      [CONFIG_LISTENERS] = "list",
        [CONFIG_UPSTREAMS] = "list",     [CONFIG_PREFIXES] = "list",  [CONFIG_FILES] = "list of paths",
        [CONFIG_NAMES] = "list",         [CONFIG_RECORDS] = "list",   [CONFIG_GROUPS] = "mapping",
        [CONFIG_ROUTES] = "mapping",     [CONFIG_BOOTSTRAP] = "list",
    };
    return texts[type];
}

/* "`error`, `warning`", an empty word as "`""`". */
static size_t words_text(const struct config_option *option, char *out, size_t capacity)
{
    size_t size = 0;
    out[0] = '\0';
    for (size_t i = 0; option->words[i] != NULL; i++) {
        const char *word = option->words[i][0] == '\0' ? "\"\"" : option->words[i];
        size += (size_t)snprintf(out + size, capacity - size, "%s`%s`", i == 0 ? "" : ", ", word);
    }
    return size;
}

/* What may be written, or "" where the description says it all. */
static void allowed_text(const struct config_option *option, char out[ALLOWED_SIZE])
{
    char least[CONFIG_VALUE_SIZE], most[CONFIG_VALUE_SIZE];
    size_t size = words_text(option, out, ALLOWED_SIZE);
    switch (option->type) {
    case CONFIG_DURATION:
    case CONFIG_SIZE:
    case CONFIG_NUMBER:
        config_value_format(option, option->least, least);
        config_value_format(option, option->most, most);
        snprintf(out + size, ALLOWED_SIZE - size, "%s`%s` to `%s`", size > 0 ? ", or " : "", least, most);
        break;
    case CONFIG_PATH:
    case CONFIG_USER:
        snprintf(out + size, ALLOWED_SIZE - size, " or %s of at most %u bytes",
                 option->type == CONFIG_PATH ? "an absolute path" : "a name", (unsigned)option->most);
        break;
    case CONFIG_LISTENERS:
    case CONFIG_UPSTREAMS:
        snprintf(out, ALLOWED_SIZE, "1 to %u entries", (unsigned)option->most);
        break;
    case CONFIG_FILES:
    case CONFIG_NAMES:
    case CONFIG_RECORDS:
    case CONFIG_GROUPS:
    case CONFIG_ROUTES:
    case CONFIG_BOOTSTRAP:
        snprintf(out, ALLOWED_SIZE, "at most %u entries", (unsigned)option->most);
        break;
    default:
        break;
    }
}

static const char *empty_text(enum config_type type)
{
    return type == CONFIG_GROUPS || type == CONFIG_ROUTES ? "{}" : "[]";
}

static void put_option(const struct config_option *option, struct config_sink *sink)
{
    char variable[CONFIG_NAME_SIZE], allowed[ALLOWED_SIZE];
    config_option_variable(option, variable);
    allowed_text(option, allowed);
    bool list = config_type_is_list(option->type);
    const char *standard = option->default_text[0] != '\0' ? option->default_text
                           : list                          ? empty_text(option->type)
                                                           : "\"\"";
    config_putf(sink, "\n### `%s`\n\n%s\n\n- Type: %s\n", option->path, option->description,
                type_text(option->type));
    if (allowed[0] != '\0') {
        config_putf(sink, "- Values: %s\n", allowed);
    }
    config_putf(sink, "- Default: `%s`\n- Environment: `%s`\n", standard, variable);
}

void config_print_manual(struct config_sink *sink)
{
    const struct config_preset *preset;
    config_put(sink, introduction);
    for (size_t i = 0; (preset = config_preset_at(i)) != NULL; i++) {
        config_putf(sink, "| `%s` | %s |", preset->word, preset->name);
        for (size_t j = 0; j < CONFIG_PRESET_SERVERS; j++) {
            config_putf(sink, "%s %s", j == 0 ? "" : ",", preset->servers[j]);
        }
        config_put(sink, " |\n");
    }
    config_put(sink, example);
    for (size_t i = 0; i < config_option_count(); i++) {
        put_option(config_option_at(i), sink);
    }
}

/* Text with backticks as roff: bold between them, and nothing that roff would take for itself. */
static void put_roff(struct config_sink *sink, const char *text)
{
    bool bold = false;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '`') {
            config_put(sink, bold ? "\\fR" : "\\fB");
            bold = !bold;
        } else if (*at == '\\') {
            config_put(sink, "\\e");
        } else if (*at == '-') {
            config_put(sink, "\\-");
        } else {
            /* A dot or a quote at the start of a line would be a request. */
            bool request = at == text && (*at == '.' || *at == '\'');
            config_putf(sink, "%s%c", request ? "\\&" : "", *at);
        }
    }
}

static void put_roff_option(const struct config_option *option, struct config_sink *sink)
{
    char variable[CONFIG_NAME_SIZE], allowed[ALLOWED_SIZE];
    config_option_variable(option, variable);
    allowed_text(option, allowed);
    config_putf(sink, ".TP\n.B %s\n", option->path);
    put_roff(sink, option->description);
    config_put(sink, "\n.br\n");
    if (allowed[0] != '\0') {
        config_put(sink, "Values: ");
        put_roff(sink, allowed);
        config_put(sink, ".\n");
    }
    if (option->default_text[0] != '\0') {
        config_put(sink, "Default: \\fB");
        put_roff(sink, option->default_text);
        config_put(sink, "\\fR.\n");
    } else {
        config_put(sink, "Empty by default.\n");
    }
    config_put(sink, "Environment: \\fB");
    put_roff(sink, variable);
    config_put(sink, "\\fR.\n");
}

void config_print_roff(struct config_sink *sink)
{
    config_put(sink, ".SH OPTIONS\n");
    for (size_t i = 0; i < config_option_count(); i++) {
        put_roff_option(config_option_at(i), sink);
    }
}
