/*
 * What the files of this room share. Every layer (defaults, file, environment, command line) becomes nodes
 * with a place; config_option_set puts a node into the snapshot as the table says. A complaint never stops
 * the work: whoever has complained goes on, and config_build gives no snapshot in the end.
 */
#ifndef CONFIG_TABLE_H
#define CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

#define CONFIG_DEFAULT_FILE  "/etc/dnseal/dnseal.yaml"
#define CONFIG_DEFAULT_GROUP "default"

enum {
    CONFIG_OPTIONS_MAX = 64,
    CONFIG_WORDS_MAX = 4,
    CONFIG_NAME_SIZE = 64,  /* of the longest environment name or path of an option */
    CONFIG_VALUE_SIZE = 32, /* of the longest text of a number */
    CONFIG_TEXT_MAX = 4095, /* bytes of a path */
    CONFIG_DNS_PORT = 53,
    CONFIG_DOT_PORT = 853,
    CONFIG_TEXTS_MAX = 1024, /* entries of a list of texts */
    CONFIG_ROUTES_MAX = 16384,
    CONFIG_GROUP_NAME_MAX = 32,
};

/* ---- the table (schema.c) ---- */

/* The lists stand at the end. */
enum config_type {
    CONFIG_DURATION, /* uint64_t, nanoseconds */
    CONFIG_SIZE,     /* uint64_t, bytes */
    CONFIG_NUMBER,   /* uint64_t; the first word, where there is one, stands for 0 */
    CONFIG_SWITCH,   /* bool; the second word stands for true */
    CONFIG_WORD,     /* an enum, in the order of the words */
    CONFIG_FILE,     /* char *, the path of a file that is read */
    CONFIG_PATH,     /* char *, an absolute path or one of the words */
    CONFIG_USER,     /* char *, a name or one of the words */
    CONFIG_LISTENERS,
    CONFIG_UPSTREAMS,
    CONFIG_PREFIXES,
    CONFIG_FILES,   /* struct config_texts, paths of files that are read */
    CONFIG_NAMES,   /* struct config_texts, names of special use */
    CONFIG_RECORDS, /* struct config_texts, records as in a zone file */
    CONFIG_GROUPS,  /* a mapping, or a list of NAME=VALUE */
    CONFIG_ROUTES,  /* the same */
    CONFIG_BOOTSTRAP,
};

struct config_option {
    const char *path;
    enum config_type type;
    size_t offset;            /* of the field in struct config */
    const char *default_text; /* a list's entries are separated by commas */
    uint64_t least, most;     /* of numbers; most also bounds the bytes of a text */
    const char *words[CONFIG_WORDS_MAX + 1];
    const char *description;
};

size_t config_option_count(void);
const struct config_option *config_option_at(size_t index);
size_t config_option_index(const struct config_option *option);

/* The option with this path, or NULL (option.c, up to config_type_is_list). */
const struct config_option *config_option_find(const char *path);

/* The first option of a section such as "limits", or NULL. */
const struct config_option *config_section_find(const char *section);

/* "DNSEAL_LIMITS_TCP_IDLE". */
void config_option_variable(const struct config_option *option, char out[CONFIG_NAME_SIZE]);

/* The length of "limits" in "limits.tcp_idle", 0 for an option without a section. */
size_t config_option_section(const struct config_option *option);

/* "tcp_idle". */
const char *config_option_key(const struct config_option *option);

bool config_type_is_list(enum config_type type);

/* ---- memory (arena.c) ---- */

struct config_chunk;

/* Everything of a snapshot lives and goes together. */
struct config_arena {
    struct config_chunk *chunks;
};

/* Zeroed memory, or NULL. */
void *config_arena_take(struct config_arena *arena, size_t size);
char *config_arena_text(struct config_arena *arena, struct span text);
void config_arena_free(struct config_arena *arena);

/* ---- places and complaints (report.c) ---- */

enum config_source {
    CONFIG_FROM_DEFAULT,
    CONFIG_FROM_FILE,
    CONFIG_FROM_ENVIRONMENT,
    CONFIG_FROM_COMMAND_LINE
};

