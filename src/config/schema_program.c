/*
 * The second part of the table of options, see schema.c: what is kept and answered here, whom the program
 * trusts, and how it runs. The options of one section stand together.
 */
#include "config/schema.h"

static const struct config_option options[] = {
    {.path = "cache.size",
     FIELD(cache.size, SIZE),
     .default_text = "64MiB",
     .words = {"0"},
     .least = MIB(1),
     .most = MIB(1024 * 1024),
     .description =
         "Memory for answers that are kept, a part of `limits.memory`; 0 keeps none. What is asked "
         "often stays when it is full."},
    {.path = "cache.min_ttl",
     FIELD(cache.min_ttl, NUMBER),
     .default_text = "0",
     .most = 86400,
     .description =
         "Seconds for which an answer is kept at least, whatever its records say; an answer that may not be "
         "kept at all is not."},
    {.path = "cache.max_ttl",
     FIELD(cache.max_ttl, NUMBER),
     .default_text = "86400",
     .least = 1,
     .most = 604800,
     .description = "Seconds for which an answer is kept at most."},
    {.path = "cache.negative_max_ttl",
     FIELD(cache.negative_max_ttl, NUMBER),
     .default_text = "3600",
     .most = 604800,
     .description = "Seconds for which it is kept at most that a name or a type does not exist; not longer "
                    "than `cache.max_ttl`."},
    {.path = "cache.failure_ttl",
     FIELD(cache.failure_ttl, NUMBER),
     .default_text = "5",
     .most = 300,
     .description =
         "Seconds for which a SERVFAIL of a server is kept; twice as long each further time, and 300 "
         "at most (RFC 9520). 0 keeps none."},
    {.path = "cache.serve_stale",
     FIELD(cache.serve_stale, SWITCH),
     .default_text = "true",
     .words = {"false", "true"},
     .description = "Answers with what was kept after its time is over, while no server answers (RFC 8767)."},
    {.path = "cache.stale_max",
     FIELD(cache.stale_max, NUMBER),
     .default_text = "86400",
     .least = 1,
     .most = 604800,
     .description = "Seconds after its time was over for which such an answer is still given."},
    {.path = "cache.stale_client_timeout",
     FIELD(cache.stale_client_timeout, DURATION),
     .default_text = "1800ms",
     .least = 0,
     .most = MINUTES(1),
     .description = "How long a client waits for a server before it gets such an answer."},
    {.path = "cache.prefetch",
     FIELD(cache.prefetch, SWITCH),
     .default_text = "true",
     .words = {"false", "true"},
     .description =
         "Asks the servers anew for what is asked again in the last tenth of its life, so that names in use "
         "are answered at once."},
    {.path = "cache.file",
     FIELD(cache.file, PATH),
     .default_text = "",
     .words = {""},
     .most = CONFIG_TEXT_MAX,
     .description =
         "The absolute path of a file that what is kept is written to, at the stop and every "
         "`cache.file_interval`, and read from at the start; an empty text: none. It belongs to whoever "
         "starts the program, with mode 0600, since it tells in clear text which names were asked for; the "
         "directory must exist, and the name in it has at most 244 bytes. What was written for other "
         "`upstreams` is not read."},
    {.path = "cache.file_interval",
     FIELD(cache.file_interval, DURATION),
     .default_text = "5m",
     .least = SECONDS(1),
     .most = HOURS(24),
     .description =
         "How often `cache.file` is written while the program runs, so that a crash or a loss of power costs "
         "no more than what came since. It is left out while nothing came."},
    {.path = "local.special_use",
     FIELD(local.special_use, SWITCH),
     .default_text = "true",
     .words = {"false", "true"},
     .description =
         "Answer names of special use here, so that no server hears of them: `localhost` with the loopback "
         "addresses; that there is nothing below `invalid`, `test`, `onion`, `alt`, `home.arpa`, "
         "`service.arpa` "
         "and `resolver.arpa`, and behind the reverse names of private, link-local and documentation "
         "addresses "
         "(RFC 6303, RFC 6761). What `local.hosts`, `local.records` and `local.block` say of such a name "
         "wins."},
    {.path = "local.forward",
     FIELD(local.forward, NAMES),
     .default_text = "",
     .most = CONFIG_TEXTS_MAX,
     .description =
         "Names of special use that are asked all the same, each with everything below it, such as "
         "`home.arpa`, `10.in-addr.arpa` or `corp.home.arpa`; `arpa` stands for all that end in it."},
    {.path = "local.hosts",
     FIELD(local.hosts, FILES),
     .default_text = "",
     .most = CONFIG_TEXTS_MAX,
     .description = "Files in the form of `/etc/hosts`, whose names are answered here: A and AAAA, PTR for "
                    "the first name "
                    "on the first line of an address, and that there is nothing of any other type; for 300 "
                    "seconds. Read at "
                    "the start. A line that makes no sense refuses the start."},
    {.path = "local.records",
     FIELD(local.records, RECORDS),
     .default_text = "",
     .most = CONFIG_TEXTS_MAX,
     .description =
         "Records that are answered here, as in a zone file on one line: `NAME [TTL] TYPE DATA` with whole "
         "names "
         "and one of the types A, AAAA, PTR, TXT, MX and SRV, such as `nas.home.arpa 3600 A 192.168.1.5`; "
         "for 300 "
         "seconds without a TTL. A name that stands here or in a hosts file is answered here for every type. "
         "Aliases and wildcards are refused. In the environment no record can hold a comma."},
    {.path = "local.block",
     FIELD(local.block, FILES),
     .default_text = "",
     .most = CONFIG_TEXTS_MAX,
     .description = "Lists of names that are not answered. On a line stands one domain, which is blocked "
                    "with everything "
                    "below it, or an address (`0.0.0.0`, `::`, `127.0.0.1`, `::1`) with names, each of which "
                    "is blocked alone; "
                    "`#` begins a comment. Lists for adblock and other syntax refuse the start, as does "
                    "every line that makes "
                    "no sense. Read at the start; a million names take about 30 MB of `limits.memory`."},
    {.path = "local.block_answer",
     FIELD(local.block_answer, WORD),
     .default_text = "nxdomain",
     .words = {"nxdomain", "null", "refused"},
     .description = "What is said to a question for a blocked name: that it does not exist; the addresses "
                    "`0.0.0.0` and `::`; "
                    "or REFUSED. Clients with EDNS also get the extended error 15 (Blocked)."},
    {.path = "tls.ca",
     FIELD(tls.ca, FILE),
     .default_text = "/etc/ssl/certs/ca-certificates.crt",
     .most = CONFIG_TEXT_MAX,
     .description =
         "The file with the certificates of the authorities that are trusted to vouch for a server, as PEM. "
         "It is not read where every server is asked in clear text, or has pins without a name."},
    {.path = "tls.min_version",
     FIELD(tls.require_1_3, SWITCH),
     .default_text = "1.2",
     .words = {"1.2", "1.3"},
     .description = "The least version of TLS that a server must speak."},
    {.path = "tls.padding",
     FIELD(tls.padding, NUMBER),
     .default_text = "128",
     .most = 512,
     .description =
         "Queries to the servers are padded to a multiple of so many bytes, which hides their length from "
         "whoever watches the line (RFC 8467 recommends 128). 0 switches padding off. What goes out in clear "
         "text is never padded."},
    {.path = "privacy.strip_client_subnet",
     FIELD(privacy.strip_client_subnet, SWITCH),
     .default_text = "true",
     .words = {"false", "true"},
     .description = "Take the client's subnet (RFC 7871) out of queries, so that no server learns it."},
    {.path = "log.level",
     FIELD(log.level, WORD),
     .default_text = "info",
     .words = {"error", "warning", "info", "debug"},
     .description = "The least urgent events that are logged."},
    {.path = "log.format",
     FIELD(log.format, WORD),
     .default_text = "text",
     .words = {"text", "json"},
     .description = "How an event is written: as `key=value` pairs or as a JSON object, one line each."},
    {.path = "log.target",
     FIELD(log.target, PATH),
     .default_text = "stderr",
     .words = {"stderr", "stdout"},
     .most = CONFIG_TEXT_MAX,
     .description = "Where events go: `stderr`, `stdout`, or the absolute path of a file, or of a pipe that "
                    "somebody reads; "
                    "SIGUSR1 opens it again."},
    {.path = "log.queries",
     FIELD(log.queries, WORD),
     .default_text = "off",
     .words = {"off", "anonymous", "full"},
     .description =
         "Whether each query is logged: not at all, with the client's network instead of its address, or in "
         "full."},
    {.path = "control.socket",
     FIELD(control.socket, PATH),
     .default_text = CONFIG_CONTROL_SOCKET,
     .words = {""},
     .most = 107,
     .description = "The path of the socket that `--control` talks to. An empty text switches it off."},
    {.path = "workers",
     FIELD(workers, NUMBER),
     .default_text = "auto",
     .words = {"auto"},
     .least = 1,
     .most = 128,
     .description = "Threads that serve; `auto` is one for each processor that the process may use."},
    {.path = "user",
     FIELD(user, USER),
     .default_text = "auto",
     .words = {"auto", ""},
     .most = 32,
     .description =
         "Whom the serving process becomes when the program is started as root: a user's name, or `auto` for "
         "`dnseal` where there is such a user, else `nobody`. An empty text keeps root, with a warning."},
    {.path = "sandbox",
     FIELD(sandbox, WORD),
     .default_text = "auto",
     .words = {"auto", "strict", "off"},
     .description = "What the serving process does where the kernel lacks a layer of its sandbox (no files: "
                    "an empty root "
                    "and Landlock; few system calls: seccomp): `auto` serves with the others and warns, "
                    "`strict` refuses "
                    "to start. `off` goes without all of them, with a warning."},
};

struct config_options config_program_options(void)
{
    return (struct config_options){options, sizeof options / sizeof options[0]};
}
