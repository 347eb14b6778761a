/*
 * What the files of the probe share.
 *
 * Files, from the bottom up: lookup.c (where servers are that are known by name), question.c (what is asked),
 * dial.c (one server, step by step), datagram.c (one of UDP), page.c (lines of a report), explain.c (what is
 * wrong), report.c (what was found), probe.c (all servers at once).
 */
#ifndef PROBE_INTERNAL_H
#define PROBE_INTERNAL_H

#include "base/random.h"

#include "dns/dns.h"
#include "event/event.h"

#include "stream/stream.h"

#include "probe/probe.h"

enum {
    PROBE_CHAIN_MAX = 10, /* the longest that can be verified */
    PROBE_SINGLE = 5,     /* questions that are asked one after the other */
    PROBE_TOGETHER = 8,   /* questions that are asked at once */
    PROBE_QUESTIONS = PROBE_SINGLE + PROBE_TOGETHER,
    PROBE_NAME_MAX = DNS_NAME_MAX + 4, /* a question */
    PROBE_PADDING_BLOCK = 468,         /* RFC 8467, 4.1, of answers */
};

/* What a second connection showed. */
enum probe_resumption { PROBE_NOT_TRIED, PROBE_RESUMED, PROBE_NOT_RESUMED };

/* What was found out about one server. Times are nanoseconds. */
struct probe_result {
    const struct config_upstream *upstream;
    const char *reason;         /* static word, NULL: it works */
    struct tls_failure failure; /* reason NONE where TLS has nothing to say */
    bool is_connected, is_secured;
    uint64_t connect_time, round_trip, handshake_time;
    const char *version, *cipher, *group; /* static */
    bool has_protocol, is_undated;
    struct tls_certificate chain[PROBE_CHAIN_MAX];
    size_t chain_count;
    unsigned answered; /* of the single questions */
    uint64_t latency[PROBE_SINGLE];
    unsigned rcode;
    int keepalive;
    bool is_padded;
    size_t answer_size;         /* of the first */
    unsigned answered_together; /* of those that were asked at once */
    uint64_t together_time;
    bool is_out_of_order;
    enum probe_resumption resumption;
    const char *stream_reason; /* of a server of UDP: why it cannot be asked over TCP, NULL: it can */
};

/* ---- lookup.c ---- */

/* What one of those who are asked for addresses says about a host. */
struct probe_said {
    struct address_list addresses;
    const char *reason; /* static word, where there are none */
    uint64_t time;      /* nanoseconds, of the last answer; 0: none came */
};

/* What is known of where a server is. */
struct probe_lookup {
    const struct config_upstream *upstream; /* NULL: it is not known by name */
    struct address_list addresses;          /* those that any of them told, but for our own */
    struct probe_said said[CONFIG_BOOTSTRAP_MAX];
};

/* Asks for the addresses of all servers that are known by name, and waits for what is said. ERROR_MEMORY. */
int probe_look_up(const struct probe_setup *setup, struct stream_shop *shop, struct random *random,
                  struct probe_lookup all[CONFIG_UPSTREAMS_MAX]);

/* ---- question.c ---- */

/* The name that a server is asked for: one that it is there for. */
struct probe_theme {
    uint8_t base[DNS_NAME_MAX];
    size_t base_size;
    uint8_t fresh[DNS_NAME_MAX]; /* one below it that nobody has asked for yet */
    size_t fresh_size;
};

void probe_theme_choose(const struct config *config, unsigned group, uint64_t chance,
                        struct probe_theme *out);

/* Question number `index` in wire form, its size returned. */
size_t probe_question(const struct probe_theme *theme, unsigned index, uint8_t out[PROBE_NAME_MAX]);

/* ---- dial.c ---- */

enum probe_stage {
    PROBE_CONNECTING,
    PROBE_ASKING,
    PROBE_ASKING_TOGETHER,
    PROBE_CONNECTING_AGAIN,
    PROBE_ASKING_IN_DATAGRAMS, /* a server of UDP: first this, */
    PROBE_ASKING_IN_STREAM,    /* then that */
    PROBE_DONE
};