struct config_place {
    enum config_source source;
    const char
        *name; /* path in the file, variable, or option of the command line; "" for the file as a whole */
    size_t line, column; /* in the file, from 1 */
};

/* What is said of a group, before it is known whether there is one of the name. */
struct config_group_setting {
    const char *name;
    struct config_place place;
    enum config_policy policy;
    bool hedge;
};

/* A snapshot with what is remembered about where it came from. */
struct config_snapshot {
    struct config config; /* first, so that the one is found by the other */
    struct config_arena arena;
    const char *file; /* path of the configuration file */
    struct config_place places[CONFIG_OPTIONS_MAX];
    struct config_place upstream_places[CONFIG_UPSTREAMS_MAX];
    struct config_place bootstrap_places[CONFIG_BOOTSTRAP_MAX];
    struct config_place listen_places[CONFIG_LISTEN_MAX];
    struct config_place *route_places;
    struct config_group_setting settings[CONFIG_GROUPS_MAX];
    size_t setting_count;
};

/* One run over the sources. */
struct config_work {
    struct config_snapshot *snapshot;
    struct config_arena *arena;
    struct config_report *report;
    size_t complaints;
    bool bad[CONFIG_OPTIONS_MAX]; /* options that were complained about: not worth comparing with others */
};

/* Reports one line; control bytes and bytes that are not ASCII are escaped. After CONFIG_COMPLAINTS_MAX only
 * one more line is reported, which says so. */
