/*
 * What the files of this room share.
 *
 * Files, from the bottom up: text.c (lines, words and names of text), record.c (a record in the form of a
 * zone file), area.c (bytes that grow), table.c (names to entries), special.c (the zones of special use),
 * list.c (hosts files and block lists), plan.c (gathering), route.c (whom to ask), build.c (building),
 * answer.c (what is said).
 */
#ifndef LOCAL_INTERNAL_H
#define LOCAL_INTERNAL_H

#include "dns/dns.h"

#include "local/local.h"

enum {
    LOCAL_TYPE_PTR = 12,
    LOCAL_TYPE_MX = 15,
    LOCAL_TYPE_SRV = 33,
    LOCAL_TYPE_DS = 43,
    LOCAL_RECORD_TTL = 300, /* of records that say nothing else, of hosts and of blocks */
    LOCAL_ZONE_TTL = 10800, /* RFC 6303, section 3 */
    LOCAL_RECORD_MAX = 4096,
    LOCAL_DEPTH_MAX = 128,
};

/* ---- text.c ---- */

/* A name in wire form and lower case. */
struct local_name {
    size_t size;
    uint8_t bytes[DNS_NAME_MAX];
};

/* The lines of a text, without their ends. */
struct local_lines {
    struct span left;
    size_t number; /* of the line that was taken last, from 1 */
};
struct local_lines local_lines_of(struct span text);
bool local_lines_next(struct local_lines *lines, struct span *line);

/* The next word of a line, up to a space or tab that has no backslash before it; false at the end. */
bool local_word_next(struct span *left, struct span *word);

/* Whether these are the same letters, without regard to case. */
bool local_word_is(struct span word, const char *text);

/* A name of letters, digits, '-' and '_', with or without a final dot. False for anything else. */
bool local_name_of_host(struct span text, struct local_name *out);

/* A name as in a zone file, with escapes. NULL, or why it is none. */
const char *local_name_of_zone(struct span text, struct local_name *out);

/* One byte of a text with its escape: a backslash and three digits, or a backslash and any other byte. False
 * where it is broken. */
bool local_byte_next(struct span *left, uint8_t *out, bool *is_escaped);

/* An address without port and brackets; the size of its bytes, or 0. */
size_t local_address_of(struct span text, uint8_t out[16]);

/* The name under in-addr.arpa or ip6.arpa. */
void local_name_reverse(const uint8_t *address, size_t size, struct local_name *out);

/* ---- record.c ---- */

struct local_record {
    struct local_name name;
    size_t line; /* of its source, 0: it has none */
    uint16_t type;
    uint32_t ttl;
    size_t size;
    uint8_t data[LOCAL_RECORD_MAX];
};

/* NULL, or why the text is no record. */
const char *local_record_parse(struct span text, struct local_record *out);

/* ---- area.c ---- */

/* Bytes that grow; what is in it moves. */
struct local_area {
    uint8_t *bytes;
    size_t used, capacity;
    size_t count; /* of entries */
};

/* Room for one more entry of so many bytes. ERROR_MEMORY, ERROR_EXHAUSTED. */
int local_area_claim(struct local_area *area, size_t size, uint8_t **out);
void local_area_close(struct local_area *area);

/* ---- table.c ---- */

/* The build fills automatic variables with zero; these are written before they are read. */
#define LOCAL_UNFILLED __attribute__((uninitialized))

/* A name with the places of its labels, to be looked for with each of its ends. */
struct local_path {
    unsigned depth;                 /* labels without the root */
    size_t size;                    /* of the name */
    uint8_t start[LOCAL_DEPTH_MAX]; /* of each label, the first one's is 0 */
    uint8_t name[DNS_NAME_MAX];     /* in lower case */
};
void local_path_of(struct span name, struct local_path *out);

/* What a table knows of a name, in bits. */
enum local_kind {
    LOCAL_HERE = 1, /* blocks: this name; zones: answered here; records: there are some */
    LOCAL_BELOW =
        2, /* blocks: and all below it; zones: not answered here; records: a name below it has some */
    LOCAL_KINDS = 3,
    LOCAL_KIND_BITS = 2,
};

enum { LOCAL_BUCKET_SLOTS = 12, LOCAL_KIND_COUNT = 2 };

/* A line of the processor's cache. The tag of a free slot is 0. */
struct local_bucket {
    uint8_t tag[LOCAL_BUCKET_SLOTS];
    uint8_t is_full; /* and names that belong here stand in a later one */
    uint8_t unused[3];
    uint32_t entry[LOCAL_BUCKET_SLOTS]; /* offset of the name and, in the lowest bits, its kinds */
};

