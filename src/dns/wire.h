/*
 * What the files of this room share: header fields, the walk through a message, and EDNS options. Nobody
 * outside of the room includes this.
 */
#ifndef DNS_WIRE_H
#define DNS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

#include "dns/dns.h"

enum dns_flag {
    DNS_FLAG_QR = 0x8000,
    DNS_FLAG_AA = 0x0400,
    DNS_FLAG_TC = 0x0200,
    DNS_FLAG_RD = 0x0100,
    DNS_FLAG_RA = 0x0080,
    DNS_FLAG_AD = 0x0020,
    DNS_FLAG_CD = 0x0010,
};

/* Offsets of the header's fields. */
enum { DNS_AT_FLAGS = 2, DNS_AT_COUNTS = 4 };

enum dns_section { DNS_SECTION_ANSWER, DNS_SECTION_AUTHORITY, DNS_SECTION_ADDITIONAL, DNS_SECTIONS };

enum {
    DNS_RECORD_FIXED_SIZE = 10, /* type, class, TTL and the size of the data */
    DNS_TTL_AT = 4,             /* within it */
    DNS_DATA_SIZE_AT = 8,
    DNS_OPTION_RECORD_SIZE = 1 + DNS_RECORD_FIXED_SIZE,
    DNS_OPTION_HEAD_SIZE = 4,
    DNS_POINTER = 0xc0,
    DNS_POINTER_SIZE = 2,
    DNS_OPCODE_SHIFT = 11,
};

static inline uint16_t dns_flags(const uint8_t *message)
{
    return bytes_get_u16(message + DNS_AT_FLAGS);
}

static inline unsigned dns_opcode(const uint8_t *message)
{
    return dns_flags(message) >> DNS_OPCODE_SHIFT & 0xfu;
}

/* The number of entries in a section; the question section is -1. */
static inline uint16_t dns_section_count(const uint8_t *message, int section)
{
    return bytes_get_u16(message + DNS_AT_COUNTS + 2 * (section + 1));
}

/* ---- walking (walk.c) ---- */

enum {
    DNS_POINTER_RANGE = 0x4000, /* what 14 bits can point at */
    DNS_WALK_TABLE = DNS_POINTER_RANGE + DNS_NAME_MAX + 1,
};

/*
 * A walk from the first to the last byte of a message, linear in its size however names are compressed: for
 * every offset that a pointer can reach the walk knows what begins there.
 *
 * - 0: nothing that a name may be in: header, fixed fields, the inside of labels, the OPT record;
 * - DNS_PLACE_OPAQUE: data of a type whose format we do not know; a name may be there (a target of SRV, say);
 * - else a name that was walked before; the value is its uncompressed size from here on.
 *
 * No name has a size of 2, so that DNS_PLACE_OPAQUE is free. A label of a name that begins within reach ends
 * within the table.
 */
enum { DNS_PLACE_OPAQUE = 2 };

struct dns_walk {
    struct span message;
    size_t at;
    size_t option_record; /* offset of the OPT record last seen, else the size of the message */
    uint8_t places[DNS_WALK_TABLE];
};

/* The build fills automatic variables with zero; a walk has its own, shorter way to begin. */
#define DNS_WALK_UNFILLED __attribute__((uninitialized))

struct dns_record {
    size_t start;      /* offset of the owner name */
    size_t size;       /* of the whole record */
    size_t owner_size; /* as it stands in the message */
    uint16_t type, class;
    uint32_t ttl;
    struct span data;
};

/* Where names are in the data of a type: `names` of them after `before` bytes, and `behind` bytes after them.
 */
struct dns_data_form {
    uint8_t before, names, behind;
};

/* Of the types of RFC 1035 whose names may be compressed (RFC 3597, section 4); no names for all others. */
struct dns_data_form dns_data_form(uint16_t type);

/* The message has at least a header; the walk stands behind it. */
void dns_walk_begin(struct dns_walk *walk, struct span message);

/* The walk moves on by one question or one record. ERROR_MALFORMED. */
int dns_walk_question(struct dns_walk *walk, struct span *question);
int dns_walk_record(struct dns_walk *walk, struct dns_record *record);

/* TSIG (RFC 8945) or SIG(0) (RFC 2931). */
bool dns_record_is_signature(const struct dns_record *record);

/* In a message that was walked: the offset of what ends a name, a pointer or the root label. */
static inline size_t dns_name_tail(const uint8_t *message, size_t at)
{
    while (message[at] != 0 && message[at] < DNS_POINTER) {
        at += message[at] + 1u;
    }
    return at;
}

