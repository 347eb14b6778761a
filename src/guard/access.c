/*
 * Access lists as sorted arrays of prefixes of which none lies inside another: the only candidate for an
 * address is the last prefix that begins at or before it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#include "guard/guard.h"

struct prefix_set {
    struct address_prefix *prefixes;
    size_t count;
};

struct guard_access {
    struct prefix_set allow, deny;
};

static int compare_hosts(const struct address *a, const struct address *b)
{
    if (a->family != b->family) {
        return a->family < b->family ? -1 : 1;
    }
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static int compare_prefixes(const void *a, const void *b)
{
    const struct address_prefix *left = a, *right = b;
    int order = compare_hosts(&left->address, &right->address);
    return order != 0 ? order : (int)left->length - (int)right->length;
}

static int set_build(struct prefix_set *set, const struct address_prefix *prefixes, size_t count)
{
    set->count = 0;
    set->prefixes = calloc(count > 0 ? count : 1, sizeof *prefixes);
    if (set->prefixes == NULL) {
        return ERROR_MEMORY;
    }
    if (count == 0) {
        return 0;
    }
    memcpy(set->prefixes, prefixes, count * sizeof *prefixes);
    qsort(set->prefixes, count, sizeof *prefixes, compare_prefixes);
    for (size_t i = 0; i < count; i++) {
        const struct address_prefix *next = &set->prefixes[i];
        if (set->count == 0 || !address_prefix_contains(&set->prefixes[set->count - 1], &next->address)) {
            set->prefixes[set->count++] = *next;
        }
    }
    return 0;
}

static bool set_contains(const struct prefix_set *set, const struct address *address)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_hosts(&set->prefixes[middle].address, address) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && address_prefix_contains(&set->prefixes[low - 1], address);
}

int guard_access_build(const struct address_prefix *allow, size_t allow_count,
                       const struct address_prefix *deny, size_t deny_count, struct guard_access **out)
{
    struct guard_access *access = calloc(1, sizeof *access);
    if (access == NULL) {
        return ERROR_MEMORY;
    }
    int error = set_build(&access->allow, allow, allow_count);
    if (error == 0) {
        error = set_build(&access->deny, deny, deny_count);
    }
    if (error != 0) {
        guard_access_free(access);
        return error;
    }
    *out = access;
    return 0;
}

void guard_access_free(struct guard_access *access)
{
    if (access != NULL) {
        free(access->allow.prefixes);
        free(access->deny.prefixes);
        free(access);
    }
}

bool guard_access_allows(const struct guard_access *access, const struct address *address)
{
    return set_contains(&access->allow, address) && !set_contains(&access->deny, address);
}