struct probe_dial {
    struct stream stream;
    struct event_timer timer;
    struct stream_shop *shop;
    const struct config *config;
    struct tls_client *client; /* NULL in clear text */
    struct probe_result *result;
    uint16_t first_id; /* of the questions */
    struct probe_theme theme;
    void (*done)(struct probe_dial *dial); /* once, never from inside probe_dial_begin */

    /* The dial's own. */
    const struct stream_handler *handler;
    enum probe_stage stage;
    uint64_t begun_at, asked_at;
    unsigned asked; /* questions so far */
    bool is_answered[PROBE_QUESTIONS];
    unsigned last;       /* the question that was answered last */
    const char *trouble; /* what came instead of an answer, NULL for nothing */
    struct event_after ending;
    struct event_watch watch; /* of UDP: the socket of the question that is out */
    uint64_t give_up_at;
};

/* Begins; what the caller sets is set, everything else is 0. */
void probe_dial_begin(struct probe_dial *dial);

/* What dial.c does for datagram.c as well: waits so long at most; ends, with a reason where it does not work;
 * notes what is known of the connection. */
void probe_dial_wait(struct probe_dial *dial, uint64_t most);
void probe_dial_end(struct probe_dial *dial, const char *reason);
void probe_dial_note_connection(struct probe_dial *dial);

/* Writes question number `index`, its size returned. */
size_t probe_dial_write(struct probe_dial *dial, unsigned index, uint8_t out[DNS_QUERY_MAX]);

/* Sends the next question over the stream. */
void probe_dial_ask_in_stream(struct probe_dial *dial);

/* The number of the question that the message answers, for the first time; else an error, and the trouble is
 * noted. */
int probe_dial_read(struct probe_dial *dial, struct span message, struct dns_answer *out);

/* Notes the answer to one of the single questions. Whether it is one that a server which works gives. */
bool probe_dial_take(struct probe_dial *dial, const struct dns_answer *answer);

/* ---- datagram.c ---- */

/* Begins to ask a server of UDP. */
void probe_datagram_begin(struct probe_dial *dial);

/* What was waited for has not come. */
void probe_datagram_time_over(struct probe_dial *dial);

/* Closes the socket of the question that is out, where there is one. */
void probe_datagram_close(struct probe_dial *dial);

/* ---- page.c ---- */

struct probe_page {
    struct probe_sink *sink;
    bool is_coloured;
    int64_t wall;            /* seconds since the epoch */
    const char *authorities; /* the file */
    bool asks_for_padding;
};

__attribute__((format(printf, 3, 4))) void probe_page_line(const struct probe_page *page, const char *label,
                                                           const char *format, ...);

/* The line that a server begins with; red where it fails. */
void probe_page_head(const struct probe_page *page, const char *label, const char *verdict, bool is_bad);

enum { PROBE_MOMENT_SIZE = 32 };

/* "2026-11-21T07:30:00Z" */
const char *probe_moment(int64_t seconds, char out[PROBE_MOMENT_SIZE]);

/* A distance in the unit that fits: "40 days", "30 hours", "5 minutes". */
const char *probe_distance(int64_t seconds, char out[PROBE_MOMENT_SIZE]);

/* ---- explain.c ---- */

/* What is wrong with a server that does not work, as one sentence. */
void probe_explain(const struct probe_result *result, const struct probe_page *page, char *out, size_t size);

/* What a person can do about it. */
void probe_way_out(const struct probe_result *result, char *out, size_t size);

/* ---- report.c ---- */

void probe_report(const struct probe_result *result, const struct probe_page *page);

/* Where a server is that is known by name, and who says so. */
void probe_report_lookup(const struct probe_lookup *lookup, const struct config *config,
                         const struct probe_page *page);

#endif
