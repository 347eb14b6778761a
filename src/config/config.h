/*
 * The configuration: text to an immutable snapshot. One table describes every option: its path in the file,
 * its name in the environment, its type, default and range, and what it means; file, environment,
 * --print-config, the manual and the JSON Schema all come from it. Types come from the table, never from
 * YAML. Every error is reported, not only the first, each as `source:line:column: path: reason`.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/log.h"

#include "tls/tls.h"

#include "local/local.h"

/* Done without where it cannot be had; any other path is insisted on. */
#define CONFIG_CONTROL_SOCKET "/run/dnseal/control.socket"

enum {
    CONFIG_LISTEN_MAX = 64,
    CONFIG_UPSTREAMS_MAX = 32,
    CONFIG_PINS_MAX = 16,
    CONFIG_GROUPS_MAX = CONFIG_UPSTREAMS_MAX,
    CONFIG_WEIGHT_MAX = 100,
    CONFIG_HOST_NAME_MAX = 253,
    CONFIG_BOOTSTRAP_MAX = 8,
    CONFIG_PARTITIONS = 128,
};

enum config_log_queries { CONFIG_LOG_OFF, CONFIG_LOG_ANONYMOUS, CONFIG_LOG_FULL };

/* What is done where the kernel lacks a layer of the sandbox. */
enum config_sandbox { CONFIG_SANDBOX_AUTO, CONFIG_SANDBOX_STRICT, CONFIG_SANDBOX_OFF };

struct config_listen {
    struct address address;
    bool udp, tcp;
    char *group_name; /* NULL: the default one */
    unsigned group;   /* asked where no route says otherwise */
};

/* How an upstream is asked. Only what is written with its scheme is ever asked in clear text. */
enum config_transport { CONFIG_TLS, CONFIG_TCP, CONFIG_UDP };

/* An upstream, with its identity: a name, else (no pins) its address, else its pins. One that is asked in
 * clear text has neither. */
struct config_upstream {
    enum config_transport transport;
    struct address address; /* of no family, and with the port, where the host is known by name */
    char *host;             /* in lower case; NULL where there is an address */
    char *url;              /* "tls://1.1.1.1:853#cloudflare-dns.com" */
    char *label; /* the URL, behind "GROUP/" where that is not the default group, or "bootstrap:" */
    char *name;  /* NULL when none was given */
    uint8_t (*pins)[TLS_PIN_SIZE];
    size_t pin_count;
    bool without_clock; /* believed by pins, name and chain while this machine's clock cannot be right */
    bool optional;      /* of a default or preset: left out where there is no route to it (IPv6) */
    const char *group_name;
    unsigned group, weight;
};

/* How a group's servers are chosen from. */
enum config_policy {
    CONFIG_FASTEST,
    CONFIG_ROUND_ROBIN,
    CONFIG_RANDOM,
    CONFIG_ORDERED,
    CONFIG_HASH,
};

/* Servers of which any may be asked in the place of any other, and never one of another group. All of them
 * are encrypted, or none is: what is asked in the place of another server is never more readable. */
struct config_group {
    const char *name;
    enum config_policy policy;
    bool is_plain; /* asked in clear text */
    bool hedge;    /* late answers are asked for once more, within a budget */
    bool is_asked; /* by a listener or a route */
    /* Of the cache, less than CONFIG_PARTITIONS: the same for a name in every configuration, but for two
     * names that meet, and never the same for two groups of one configuration. */
    uint8_t partition;
};

/* Names that are asked at a group: this one and all below it, where no longer one has a route. */
struct config_route {
    char *name, *group_name;
    unsigned group;
};

struct config_prefixes {
    struct address_prefix *items;
    size_t count;
};

struct config_place;

struct config_texts {
    char **items;
    size_t count;
    struct config_place *places; /* of each item, see config_place_of_text */
};

