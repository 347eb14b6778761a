/*
 * Gathering: everything that is to be answered here is put, as it comes, behind each other, and every
 * complaint is told with its place. Called by whoever reads the configuration's files; build.c makes of it
 * what is asked.
 */
#include <assert.h>
#include <stdio.h>

#include "base/error.h"
#include "base/memory.h"

#include "local/internal.h"

enum {
    LINE_SIZE = 8192, /* all that is shown escaped, four bytes for each, and the reason */
    WORD_SHOWN = 80,
    PATH_SHOWN = 1100,
    SOURCE_PLACE_AT = 4,
};

int local_plan_open(const struct local_options *options, struct local_report *report, struct local_plan **out)
{
    void *memory;
    int error = memory_open(sizeof(struct local_plan), &memory);
    if (error == 0) {
        struct local_plan *plan = memory;
        plan->options = *options;
        plan->report = report;
        *out = plan;
    }
    return error;
}

void local_plan_close(struct local_plan *plan)
{
    local_area_close(&plan->records);
    local_area_close(&plan->blocks);
    local_area_close(&plan->zones);
    local_area_close(&plan->sources);
    local_area_close(&plan->routes);
    memory_close(plan, sizeof *plan);
}

/* ---- complaints ---- */

static size_t put(char *out, size_t size, const char *text)
{
    int written = snprintf(out + size, LINE_SIZE - size, "%s", text);
    return size + (size_t)written;
}

static size_t put_escaped(char *out, size_t size, struct span text, size_t most)
{
    for (size_t i = 0; i < text.size && i < most && size < LINE_SIZE - 8; i++) {
        uint8_t byte = text.data[i];
        if (byte >= ' ' && byte < 0x7f) {
            out[size++] = (char)byte;
        } else {
            size += (size_t)snprintf(out + size, 5, "\\%03u", (unsigned)byte);
        }
    }
    out[size] = '\0';
    return size;
}

int local_complain(struct local_plan *plan, const struct local_place *place, struct span word,
                   const char *reason)
{
    plan->complaints++;
    if (plan->complaints > LOCAL_COMPLAINTS_MAX) {
        if (plan->complaints == LOCAL_COMPLAINTS_MAX + 1) {
            plan->report->error(plan->report, "there are more errors, which are not shown");
        }
        return ERROR_INVALID;
    }
    char line[LINE_SIZE], number[32] = "";
    size_t size = put_escaped(line, 0, span_text(place->path), PATH_SHOWN);
    if (place->line > 0) {
        snprintf(number, sizeof number, ":%zu", place->line);
    }
    size = put(line, size, number);
    size = put(line, size, ": ");
    if (word.size > 0) {
        size = put(line, size, "\"");
        size = put_escaped(line, size, word, WORD_SHOWN);
        size = put(line, size, "\": ");
    }
    put(line, size, reason);
    plan->report->error(plan->report, line);
    return ERROR_INVALID;
}

/* ---- where records come from ---- */

int local_plan_source(struct local_plan *plan, const char *place)
{
    uint8_t *entry;
    size_t size = strlen(place) + 1;
    int error = local_area_claim(&plan->sources, SOURCE_PLACE_AT + size, &entry);
    if (error == 0) {
        bytes_put_u32(entry, (uint32_t)plan->records.used);
        memcpy(entry + SOURCE_PLACE_AT, place, size);
    }
    return error;
}

struct local_place local_plan_place(const struct local_plan *plan, size_t offset, size_t line)
{
    struct local_place place = {.path = "local", .line = line};
    const struct local_area *sources = &plan->sources;
    for (size_t at = 0; at < sources->used && bytes_get_u32(sources->bytes + at) <= offset;) {
        place.path = (const char *)sources->bytes + at + SOURCE_PLACE_AT;
        at += SOURCE_PLACE_AT + strlen(place.path) + 1;
    }
    return place;
}

/* ---- adding ---- */

int local_plan_add(struct local_area *area, enum local_kind kind, const struct local_name *name)
{
    uint8_t *place;
    int error = local_area_claim(area, 1 + name->size, &place);
    if (error == 0) {
        place[0] = (uint8_t)kind;
        memcpy(place + 1, name->bytes, name->size);
    }
    return error;
}

int local_plan_add_record(struct local_plan *plan, enum local_raw raw, const struct local_record *record)
{
    uint8_t *place;
    size_t name = record->name.size;
    int error = local_area_claim(&plan->records, 1 + name + LOCAL_DATA_AT + record->size, &place);
    if (error == 0) {
        place[0] = (uint8_t)raw;
        memcpy(place + 1, record->name.bytes, name);
        uint8_t *rest = place + 1 + name;
        bytes_put_u32(rest + LOCAL_LINE_AT, (uint32_t)record->line);
        bytes_put_u16(rest + LOCAL_TYPE_AT, record->type);
        bytes_put_u32(rest + LOCAL_TTL_AT, record->ttl);
        bytes_put_u16(rest + LOCAL_SIZE_AT, (uint16_t)record->size);
        memcpy(rest + LOCAL_DATA_AT, record->data, record->size);
    }
    return error;
}

int local_plan_record(struct local_plan *plan, const char *place, const char *text)
{
    struct local_record record = {.line = 0};
    const char *refusal = local_record_parse(span_text(text), &record);
    if (refusal != NULL) {
        return local_complain(plan, &(struct local_place){.path = place}, span_text(text), refusal);
    }
    int error = local_plan_source(plan, place);
    return error != 0 ? error : local_plan_add_record(plan, LOCAL_RAW_RECORD, &record);
}

/* ---- what special use leaves out ---- */

const char *local_forward_refusal(const char *text)
{
    struct local_name name;
    const char *refusal = local_name_of_zone(span_text(text), &name);
    if (refusal != NULL) {
        return refusal;
    }
    if (name.size == 1) {
        return "stands for every name: switch local.special_use off instead";
    }
    return local_special_touches(&name) ? NULL : "is forwarded anyway: it is no name of special use";
}

int local_plan_forward(struct local_plan *plan, const char *place, const char *text)
{
    struct local_name name;
    const char *refusal = local_forward_refusal(text);
    if (refusal != NULL) {
        return local_complain(plan, &(struct local_place){.path = place}, span_text(text), refusal);
    }
    refusal = local_name_of_zone(span_text(text), &name);
    assert(refusal == NULL);
    return local_plan_add(&plan->zones, LOCAL_BELOW, &name);
}
