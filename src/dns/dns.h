/*
 * The language: DNS messages as bytes (RFC 1035, RFC 6891). Pure functions: no allocation, no clock, no input
 * or output. What a stranger sends is walked to its last byte before anything of it is believed; every walk
 * is linear in the size of the message.
 */
#ifndef DNS_DNS_H
#define DNS_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    DNS_HEADER_SIZE = 12,
    DNS_LABEL_MAX = 63,
    DNS_NAME_MAX = 255,
    DNS_QUESTION_MAX = DNS_NAME_MAX + 4,
    DNS_MESSAGE_MAX = 65535,
    DNS_UDP_LEAST = 512, /* RFC 1035: what every client takes */
    DNS_UDP_MOST = 1232, /* the most we send in a datagram, and the size we announce */
    DNS_NAME_TEXT_SIZE = 4 * DNS_NAME_MAX + 2,
    DNS_EXTRA_TEXT_MAX = 128, /* of an extended error */
    DNS_OPTION_CLIENT_SUBNET_MAX = 20,
    DNS_PADDING_MOST = 512, /* the largest padding block */
    DNS_QUERY_MAX = 832,    /* the longest query that dns_query_write makes with it */
};

enum dns_rcode {
    DNS_RCODE_NOERROR = 0,
    DNS_RCODE_FORMERR = 1,
    DNS_RCODE_SERVFAIL = 2,
    DNS_RCODE_NXDOMAIN = 3,
    DNS_RCODE_NOTIMP = 4,
    DNS_RCODE_REFUSED = 5,
    DNS_RCODE_BADVERS = 16,
};

enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_NS = 2,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_SOA = 6,
    DNS_TYPE_TXT = 16,
    DNS_TYPE_SIG = 24,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_OPT = 41,
    DNS_TYPE_RRSIG = 46,
    DNS_TYPE_META = 128, /* the first that is not for data */
    DNS_TYPE_TKEY = 249,
    DNS_TYPE_TSIG = 250,
    DNS_TYPE_IXFR = 251,
    DNS_TYPE_AXFR = 252,
    DNS_TYPE_ANY = 255,
};

enum dns_class { DNS_CLASS_IN = 1, DNS_CLASS_CHAOS = 3 };

/* RFC 8914, section 4. */
enum dns_extended_code {
    DNS_EXTENDED_NONE = -1,
    DNS_EXTENDED_OTHER = 0,
    DNS_EXTENDED_STALE_ANSWER = 3,
    DNS_EXTENDED_DNSSEC_BOGUS = 6,
    DNS_EXTENDED_NSEC_MISSING = 12,
    DNS_EXTENDED_CACHED_ERROR = 13,
    DNS_EXTENDED_NOT_READY = 14,
    DNS_EXTENDED_BLOCKED = 15,
    DNS_EXTENDED_PROHIBITED = 18,
    DNS_EXTENDED_STALE_NXDOMAIN = 19,
    DNS_EXTENDED_NOT_SUPPORTED = 21,
    DNS_EXTENDED_NO_REACHABLE_AUTHORITY = 22,
    DNS_EXTENDED_NETWORK_ERROR = 23,
    DNS_EXTENDED_INVALID_DATA = 24,
};

struct dns_extended_error {
    int code;         /* DNS_EXTENDED_NONE when there is none */
    struct span text; /* at most DNS_EXTRA_TEXT_MAX bytes are ever written */
};

/* Whether it says what came of the validation: the next server would say the same. */
static inline bool dns_extended_is_verdict(int code)
{
    return code >= DNS_EXTENDED_DNSSEC_BOGUS && code <= DNS_EXTENDED_NSEC_MISSING;
}

/* ---- names (name.c) ---- */

/* The size of the uncompressed name at the start of `bytes`, root label included. ERROR_SHORT,
 * ERROR_MALFORMED (a label type other than a plain one, more than DNS_NAME_MAX). */
int dns_name_size(struct span bytes, size_t *size);

/* Letters A-Z to a-z (RFC 4343); a length byte is never a letter, so whole names may be given. */
void dns_name_to_lower(uint8_t *bytes, size_t size);

/* The same bytes but for the case of letters. */
bool dns_name_equal(const uint8_t *a, const uint8_t *b, size_t size);

/* Text form with a final dot, every byte that is not a letter, digit, '-' or '_' as \DDD, and "\." inside
 * labels. `name` is a valid uncompressed name. Returns the length; the text is terminated. */
size_t dns_name_to_text(const uint8_t *name, char out[DNS_NAME_TEXT_SIZE]);

