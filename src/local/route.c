/*
 * Names that belong to a group of servers of their own: the longest end of a question's name that has a route
 * says whom to ask. Gathered and built with the rest, asked once for each question that is not answered here;
 * thousands of routes cost as much as one.
 */
#include "base/error.h"

#include "local/internal.h"

/* Entries of `routes`: the name, and the group in one byte. */

/* What people write who have another program's forms in mind. Taken for names, they would be asked by nobody,
 * and what was meant would go to another group. */
static const char *foreign_form(const char *text)
{
    bool is_number = text[0] >= '0' && text[0] <= '9' && strspn(text, "0123456789./") == strlen(text);
    if (strcmp(text, "*") == 0 || strncmp(text, "*.", 2) == 0) {
        return "a route is for the name and for all below it: leave out the asterisk";
    }
    if (text[0] == '/') {
        return "a name stands here without slashes";
    }
    if (is_number || strchr(text, ':') != NULL) {
        return "an address is no name: the reverse names of 10.0.0.0/8 are 10.in-addr.arpa and all below it";
    }
    return NULL;
}

const char *local_route_refusal(const char *text)
{
    struct local_name name;
    const char *foreign = foreign_form(text);
    if (foreign != NULL) {
        return foreign;
    }
    const char *refusal = local_name_of_zone(span_text(text), &name);
    return refusal == NULL && name.size == 1 ? "stands for every name" : refusal;
}

int local_plan_route(struct local_plan *plan, const char *place, const char *text, uint8_t group)
{
    struct local_name name;
    const char *refusal = local_route_refusal(text);
    if (refusal != NULL || local_name_of_zone(span_text(text), &name) != NULL) {
        return local_complain(plan, &(struct local_place){.path = place}, span_text(text), refusal);
    }
    uint8_t *entry;
    int error = local_area_claim(&plan->routes, name.size + 1, &entry);
    if (error != 0) {
        return error;
    }
    memcpy(entry, name.bytes, name.size);
    entry[name.size] = group;
    /* Whoever is asked for it knows more of it than the registries of special use. */
    return local_special_touches(&name) ? local_plan_add(&plan->zones, LOCAL_BELOW, &name) : 0;
}

static int complain_of_two(struct local_plan *plan, const struct local_path *path)
{
    char text[DNS_NAME_TEXT_SIZE];
    struct local_place place = {.path = "routes"};
    dns_name_to_text(path->name, text);
    return local_complain(plan, &place, span_text(text), "stands here twice");
}

int local_build_routes(struct local_plan *plan, struct local *local)
{
    struct local_area *area = &plan->routes;
    int error = local_table_open(&local->routes, plan->options.hash_key, area->count);
    if (error != 0) {
        return error;
    }
    local->routes.names = area->bytes;
    for (size_t size, read = 0; read < area->used; read += size + 1) {
        struct local_path path;
        dns_name_size(span_of(area->bytes + read, DNS_NAME_MAX), &size);
        local_path_of(span_of(area->bytes + read, size), &path);
        uint32_t *entry = local_table_place(&local->routes, &path);
        if (*entry != 0) {
            error = complain_of_two(plan, &path);
        } else {
            local_table_set(&local->routes, entry, read, LOCAL_HERE, &path);
        }
    }
    int sealed = local_table_seal(&local->routes, span_of(area->bytes, area->used));
    local_area_close(area);
    return sealed != 0 ? sealed : error;
}

void local_route(const struct local *local, struct span question, unsigned *group)
{
    struct local_match match;
    if (local->routes.count == 0) {
        return;
    }
    size_t name = question.size - 4;
    struct local_path path LOCAL_UNFILLED;
    local_path_of(span_of(question.data, name), &path);
    bool is_of_parent = bytes_get_u16(question.data + name) == LOCAL_TYPE_DS;
    if (local_table_find(&local->routes, &path, is_of_parent ? 0 : LOCAL_HERE, LOCAL_HERE, &match)) {
        *group = local->routes.names[match.offset + path.size - path.start[match.label]];
    }
}
