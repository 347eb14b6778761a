/*
 * The one table of options. The file's keys, the names in the environment, defaults, ranges, --print-config,
 * the manual and the JSON Schema all come from here; a new option is one more entry and one more field of
 * struct config. The options of one section stand together. This part tells of clients, servers and limits,
 * schema_program.c of all else.
 */
#include "config/schema.h"

#include <assert.h>

static const struct config_option options[] = {
    {.path = "listen",
     FIELD(listen, LISTENERS),
     .default_text = "127.0.0.1:53, [::1]:53",
     .most = CONFIG_LISTEN_MAX,
     .description =
         "Where clients ask. An entry is an address with its port, for UDP and TCP; or a mapping with the "
         "`address` and a list `transport` of `udp`, `tcp` or both. Clear text is never served on port "
         "853. In a mapping, `upstreams` names the group that is asked instead of the one of route `.`."},
    {.path = "upstreams",
     FIELD(upstreams, UPSTREAMS),
     .default_text = "cloudflare",
     .most = CONFIG_UPSTREAMS_MAX,
     .description =
         "The servers that are asked. An entry is `tls://ADDRESS[:PORT][#NAME]` (DNS over TLS), a preset of "
         "such (`cloudflare`, `google`, `quad9`, `adguard`), `udp://ADDRESS[:PORT]` or "
         "`tcp://ADDRESS[:PORT]` for a server that is asked in clear text, or a mapping with the `url` and a "
         "list "
         "`pins` of public key pins (`sha256/` and Base64). The server's certificate must bear the name; "
         "without a name, the address; with pins a pinned key must appear as well, and pins without a "
         "name are the whole identity. A mapping may also name the `group` that the server is in, `default` "
         "where it does not, and a `weight` from 1 to 100 for the policies that know weights; `GROUP=URL` is "
         "short for a mapping with the group. The log and the metrics name a server by its URL, with "
         "`GROUP/` "
         "before it where that is not `default`. The servers of a group are all encrypted or all in clear "
         "text, so that "
         "nothing that is meant for an encrypted one ever goes out readable. `udp://` asks over TCP what "
         "does not fit a datagram. Instead of an address a URL may have a host name, which is also the "
         "`NAME` where none is given; `bootstrap` is asked for its addresses. With `without_clock: true`, a "
         "server with pins and a name is believed by "
         "its pins, its name and its chain, without a look at the dates, as long as this machine's clock is "
         "before the program's own date, and so cannot be right: it may be the one that the time servers' "
         "names come from."},
    {.path = "bootstrap",
     FIELD(bootstrap, BOOTSTRAP),
     .default_text = "",
     .most = CONFIG_BOOTSTRAP_MAX,
     .description =
         "Who is asked for the addresses of `upstreams` that are named by host: "
         "`tls://ADDRESS[:PORT][#NAME]`, a preset, or `udp://ADDRESS[:PORT]` and `tcp://ADDRESS[:PORT]` in "
         "clear text. All of them are asked at once, and the first good answer counts. What was found is "
         "looked up again in time, and kept while nobody can say better. They learn these names, and nothing "
         "else: no query of a client goes to them. An address that is wrong or forged is of no use to "
         "anybody where the server is asked over TLS and has to prove its name; where it is asked in clear "
         "text, it is believed."},
    {.path = "groups",
     FIELD(groups, GROUPS),
     .default_text = "",
     .most = CONFIG_GROUPS_MAX,
     .description =
         "How a server is chosen among those of a group; a mapping of names to mappings with the `policy`, "
         "and with `hedge`. `fastest`, which is meant where nothing is said: the one whose answers come "
         "soonest, with a small share of the queries for the others, so that a change is noticed. "
         "`round-robin` and `random`: by `weight`. `ordered`: the first that works. `hash`: by the name that "
         "is asked for, so that each server sees only its part of the names, as large as its `weight` says. "
         "`fastest` and `ordered` take no notice of weights. With `hedge: true`, which is "
         "meant where nothing is said except under `hash`, a query whose answer comes later than 19 of 20 of "
         "its server, and not within 50 ms, is asked once more at another server of the group; that is one "
         "query more for every twenty at most. `NAME: POLICY` is short for a mapping with the policy alone."},
    {.path = "routes",
     FIELD(routes, ROUTES),
     .default_text = "",
     .most = CONFIG_ROUTES_MAX,
     .description = "Which group is asked for a name and everything below it: a mapping of names to groups, "
                    "of which the longest "
                    "that fits counts. `.` is for all others, and is `default` where it is not there. Each "
                    "group has a part of "
                    "the cache of its own. Where a name is, or holds, one of special use, its route wins."},
    {.path = "access.allow",
     FIELD(access.allow, PREFIXES),
     .default_text = "private",
     .description =
         "The clients that may ask: addresses, prefixes, `private` (loopback, the private networks of RFC "
         "1918, link-local and unique local addresses) or `any`. Everyone else is refused."},
    {.path = "access.deny",
     FIELD(access.deny, PREFIXES),
     .default_text = "",
     .description = "Clients that may not ask although `access.allow` has them, in the same words."},
    {.path = "limits.memory",
     FIELD(limits.memory, SIZE),
     .default_text = "256MiB",
     .least = MIB(1),
     .most = MIB(1024 * 1024),
     .description =
         "Most memory of the serving process: room for waiting queries, connections and servers is reserved "
         "at "
         "the start, and what is left serves as buffers for TCP connections. Too little for the other limits "
         "refuses the start. Memory of the system for sockets is not counted."},
    {.path = "limits.query_timeout",
     FIELD(limits.query_timeout, DURATION),
     .default_text = "4500ms",
     .least = MILLISECONDS(100),
     .most = MINUTES(1),
     .description = "How long a client's query may take, from its arrival to the answer SERVFAIL."},
    {.path = "limits.udp_discard",
     FIELD(limits.udp_discard, DURATION),
     .default_text = "1900ms",
     .least = MILLISECONDS(100),
     .most = MINUTES(1),
     .description =
         "An answer that comes later is kept, but not sent over UDP to a client address that waits for so "
         "many "
         "that they would be over 100 full datagrams: that much at once, to an address that may be forged, "
         "would be an attack (DNSBomb)."},
    {.path = "limits.tcp_idle",
     FIELD(limits.tcp_idle, DURATION),
     .default_text = "10s",
     .least = MILLISECONDS(100),
     .most = HOURS(1),
     .description =
         "A client's TCP connection on which nothing is asked and nothing is owed is closed after this "
         "time."},
    {.path = "limits.tcp_message_timeout",
     FIELD(limits.tcp_message_timeout, DURATION),
     .default_text = "5s",
     .least = MILLISECONDS(100),
     .most = MINUTES(5),
     .description =
         "How long a client may take to send one message over TCP, from its first byte to its last."},
    {.path = "limits.tcp_write_timeout",
     FIELD(limits.tcp_write_timeout, DURATION),
     .default_text = "10s",
     .least = MILLISECONDS(100),
     .most = MINUTES(5),
     .description =
         "A client's TCP connection that takes nothing of what waits for it is closed after this time, and "
         "one "
         "that takes so little that what waited at one moment has not left after three times this."},
    {.path = "limits.tcp_output",
     FIELD(limits.tcp_output, SIZE),
     .default_text = "256KiB",
     .least = KIB(128),
     .most = MIB(16),
     .description =
         "Most bytes of answers that wait for one client's TCP connection; while that many wait, nothing "
         "more is read from it."},
    {.path = "limits.tcp_connections",
     FIELD(limits.tcp_connections, NUMBER),
     .default_text = "1000",
     .least = 1,
     .most = 1000000,
     .description =
         "Most TCP connections of all clients together. When all are taken, idle ones are closed first."},
    {.path = "limits.tcp_connections_per_client",
     FIELD(limits.tcp_connections_per_client, NUMBER),
     .default_text = "50",
     .least = 1,
     .most = 1000000,
     .description = "Most TCP connections of one client address."},
    {.path = "limits.pending",
     FIELD(limits.pending, NUMBER),
     .default_text = "16384",
     .least = 1,
     .most = 1000000,
     .description =
         "Most queries that wait for an upstream at one time; a query beyond them is answered SERVFAIL at "
         "once."},
    {.path = "limits.pending_per_client",
     FIELD(limits.pending_per_client, NUMBER),
     .default_text = "1000",
     .least = 1,
     .most = 65535,
     .description = "Most queries of one client address that wait for an upstream at one time in one worker; "
                    "a query beyond "
                    "them is answered SERVFAIL at once. The workers count for themselves and do not share "
                    "the number out: with four "
                    "of them, a client whose queries come to all four may have four times as many waiting."},
    {.path = "limits.drain_delay",
     FIELD(limits.drain_delay, DURATION),
     .default_text = "0s",
     .most = MINUTES(10),
     .description =
         "On SIGTERM, how long to go on serving as before, so that whoever sends the clients here can take "
         "notice."},
    {.path = "limits.drain_timeout",
     FIELD(limits.drain_timeout, DURATION),
     .default_text = "5s",
     .most = MINUTES(10),
     .description = "On SIGTERM and after the delay, how long to wait for the answers that are still owed."},
    {.path = "upstream.attempt_timeout",
     FIELD(upstream.attempt_timeout, DURATION),
     .default_text = "1500ms",
     .least = MILLISECONDS(50),
     .most = MINUTES(1),
     .description = "How long one try at one server may take before another server is asked as well."},
    {.path = "upstream.connect_timeout",
     FIELD(upstream.connect_timeout, DURATION),
     .default_text = "1500ms",
     .least = MILLISECONDS(50),
     .most = MINUTES(1),
     .description = "How long the TCP connection to a server may take to come about."},
    {.path = "upstream.handshake_timeout",
     FIELD(upstream.handshake_timeout, DURATION),
     .default_text = "2500ms",
     .least = MILLISECONDS(50),
     .most = MINUTES(1),
     .description = "How long the TLS handshake with a server may take."},
    {.path = "upstream.refused_retry",
     FIELD(upstream.refused_retry, DURATION),
     .default_text = "250ms",
     .least = MILLISECONDS(10),
     .most = MINUTES(1),
     .description =
         "The time between two connects to a server that refuses them, while queries wait for it."},
    {.path = "upstream.backoff_min",
     FIELD(upstream.backoff_min, DURATION),
     .default_text = "250ms",
     .least = MILLISECONDS(10),
     .most = HOURS(1),
     .description =
         "The time to the next handshake with a server after the first one that failed; it doubles with each "
         "further failure."},
    {.path = "upstream.backoff_max",
     FIELD(upstream.backoff_max, DURATION),
     .default_text = "30s",
     .least = MILLISECONDS(10),
     .most = HOURS(1),
     .description = "The longest time between two handshakes with a server that keeps failing."},
    {.path = "upstream.handshakes_per_second",
     FIELD(upstream.handshakes_per_second, NUMBER),
     .default_text = "5",
     .least = 1,
     .most = 1000,
     .description = "Most handshakes a second that one worker begins with one server."},
    {.path = "upstream.links",
     FIELD(upstream.links, NUMBER),
     .default_text = "4",
     .least = 1,
     .most = 16,
     .description = "Most connections of one worker to one server. A further one is opened when a hundred "
                    "queries wait for "
                    "their answers on each."},
    {.path = "upstream.max_age",
     FIELD(upstream.max_age, DURATION),
     .default_text = "10m",
     .least = SECONDS(10),
     .most = HOURS(24),
     .description =
         "How old a connection may become, more or less by a fifth, until a new one takes its place."},
    {.path = "upstream.warm",
     FIELD(upstream.warm, DURATION),
     .default_text = "10m",
     .most = HOURS(24),
     .description = "How long after the last query a connection is kept ready, and replaced before the "
                    "server closes it for "
                    "being idle."},
    {.path = "upstream.in_flight",
     FIELD(upstream.in_flight, NUMBER),
     .default_text = "512",
     .least = 1,
     .most = 4096,
     .description = "Most queries that wait for their answers on one connection to a server."},
    {.path = "upstream.addresses_file",
     FIELD(addresses_file, PATH),
     .default_text = "",
     .words = {""},
     .most = CONFIG_TEXT_MAX,
     .description =
         "The absolute path of a file that keeps the addresses of `upstreams` that are named by host, so "
         "that "
         "a start does not depend on `bootstrap`: they are used at once, however old, and looked up beside. "
         "An "
         "empty text: none. It belongs to whoever starts the program, with mode 0600; the directory must "
         "exist, and the name in it has at most 244 bytes."},
};

enum { OPTION_COUNT = sizeof options / sizeof options[0] };

size_t config_option_count(void)
{
    size_t count = OPTION_COUNT + config_program_options().count;
    assert(count <= CONFIG_OPTIONS_MAX);
    return count;
}

const struct config_option *config_option_at(size_t index)
{
    assert(index < config_option_count());
    return index < OPTION_COUNT ? &options[index] : &config_program_options().items[index - OPTION_COUNT];
}

size_t config_option_index(const struct config_option *option)
{
    bool is_first = option >= options && option < options + OPTION_COUNT;
    return is_first ? (size_t)(option - options)
                    : OPTION_COUNT + (size_t)(option - config_program_options().items);
}