/* The wire form of a name's text (RFC 1035, 5.1): labels between dots, the last dot may be missing, "\DDD"
 * and
 * "\" with a character for what has no place in it. Letter case stays. ERROR_INVALID: no text, an empty or
 * too long label, a bare byte that is no visible ASCII character, or more than DNS_NAME_MAX in all. */
int dns_name_from_text(struct span text, uint8_t out[DNS_NAME_MAX], size_t *size);

/* Whether a question of this type asks for data, as ANY does too, and not for an exchange of its own: the
 * types from 128 to 254 (RFC 6895, 3.1). */
static inline bool dns_type_is_data(uint16_t type)
{
    return type < DNS_TYPE_META || type >= DNS_TYPE_ANY;
}

/* "AAAA", or "TYPE65280" for types without a name here (RFC 3597); out holds at least 16 bytes. */
const char *dns_type_text(uint16_t type, char out[16]);

/* "NXDOMAIN", "BADVERS", or "RCODE23"; out holds at least 16 bytes. */
const char *dns_rcode_text(unsigned rcode, char out[16]);

/* ---- queries (query.c) ---- */

/* A client's query, read whole. The spans point into the message. */
struct dns_query {
    struct span message;
    uint16_t id;
    uint8_t opcode;
    bool rd, ad, cd;
    bool has_question;    /* false only with `rcode` set: nothing to echo */
    struct span question; /* uncompressed name, type and class, in the client's letter case */
    uint16_t type, class;
    bool is_signed; /* the last record is TSIG or SIG(0): nothing but the id may change (RFC 5625, 4.5) */
    bool has_edns;  /* an OPT record was there, of any version */
    bool dnssec_ok;
    bool keepalive;            /* RFC 7828 option with length 0 */
    bool padded;               /* RFC 7830 option */
    uint16_t udp_size;         /* what the client can take in a datagram: 512 without EDNS or below it */
    struct span client_subnet; /* payload of an RFC 7871 option, empty when there is none */
    unsigned rcode;            /* 0: go on. Else the answer this query deserves: FORMERR, NOTIMP or BADVERS */
    int extended; /* the extended error that goes with rcode, DNS_EXTENDED_NONE where none does */
};

/* Reads a message that a client sent. 0 where something may be answered: look at out->rcode first.
 * ERROR_SHORT for fewer than 12 bytes and ERROR_INVALID for a message with QR=1: neither is ever answered.
 *
 * FORMERR: not exactly one question, a compressed or broken question name, records in the answer or authority
 * section (a TSIG or SIG(0) in additional is fine; IXFR's authority SOA is fine: it is refused later by
 * type), two OPT records, an OPT outside additional or with an owner other than the root, options that do not
 * fill their space, a keepalive option with a length other than 0 (RFC 7828, 3.2.1), a cookie of a length
 * that RFC 7873, 5.2.2 forbids, a question for type OPT, bytes behind the last record. NOTIMP: an opcode
 * other than QUERY (extended error 21). BADVERS: EDNS of a version above 0. Unknown options and flags are
 * ignored (RFC 6891, RFC 8906). */
int dns_query_read(struct span message, struct dns_query *out);

/* What we ask upstream. */
struct dns_question_form {
    struct span question; /* name, type, class; the name is written in lower case */
    bool rd, cd, dnssec_ok;
    struct span
        client_subnet;    /* copied as an option when not empty; at most DNS_OPTION_CLIENT_SUBNET_MAX bytes */
    bool keepalive;       /* ask for the idle limit of the connection (RFC 7828) */
    size_t padding_block; /* the message is padded to a multiple of it (RFC 7830, RFC 8467); 0: no padding */
};

/* Writes a query with id 0, AD set, one OPT record of our own (size DNS_UDP_MOST) and, with a padding block,
 * a padding option, even an empty one, so that the size is always a multiple. ERROR_SPACE. */
int dns_query_write(const struct dns_question_form *form, uint8_t *out, size_t capacity, size_t *size);

/* ---- answers (answer.c) ---- */

/* An upstream's answer, walked whole. The spans point into the message. */
struct dns_answer {
    struct span message;
    uint16_t id;
    bool aa, tc, ad, cd, rd, ra;
    unsigned rcode;       /* 12 bits: with the OPT record's share */
    struct span question; /* empty when there was none */
    uint16_t count[3];    /* answer, authority, additional without OPT */
    size_t records;       /* offset of the first record */
    size_t option_record; /* offset of the OPT record, 0 when there is none */
    size_t option_record_size;
    bool is_signed;                     /* ends in TSIG or SIG(0) */
    struct dns_extended_error extended; /* the first, or the first verdict of DNSSEC where there is one; code
                                           NONE when there is none */
    int keepalive; /* the idle limit of the connection in units of 100 ms (RFC 7828), -1 when not told */
    bool padded;   /* RFC 7830 option */
    struct span client_subnet;
};