/* Names to entries: exact, under a keyed hash. */
struct local_table {
    struct hash_key key;
    struct local_bucket *buckets;
    uint32_t bucket_count;
    const uint8_t *names; /* entries begin with their name */
    uint64_t
        depths[LOCAL_KIND_COUNT]; /* of the names of each kind, in labels; the highest bit is "and more" */
    size_t names_size, count;
};

/* An empty table with room for so many names. ERROR_MEMORY. */
int local_table_open(struct local_table *table, struct hash_key key, size_t names);
void local_table_close(struct local_table *table);
size_t local_table_memory(const struct local_table *table);

/* The entry of this name, not the root; where there is none, a new one, which is 0 and has to be set with
 * local_table_set.
 */
uint32_t *local_table_place(struct local_table *table, const struct local_path *path);
void local_table_set(struct local_table *table, uint32_t *entry, size_t offset, enum local_kind kind,
                     const struct local_path *path);

/* Takes a copy of the names, which have stood in the builder's memory so far. ERROR_MEMORY. */
int local_table_seal(struct local_table *table, struct span names);

struct local_match {
    unsigned label; /* where the found name begins in the path */
    enum local_kind kinds;
    size_t offset; /* of the name among the names */
};

/* The longest end of the path that has one of these kinds: `whole` for the path itself, `above` for what is
 * left without its first labels. */
bool local_table_find(const struct local_table *table, const struct local_path *path, enum local_kind whole,
                      enum local_kind above, struct local_match *out);

/* ---- special.c ---- */

/* The zones of special use by index; false behind the last. */
bool local_special_zone(size_t index, struct local_name *out);

/* Whether special use says something of a name at, above or below this one. */
bool local_special_touches(const struct local_name *name);

/* Of the loopback addresses, by index; false behind the last. */
bool local_special_reverse(size_t index, struct local_name *out);

/* ---- plan.c, list.c, build.c ---- */

enum local_raw {
    LOCAL_RAW_RECORD = 1,
    LOCAL_RAW_FIRST,   /* only where the name has no other record of its type so far */
    LOCAL_RAW_DEFAULT, /* only where the name has no record at all */
    LOCAL_RAW_BETWEEN, /* no record: a name below has some */
};

/* Entries of `records`: a byte (enum local_raw), the name, and but for names in between the line of its
 * source and then, in the built thing, the offset of the next record of the name (4), type (2), TTL (4), size
 * (2), data. Of `blocks` and `zones`: a byte (enum local_kind) and the name. Of `sources`: where the records
 * of the source begin in `records` (4), its place as text. */
struct local_plan {
    struct local_options options;
    struct local_report *report;
    size_t complaints;
    struct local_area records, blocks, zones, routes, sources;
};

enum {
    LOCAL_NEXT_AT = 0,
    LOCAL_LINE_AT = 0,
    LOCAL_TYPE_AT = 4,
    LOCAL_TTL_AT = 6,
    LOCAL_SIZE_AT = 10,
    LOCAL_DATA_AT = 12
};

/* The place of a complaint: a file's line, or whatever the caller said when the line is 0. */
struct local_place {
    const char *path;
    size_t line;
};

/* The records that are added from now on come from there. */
int local_plan_source(struct local_plan *plan, const char *place);

/* The place of the record whose entry begins at an offset of `records`. */
struct local_place local_plan_place(const struct local_plan *plan, size_t offset, size_t line);

/* Reports one line, after LOCAL_COMPLAINTS_MAX no more than that there are more; gives ERROR_INVALID. `word`
 * is quoted where it is not empty. */
enum { LOCAL_COMPLAINTS_MAX = 20 };
int local_complain(struct local_plan *plan, const struct local_place *place, struct span word,
                   const char *reason);

int local_plan_add(struct local_area *area, enum local_kind kind, const struct local_name *name);
int local_plan_add_record(struct local_plan *plan, enum local_raw raw, const struct local_record *record);

/* ---- the built thing ---- */

struct local {
    enum local_block_answer block_answer;
    uint64_t tops; /* of the zones' last labels, see local_top */
    struct local_table records, blocks, zones, routes;
};

/* Puts the routes into their table; ERROR_INVALID after a complaint. */
int local_build_routes(struct local_plan *plan, struct local *local);

/* A bit for the last label of a path: most names can be told from special ones by it alone. */
uint64_t local_top(const struct local_path *path);

#endif
