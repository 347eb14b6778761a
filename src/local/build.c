/*
 * From what was gathered to what is asked: names are put into tables, doubled ones once, and every name keeps
 * its records in a chain. Called once, at the start; the bytes that are gathered are moved together in their
 * place, and each table takes a copy of what is left in the end.
 */
#include <assert.h>

#include "base/error.h"
#include "base/memory.h"

#include "local/internal.h"

enum { RECORDS_MOST = 32 * 1024 }; /* bytes of one name's records: they must fit into an answer */

/* A table on its way, over the bytes of its area. */
struct builder {
    struct local_plan *plan;
    struct local *local;
    uint8_t *bytes;
    size_t end;  /* of what was moved together */
    size_t read; /* where the entry begins that is put into the table */
};

static struct span name_at(const uint8_t *bytes)
{
    size_t size;
    int error = dns_name_size(span_of(bytes, DNS_NAME_MAX), &size);
    assert(error == 0);
    return span_of(bytes, size);
}

/* Moves bytes to the end of what is kept; they come from behind it. */
static size_t keep(struct builder *builder, const uint8_t *from, size_t size)
{
    size_t at = builder->end;
    memmove(builder->bytes + at, from, size);
    builder->end += size;
    return at;
}

static int seal(struct builder *builder, struct local_table *table, struct local_area *area)
{
    int error = local_table_seal(table, span_of(builder->bytes, builder->end));
    local_area_close(area);
    return error;
}

/* ---- names alone: blocks and zones ---- */

/* A zone at or below a name that is forwarded is left out; those names come first. */
static bool is_left_out(const struct local_table *zones, enum local_kind kind, const struct local_path *path)
{
    struct local_match match;
    return kind == LOCAL_HERE && local_table_find(zones, path, LOCAL_BELOW, LOCAL_BELOW, &match);
}

static int build_names(struct builder *builder, struct local_table *table, struct local_area *area,
                       bool is_zones)
{
    int error = local_table_open(table, builder->plan->options.hash_key, area->count);
    if (error != 0) {
        return error;
    }
    table->names = builder->bytes = area->bytes;
    for (size_t read = 0; read < area->used;) {
        enum local_kind kind = area->bytes[read];
        struct span name = name_at(area->bytes + read + 1);
        struct local_path path;
        local_path_of(name, &path);
        read += 1 + name.size;
        if (is_zones && is_left_out(table, kind, &path)) {
            continue;
        }
        uint32_t *entry = local_table_place(table, &path);
        size_t offset = *entry == 0 ? keep(builder, name.data, name.size) : 0;
        local_table_set(table, entry, offset, kind, &path);
        if (is_zones && kind == LOCAL_HERE) {
            builder->local->tops |= local_top(&path);
        }
    }
    return seal(builder, table, area);
}

static int build_blocks(struct local_plan *plan, struct local *local)
{
    struct builder builder = {.plan = plan, .local = local};
    return build_names(&builder, &local->blocks, &plan->blocks, false);
}

static int build_zones(struct local_plan *plan, struct local *local)
{
    struct builder builder = {.plan = plan, .local = local};
    struct local_name zone;
    for (size_t i = 0; plan->options.special_use && local_special_zone(i, &zone); i++) {
        int error = local_plan_add(&plan->zones, LOCAL_HERE, &zone);
        if (error != 0) {
            return error;
        }
    }
    return build_names(&builder, &local->zones, &plan->zones, true);
}

/* ---- records ---- */

static bool find_zone(const struct local *local, const struct local_path *path, struct local_match *out)
{
    return local_table_find(&local->zones, path, LOCAL_KINDS, LOCAL_KINDS, out) &&
           (out->kinds & LOCAL_BELOW) == 0;
}