/* Walks an answer from its first to its last byte: header, exactly one question or none, every owner name,
 * every record's bounds, names inside the data of the types of RFC 1035, one OPT at most and its options,
 * nothing behind the end. Pointers only go backwards. ERROR_SHORT (< 12 bytes), ERROR_INVALID (QR=0 or an
 * opcode other than QUERY), ERROR_MALFORMED. */
int dns_answer_read(struct span message, struct dns_answer *out);

/* Whether the answer is about this question (name without regard to case, type, class). A failure (neither
 * NOERROR nor NXDOMAIN) with an empty question section and no records matches every question. */
bool dns_answer_matches(const struct dns_answer *answer, struct span question);

/* The data of the records that were asked for, at the end of a chain of aliases where there is one: as many
 * as there are, but at most `most`. */
size_t dns_answer_data(const struct dns_answer *answer, struct span *out, size_t most);

/* How one client sees an answer. */
struct dns_view {
    uint16_t id;
    uint8_t opcode;       /* as the client sent it; 0 but for errors */
    struct span question; /* the client's own letter case; may be empty for errors */
    bool rd, cd;          /* as the client sent them */
    bool show_ad;         /* the client set AD or DO (RFC 6840, 5.7) */
    bool has_edns;        /* an OPT record goes out exactly when the client sent one */
    bool dnssec_ok;
    size_t limit;                       /* most bytes; what does not fit is cut and TC set */
    int keepalive;                      /* in units of 100 ms, or -1 for none (RFC 7828) */
    struct span client_subnet;          /* written as an option when not empty */
    struct dns_extended_error extended; /* written when has_edns and code is not NONE */
};

/* The most bytes that dns_answer_write needs above the size of the answer it rewrites. */
enum { DNS_ANSWER_GROWTH = 11 + 4 + 2 + 4 + 2 + DNS_EXTRA_TEXT_MAX + 4 + DNS_OPTION_CLIENT_SUBNET_MAX };

/* Rewrites an upstream's answer for one client: its id, question, RD and CD, AD only where show_ad, RA set,
 * TC where the upstream set it or where records were cut; records are copied byte by byte, whole RRsets are
 * cut from the end where the limit demands it (the additional section without TC: RFC 2181, 9), the
 * upstream's OPT record is taken out and ours written. Names that point behind a removed OPT record are
 * corrected. An answer that ends in a signature is copied whole with nothing changed but the id; where it
 * does not fit, header and question with TC. The question of view has the size of the answer's
 * (dns_answer_matches was true); an answer without a question gets the view's. ERROR_SPACE where capacity is
 * less than header, question and OPT need. */
int dns_answer_write(const struct dns_answer *answer, const struct dns_view *view, uint8_t *out,
                     size_t capacity, size_t *size);

/* An answer of our own without records: header, question, OPT with the extended error when the client sent
 * EDNS. rcode up to 4095; those above 15 need has_edns. RA is set, AA is not. ERROR_SPACE. */
int dns_error_write(const struct dns_view *view, unsigned rcode, uint8_t *out, size_t capacity, size_t *size);

/* ---- lifetimes (ttl.c) ---- */

enum dns_lifetime_kind {
    DNS_LIFETIME_NONE,
    DNS_LIFETIME_POSITIVE,
    DNS_LIFETIME_NEGATIVE,
    DNS_LIFETIME_FAILURE
};

/* How long an answer may be kept. */
struct dns_lifetime {
    enum dns_lifetime_kind kind;
    uint32_t
        seconds; /* above 0 for POSITIVE and NEGATIVE; for FAILURE 0: the time is the caller's (RFC 9520) */
    bool covers_name; /* the name does not exist: the answer is good for every type of it (RFC 2308, 5) */
};

/* POSITIVE: what was asked is there, behind aliases or not; the lowest TTL of all records. NEGATIVE:
 * NXDOMAIN, or NOERROR without what was asked, and in authority the SOA of a zone that the name (at the end
 * of the aliases) is in; the lowest of its TTL, its MINIMUM and the other records' TTLs (RFC 2308). FAILURE:
 * a SERVFAIL that a server sent. An NXDOMAIN behind an alias does not cover the name, which exists: as an
 * alias.
 *
 * NONE: a time of 0; truncated; signed (TSIG, SIG(0)); made for one client subnet (RFC 7871, a scope above
 * 0); any other rcode; no SOA that denies, or a chain of aliases without an end; types TKEY to MAILA, which
 * are asked for an exchange of their own, and classes NONE and ANY, whose answers have no class to be
 * complete in. ANY is kept as an answer to ANY alone. DNAME needs no rule: the alias made from it is in the
 * answer. */