/* In a message that was walked: the offset behind a name. */
static inline size_t dns_name_end(const uint8_t *message, size_t at)
{
    size_t tail = dns_name_tail(message, at);
    return tail + (message[tail] == 0 ? 1 : DNS_POINTER_SIZE);
}

static inline size_t dns_pointer_target(const uint8_t *pointer)
{
    return bytes_get_u16(pointer) & (DNS_POINTER_RANGE - 1);
}

/* ---- records of a message that was walked (record.c) ---- */

struct dns_record dns_record_at(const uint8_t *message, size_t start);

/* The names at these two offsets, without regard to case and compression. */
bool dns_names_are_same(const uint8_t *message, size_t a, size_t b);

/* The name at one offset is the one at the other or below it. */
bool dns_name_is_within(const uint8_t *message, size_t name, size_t zone);

/* The records at these two offsets have owner, type and class in common. */
bool dns_records_are_one_set(const uint8_t *message, size_t a, size_t b);

/* The leading part of an answer's records that a client gets. */
struct dns_part {
    size_t end; /* an offset in the answer's message */
    uint16_t count[DNS_SECTIONS];
};

/* As many whole RRsets from the start as fit into `room` bytes, the OPT record not counted. */
struct dns_part dns_answer_cut(const struct dns_answer *answer, size_t room);

/* What is missing from the additional section alone does not set TC (RFC 2181, section 9). */
bool dns_part_is_truncated(const struct dns_part *part, const uint16_t count[DNS_SECTIONS]);

/* A TTL with the highest bit set means 0 (RFC 2181, section 8). */
static inline uint32_t dns_ttl(uint32_t field)
{
    return field >> 31 ? 0 : field;
}

/* What an SOA that denies something leaves of its TTL (RFC 2308, section 5). */
uint32_t dns_soa_negative_ttl(const struct dns_record *soa);

/* ---- what was asked for (asked.c) ---- */

/* One pass over the records of an answer without its OPT record. */
struct dns_pass {
    const struct dns_answer *answer;
    size_t at;
    int section;
    unsigned left;
};

struct dns_pass dns_pass_of(const struct dns_answer *answer);
bool dns_pass_next(struct dns_pass *pass, struct dns_record *record);

struct dns_asked {
    size_t name; /* an offset; at the end of the search the name that the aliases lead to */
    uint16_t type, class;
};

/* Of an answer that has a question. */
struct dns_asked dns_asked_of(const struct dns_answer *answer);

/* Whether the answer section has what was asked, at the end of a chain of aliases where there is one. */
bool dns_find_asked(const struct dns_answer *answer, struct dns_asked *question);

/* ---- what a client sees in every message (view.c) ---- */

/* Header and question. `flags`, with the response code in them, come on top of what the view says; the OPT
 * record that is going to follow is counted. */
void dns_view_head_write(struct bytes_writer *writer, const struct dns_view *view, unsigned flags,
                         const uint16_t count[DNS_SECTIONS]);

/* Our OPT record, nothing for a client without EDNS. `kept` is an extended error beside the view's own, or
 * NULL. */
void dns_view_option_write(struct bytes_writer *writer, const struct dns_view *view, unsigned rcode,
                           const struct dns_extended_error *kept);
size_t dns_view_option_size(const struct dns_view *view, const struct dns_extended_error *kept);

/* As much of the text as is ever written. It is UTF-8 (RFC 8914, section 2) and is not cut within a
 * character. */
struct span dns_extended_text(const struct dns_extended_error *error);

/* ---- EDNS (edns.c) ---- */

enum dns_option {
    DNS_OPTION_CLIENT_SUBNET = 8,
    DNS_OPTION_COOKIE = 10,
    DNS_OPTION_KEEPALIVE = 11,
    DNS_OPTION_PADDING = 12,
    DNS_OPTION_EXTENDED_ERROR = 15,
};

enum { DNS_EDNS_DO = 0x8000 };

/* Moves on by one option; false at the end, and where the option does not fit (the reader has failed then).
 */
bool dns_option_next(struct bytes_reader *options, uint16_t *code, struct span *payload);

/* The payload of an RFC 7871 option where it has a possible size, else an empty span. */
struct span dns_option_client_subnet(struct span payload);

void dns_option_write(struct bytes_writer *writer, uint16_t code, struct span payload);

/* The fixed part of our OPT record, with the size of its data still 0. */
void dns_option_record_write(struct bytes_writer *writer, unsigned rcode, bool dnssec_ok);

/* Sets the size of the data of the OPT record at `record`, which ends where the writer stands. */
void dns_option_record_close(struct bytes_writer *writer, size_t record);

#endif