/* In a zone that is answered here names exist above every name that has records (RFC 8020). */
static int add_names_between(struct local_plan *plan, const struct local *local, struct span name)
{
    struct local_path path;
    struct local_match zone;
    struct local_name between;
    local_path_of(name, &path);
    if (!find_zone(local, &path, &zone)) {
        return 0;
    }
    for (unsigned i = 1; i < zone.label; i++) {
        between.size = path.size - path.start[i];
        memcpy(between.bytes, path.name + path.start[i], between.size);
        int error = local_plan_add(&plan->records, (enum local_kind)LOCAL_RAW_BETWEEN, &between);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static size_t rest_size(const uint8_t *rest)
{
    return LOCAL_DATA_AT + bytes_get_u16(rest + LOCAL_SIZE_AT);
}

static int add_all_names_between(struct local_plan *plan, const struct local *local)
{
    size_t end = plan->records.used; /* what is added comes behind it */
    for (size_t read = 0; read < end;) {
        struct local_name name;
        struct span at = name_at(plan->records.bytes + read + 1);
        name.size = at.size;
        memcpy(name.bytes, at.data, at.size);
        read += 1 + at.size + rest_size(at.data + at.size);
        int error = add_names_between(plan, local, span_of(name.bytes, name.size));
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

/* The loopback addresses have names, unless they are forwarded or have records already. */
static int add_loopback(struct local_plan *plan, const struct local *local)
{
    struct local_record record = {.type = LOCAL_TYPE_PTR, .ttl = LOCAL_ZONE_TTL, .size = 11};
    memcpy(record.data, "\11localhost", record.size);
    for (size_t i = 0; local_special_reverse(i, &record.name); i++) {
        struct local_path path;
        struct local_match zone;
        local_path_of(span_of(record.name.bytes, record.name.size), &path);
        int error =
            find_zone(local, &path, &zone) ? local_plan_add_record(plan, LOCAL_RAW_DEFAULT, &record) : 0;
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static bool is_same_record(const uint8_t *a, const uint8_t *b)
{
    size_t size = LOCAL_DATA_AT - LOCAL_SIZE_AT + bytes_get_u16(a + LOCAL_SIZE_AT);
    return bytes_get_u16(a + LOCAL_TYPE_AT) == bytes_get_u16(b + LOCAL_TYPE_AT) &&
           bytes_get_u16(a + LOCAL_SIZE_AT) == bytes_get_u16(b + LOCAL_SIZE_AT) &&
           memcmp(a + LOCAL_SIZE_AT, b + LOCAL_SIZE_AT, size) == 0;
}

/* Finds the last record of the chain that begins at `last`; false when the new one is not wanted. */
static bool find_last(const struct builder *builder, enum local_raw raw, const uint8_t *rest, size_t *last,
                      size_t *size)
{
    if (raw == LOCAL_RAW_DEFAULT) {
        return false;
    }
    for (;;) {
        const uint8_t *other = builder->bytes + *last;
        bool is_of_type = bytes_get_u16(other + LOCAL_TYPE_AT) == bytes_get_u16(rest + LOCAL_TYPE_AT);
        if (is_same_record(other, rest) || (raw == LOCAL_RAW_FIRST && is_of_type)) {
            return false;
        }
        *size += rest_size(other);
        if (bytes_get_u32(other + LOCAL_NEXT_AT) == 0) {
            return true;
        }
        *last = bytes_get_u32(other + LOCAL_NEXT_AT);
    }
}

static int complain_of_many(const struct builder *builder, const uint8_t *name, const uint8_t *rest)
{
    char text[DNS_NAME_TEXT_SIZE];
    struct local_place place =
        local_plan_place(builder->plan, builder->read, bytes_get_u32(rest + LOCAL_LINE_AT));
    dns_name_to_text(name, text);
    return local_complain(builder->plan, &place, span_text(text),
                          "has more records than fit into an answer, which are 32 KiB for one name: take "
                          "this one or others of the name out");
}

/* Where its line stood the place of the next record will stand. */
static size_t keep_record(struct builder *builder, const uint8_t *from, size_t name_size, size_t rest_of)
{
    size_t at = keep(builder, from, name_size + rest_of);
    if (rest_of > 0) {
        bytes_put_u32(builder->bytes + at + name_size + LOCAL_NEXT_AT, 0);
    }
    return at;
}

/* Another record for a name that has some. */
static int build_further(struct builder *builder, uint32_t entry, enum local_raw raw, const uint8_t *rest)
{
    size_t name = entry >> LOCAL_KIND_BITS, size = rest_size(rest);
    size_t last = name + name_at(builder->bytes + name).size;
    if (!find_last(builder, raw, rest, &last, &size)) {
        return 0;
    }
    if (size > RECORDS_MOST) {
        return complain_of_many(builder, builder->bytes + name, rest);
    }
    size_t at = keep_record(builder, rest, 0, rest_size(rest));
    bytes_put_u32(builder->bytes + last + LOCAL_NEXT_AT, (uint32_t)at);
    return 0;
}

static int build_record(struct builder *builder, struct local_table *table, size_t *size)
{
    const uint8_t *raw = builder->bytes + builder->read;
    struct span name = name_at(raw + 1);
    const uint8_t *rest = name.data + name.size;
    bool is_between = raw[0] == LOCAL_RAW_BETWEEN;
    size_t rest_of = is_between ? 0 : rest_size(rest);
    struct local_path path;
    local_path_of(name, &path);
    *size = 1 + name.size + rest_of;
    uint32_t *entry = local_table_place(table, &path);
    if (*entry != 0) {
        return is_between ? 0 : build_further(builder, *entry, raw[0], rest);
    }
    local_table_set(table, entry, keep_record(builder, name.data, name.size, rest_of),
                    is_between ? LOCAL_BELOW : LOCAL_HERE, &path);
    return 0;
}

static int build_records(struct local_plan *plan, struct local *local)
{
    struct builder builder = {.plan = plan, .local = local};
    int error = add_loopback(plan, local);
    error = error == 0 ? add_all_names_between(plan, local) : error;
    if (error == 0) {
        error = local_table_open(&local->records, plan->options.hash_key, plan->records.count);
    }
    if (error != 0) {
        return error;
    }
    local->records.names = builder.bytes = plan->records.bytes;
    for (size_t size; builder.read < plan->records.used; builder.read += size) {
        int result = build_record(&builder, &local->records, &size);
        error = result != 0 ? result : error;
    }
    int sealed = seal(&builder, &local->records, &plan->records);
    return sealed != 0 ? sealed : error;
}

/* ---- the whole ---- */

int local_build(struct local_plan *plan, struct local **out)
{
    void *memory;
    int error = memory_open(sizeof(struct local), &memory);
    if (error != 0) {
        return error;
    }
    struct local *local = memory;
    local->block_answer = plan->options.block_answer;
    int (*const steps[])(struct local_plan *, struct local *) = {build_zones, build_records, build_blocks,
                                                                 local_build_routes};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && error == 0; i++) {
        error = steps[i](plan, local);
    }
    if (error != 0) {
        local_free(local);
        return error;
    }
    *out = local;
    return 0;
}

void local_free(struct local *local)
{
    if (local != NULL) {
        local_table_close(&local->records);
        local_table_close(&local->blocks);
        local_table_close(&local->zones);
        local_table_close(&local->routes);
        memory_close(local, sizeof *local);
    }
}

size_t local_memory(const struct local *local)
{
    return sizeof *local + local_table_memory(&local->records) + local_table_memory(&local->blocks) +
           local_table_memory(&local->zones) + local_table_memory(&local->routes);
}

struct local_numbers local_count(const struct local *local)
{
    return (struct local_numbers){.names = local->records.count, .blocked = local->blocks.count};
}