struct dns_lifetime dns_answer_lifetime(const struct dns_answer *answer);

/* Brings the TTLs of a message that dns_answer_write wrote down to `most` seconds; one with its top bit set
 * is 0 (RFC 2181, 8). */
void dns_answer_cap_ttls(uint8_t *message, size_t size, uint32_t most);

/* ---- stored answers (stored.c) ---- */

/* Writes the form in which an answer is kept: rcode, AD, the first extended error, and the records without
 * OPT; no id, no question, no AA, since what comes from a cache is not authoritative, and no option of a hop.
 * One RRset gets one TTL (RFC 2181, 5.2), and an SOA in authority none above its MINIMUM (RFC 2308, 5).
 * Compressed names stay right in a message whose question has the same size. Four bytes more than the
 * records, seven where a section has more than 255, and 3 and the text for an extended error; never more than
 * the message. ERROR_INVALID: truncated, signed, or an rcode above 15. ERROR_SPACE where capacity is less
 * than the size of the message. */
int dns_stored_write(const struct dns_answer *answer, uint8_t *out, size_t capacity, size_t *size);

/* A stored answer and how its times are shown: each TTL is brought up to `least`, then down to `most`, then
 * `age` is taken off, to 0 at last. With `stale` above 0 the age does not count: TTLs are shown as they came,
 * within least and most, but at most `stale` (RFC 8767 recommends 30) and at least 1. */
struct dns_stored {
    struct span bytes;
    uint32_t age, least, most, stale; /* seconds */
};

/* The 4 bits of a stored answer's rcode. ERROR_MALFORMED for no bytes. */
int dns_stored_rcode(struct span bytes);

/* Writes a stored answer for one client, as dns_answer_write does for the answer that it came from; TC only
 * where records were cut. With EDNS the client gets view's extended error, and then the stored one where
 * that has another code. The question of view is one that the answer was stored for, but for case, or for its
 * type where the answer covers the name. A capacity of DNS_MESSAGE_MAX is enough for everything that was
 * stored; ERROR_SPACE where it is less than header, question and records, or than header, question and OPT.
 *
 * The bytes may be damaged, or change while they are read: nothing outside of them is read, and what is not a
 * row of records to its last byte is ERROR_MALFORMED, with rubbish in `out`. */
int dns_stored_answer(const struct dns_stored *stored, const struct dns_view *view, uint8_t *out,
                      size_t capacity, size_t *size);

/* ---- keys (key.c) ---- */

/* What is kept under a key. */
enum dns_key_kind {
    DNS_KEY_ANSWER,  /* the answer to the question */
    DNS_KEY_NAME,    /* the answer to every type of the question's name: the name does not exist */
    DNS_KEY_FAILURE, /* a failure, which must not take the place of an answer */
    DNS_KEY_SILENCE, /* that nobody answered of late */
};

struct dns_key_form {
    enum dns_key_kind kind;
    uint8_t group; /* whom we ask, DNS_KEY_GROUP_MAX at most */
    bool dnssec_ok, cd;
};

/* The last bytes of a key are all in which the keys of one name, class and group differ. */
enum { DNS_KEY_TAIL = 3, DNS_KEY_GROUP_MAX = 127, DNS_KEY_MAX = DNS_NAME_MAX + 1 + 2 + DNS_KEY_TAIL };

/* Writes the key of a question (name, type, class); returns its size. Two questions have the same key where
 * they have kind, group, DO, CD, class, the name without regard to case and, but for DNS_KEY_NAME, the type
 * in common, and only there. */
size_t dns_question_key(struct span question, const struct dns_key_form *form, uint8_t out[DNS_KEY_MAX]);

/* The name in a key, in lower case. ERROR_MALFORMED where the bytes are no key. */
int dns_key_name(struct span key, struct span *name);

/* The group in a key that dns_key_name has found to be one. */
uint8_t dns_key_group(struct span key);

/* The number of the form that keys and stored answers have, for whoever keeps them longer than a program
 * runs. It is raised with every change of their bytes, or of what an entry's note means. */
enum { DNS_STORED_FORM = 2 };

/* ---- frames (frame.c) ---- */

/* Finds the next message in a stream of two-byte lengths and messages (RFC 1035, 4.2.2; RFC 7766). 0:
 * `message` is the message, `used` counts the bytes to skip, length included. ERROR_SHORT: more bytes are
 * needed; `used` is how many the frame has in all, or 2 while the length itself is not there.
 * ERROR_MALFORMED: a length below 12. */
int dns_frame_next(struct span bytes, struct span *message, size_t *used);

#endif