enum { CONFIG_COMPLAINTS_MAX = 100 };
void config_complain(struct config_work *work, const struct config_place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void config_complain_memory(struct config_work *work);

/* ---- nodes (report.c makes single ones, yaml.c trees) ---- */

enum config_node_kind {
    CONFIG_NODE_SCALAR,
    CONFIG_NODE_LIST,
    CONFIG_NODE_MAP,
    CONFIG_NODE_REFUSED, /* was complained about */
};

struct config_node {
    enum config_node_kind kind;
    bool absent; /* a scalar that was not even written as "" */
    struct config_place place;
    const char *text;
    const char *key; /* in a mapping */
    struct config_place key_place;
    struct config_node *first, *last, *next;
    size_t count; /* of children */
};

/* A scalar; refused, with a complaint, where the text is not UTF-8 or holds a control character. NULL without
 * memory, after a complaint. */
struct config_node *config_node_scalar(struct config_work *work, const struct config_place *place,
                                       struct span text);

/* A list of scalars from text with commas; spaces around the entries are left out, empty text is an empty
 * list. */
struct config_node *config_node_list(struct config_work *work, const struct config_place *place,
                                     struct span text);

void config_node_append(struct config_node *parent, struct config_node *child);

/* A scalar's text, or NULL after a complaint. */
const char *config_node_text(struct config_work *work, const struct config_node *node);

/* Whether the node is a list; complains where not. */
bool config_node_is_list(struct config_work *work, const struct config_node *node);

/* The fields of a mapping. Unknown and repeated ones are complained about. */
struct config_field {
    const char *name;
    const struct config_node *node; /* NULL where it was not given */
};
void config_node_fields(struct config_work *work, const struct config_node *map, struct config_field *fields,
                        size_t count);

/* ---- layers ---- */

/* The file's tree (yaml.c); NULL when it is empty, or after a complaint. */
struct config_node *config_yaml_read(struct config_work *work, struct span text);

/* Puts the tree into the snapshot (read.c). */
void config_read_tree(struct config_work *work, const struct config_node *root);

/* The environment into the snapshot (environment.c). */
void config_read_environment(struct config_work *work, char *const *environment);

/* One value into the snapshot (value.c). */
void config_option_set(struct config_work *work, const struct config_option *option,
                       const struct config_node *node);

/* The list types (list.c). */
void config_listeners_set(struct config_work *work, const struct config_option *option,
                          const struct config_node *list);
/* Every listener to this port; what else is said of it stays. */
void config_listeners_move(struct config_work *work, const struct config_place *place, uint16_t port);
void config_upstreams_set(struct config_work *work, const struct config_option *option,
                          const struct config_node *list);
void config_prefixes_set(struct config_work *work, const struct config_option *option,
                         const struct config_node *list);

/* The same address or host, port and name. */
bool config_servers_are_same(const struct config_upstream *a, const struct config_upstream *b);

/* The servers that are asked for addresses (bootstrap.c). */
void config_bootstrap_set(struct config_work *work, const struct config_option *option,
                          const struct config_node *list);

/* The lists of texts (texts.c): each entry is judged by the type of the list. */
void config_texts_set(struct config_work *work, const struct config_option *option,
                      const struct config_node *list);

/* Groups (group.c). The name of one, or NULL after a complaint. */
bool config_group_name_is_valid(const char *name);
char *config_group_name(struct config_work *work, const struct config_node *node);
const char *config_policy_word(enum config_policy policy);
void config_groups_set(struct config_work *work, const struct config_node *node);
void config_routes_set(struct config_work *work, const struct config_option *option,
                       const struct config_node *node);

/* Finds the group of everybody who names one, when all layers are read. */
void config_groups_resolve(struct config_work *work);

/* What no single option can know (cross.c). */
void config_cross_check(struct config_work *work);

/* ---- values (value.c) ---- */

/* A number of a duration, size or number as text: "4500ms", "256KiB". */
void config_value_format(const struct config_option *option, uint64_t value, char out[CONFIG_VALUE_SIZE]);

/* The field of a number, word or switch as its number. */
uint64_t config_value_get(const struct config_option *option, const struct config *config);

/* The field of a text. */
const char *config_text_get(const struct config_option *option, const struct config *config);

/* ---- text (text.c) ---- */

/* The next code point of UTF-8 text and its length; 0 where it is none or a control character. */
size_t config_utf8_next(struct span text, uint32_t *out);

/* A port from 1 to 65535 in decimal; false otherwise. */
bool config_port_parse(struct span text, uint16_t *out);

/* ---- upstreams (upstream_url.c) ---- */

enum { CONFIG_PRESET_SERVERS = 4 };

struct config_preset {
    const char *word, *name;
    const char *servers[CONFIG_PRESET_SERVERS]; /* two of IPv4, then two of IPv6, which are optional */
};

/* By index; NULL behind the last. */
const struct config_preset *config_preset_at(size_t index);
const struct config_preset *config_preset_find(const char *word);

/* The address of one of its servers, with the port of DNS over TLS. */
struct address config_preset_server(const struct config_preset *preset, size_t index);

/* The preset that has the address, or NULL. */
const struct config_preset *config_preset_of(const struct address *address);

/* The parts of a URL. */
struct config_url {
    enum config_transport transport;
    struct address address; /* of no family where there is a host */
    struct span host;       /* empty where there is an address */
    const char *name;       /* NULL where none was written */
};

/* Reads "tls://ADDRESS[:PORT][#NAME]", "tcp://ADDRESS[:PORT]" or "udp://ADDRESS[:PORT]", each also with a
 * host name. NULL, or why it is refused. */
const char *config_url_parse(const char *text, struct config_url *out);

/* NULL, or why no upstream can have this address (its port included). */
const char *config_server_refusal(enum config_transport transport, const struct address *address);

/* Fills the whole of an upstream from its URL; false without memory. */
bool config_url_fill(struct config_arena *arena, const struct config_url *url, struct config_upstream *out);

/* Fills URL, transport, address and name; false without memory. The name may be NULL. */
bool config_upstream_fill(struct config_arena *arena, enum config_transport transport,
                          const struct address *address, const char *name, struct config_upstream *out);

/* ---- suggestions (suggest.c) ---- */

/* The nearest of several words to what was written, as long as it is near. */
struct config_suggestion {
    const char *written;
    char best[CONFIG_NAME_SIZE]; /* "" when nothing is near */
    size_t distance;
};
void config_suggestion_init(struct config_suggestion *suggestion, const char *written);
void config_suggestion_offer(struct config_suggestion *suggestion, const char *word);

/* ---- text out (print.c) ---- */

void config_put(struct config_sink *sink, const char *text);
void config_putf(struct config_sink *sink, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