/* Durations in nanoseconds, sizes in bytes. */
struct config {
    struct config_listen *listen;
    size_t listen_count;
    struct config_upstream *upstreams;
    size_t upstream_count;
    struct config_upstream *bootstrap; /* who is asked for the addresses of hosts; in no group */
    size_t bootstrap_count;
    struct config_group *groups;
    size_t group_count;          /* 1 at least */
    struct config_route *routes; /* without that of "." */
    size_t route_count;
    const char *rest_group; /* of the route ".", NULL where there is none */
    unsigned rest;          /* the group for the rest; where every listener names one, the first one's */
    struct {
        struct config_prefixes allow, deny;
    } access;
    struct {
        uint64_t memory;
        uint64_t query_timeout, udp_discard;
        uint64_t tcp_idle, tcp_message_timeout, tcp_write_timeout;
        uint64_t tcp_output;
        uint64_t tcp_connections, tcp_connections_per_client;
        uint64_t pending, pending_per_client;
        uint64_t drain_delay, drain_timeout;
    } limits;
    struct {
        uint64_t attempt_timeout, connect_timeout, handshake_timeout, refused_retry, backoff_min, backoff_max;
        uint64_t handshakes_per_second, links, in_flight, max_age, warm;
    } upstream;
    char *addresses_file; /* of hosts; "": none */
    struct {
        uint64_t size;                                            /* 0: no cache */
        uint64_t min_ttl, max_ttl, negative_max_ttl, failure_ttl; /* seconds */
        bool serve_stale, prefetch;
        uint64_t stale_max; /* seconds */
        uint64_t stale_client_timeout;
        char *file; /* "": none */
        uint64_t file_interval;
    } cache;
    struct {
        bool special_use;
        struct config_texts forward; /* names */
        struct config_texts hosts;   /* paths */
        struct config_texts records; /* as in a zone file */
        struct config_texts block;   /* paths */
        enum local_block_answer block_answer;
    } local;
    struct {
        char *ca; /* path of a PEM file */
        bool require_1_3;
        uint64_t padding;
    } tls;
    struct {
        bool strip_client_subnet;
    } privacy;
    struct {
        enum log_level level;
        enum log_format format;
        char *target; /* "stderr", "stdout", or the path of a file */
        enum config_log_queries queries;
    } log;
    struct {
        char *socket; /* "" switches it off */
    } control;
    uint64_t workers; /* 0: auto */
    char *user;       /* "auto", a name, or "" */
    enum config_sandbox sandbox;
};

/* What the command line and the surroundings give. */
struct config_sources {
    const char *file; /* path, or NULL: the default path where such a file exists */
    struct span text; /* the file's text, when file_read is true */
    bool file_read;
    char *const *environment;           /* as environ; NULL for none */
    const struct config_listen *passed; /* sockets from a service manager, in the place of the default */
    size_t passed_count;
    const char *const *listen; /* --listen, in order */
    size_t listen_count;
    const char *const *upstream; /* --upstream, in order */
    size_t upstream_count;
};

/* Receives each error as one line without its newline. */
struct config_report {
    void (*error)(struct config_report *report, const char *line);
};

/* Builds a snapshot: command line over environment over file over what was passed over defaults. 0, or
 * ERROR_INVALID after at least one report. Opens and reads nothing. The caller frees the snapshot with
 * config_free. */
int config_build(const struct config_sources *sources, struct config_report *report, struct config **out);
void config_free(struct config *config);

/* The path of the control socket that these sources name, whatever else is wrong with them: a program that
 * runs with an older configuration can be asked all the same. The caller frees it; NULL: memory ran out. */
char *config_control_socket(const struct config_sources *sources);

/* Checks what can be checked on the machine without the network and without changing anything: files exist
 * and can be read, the CA file holds something, the user exists, the directories of log file, control socket
 * and the files that are kept are there. With `is_thorough` what a start does itself as well: every
 * certificate of the CA file is parsed, and the cache file is looked at. The CA file is left alone where
 * nobody needs it. 0 or ERROR_INVALID. */
int config_check(const struct config *config, struct config_report *report, bool is_thorough);

/* Where a value came from, as long as the snapshot lives: an option's by its path, and that of one text of a
 * list. */
const struct config_place *config_place_of(const struct config *config, const char *path);
const struct config_place *config_place_of_text(const struct config_texts *texts, size_t index);

/* As it stands before a complaint: "FILE:LINE:COLUMN: local.hosts[0]". */
enum { CONFIG_PLACE_SIZE = 1100 };
void config_place_write(const struct config *config, const struct config_place *place,
                        char out[CONFIG_PLACE_SIZE]);

/* Reports what is known of a value only later, when it is used: one line with the value's place. */
__attribute__((format(printf, 4, 5))) void config_refuse(const struct config *config,
                                                         struct config_report *report,
                                                         const struct config_place *place, const char *format,
                                                         ...);

/* Whether some upstream, or who is asked for its addresses, is believed by an authority's word, so that
 * `tls.ca` is of use: one that is asked in clear text is not, nor one whose pins are its whole identity. */
bool config_needs_authorities(const struct config *config);

/* NULL, or why no certificate is looked for under this name. */
const char *config_host_name_refusal(const char *name);

/* Whom a connection to the upstream must prove to be. Borrows from the snapshot. */
struct tls_identity config_upstream_identity(const struct config *config,
                                             const struct config_upstream *upstream);

/* Whether a question to this address would end at a listener of this program. */
bool config_is_own(const struct config *config, enum config_transport transport,
                   const struct address *address);

/* Receives text in pieces. */
struct config_sink {
    void (*write)(struct config_sink *sink, struct span text);
};

/* The snapshot as a complete YAML file with every option; read again it gives the same snapshot. */
void config_print(const struct config *config, struct config_sink *sink);

/* The reference manual of all options as Markdown, the OPTIONS part of dnseal.yaml(5) in roff, and the JSON
 * Schema. */
void config_print_manual(struct config_sink *sink);
void config_print_roff(struct config_sink *sink);
void config_print_schema(struct config_sink *sink);

#endif
