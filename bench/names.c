/*
 * See names.h. The order of a set is drawn at start from a generator with a fixed seed, and its addresses are
 * worked out: every program is asked the same names in the same order, and that costs nothing while
 * measuring.
 */
#include "names.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

static size_t put_label(uint8_t *at, const char *text)
{
    size_t size = strlen(text);
    at[0] = (uint8_t)size;
    for (size_t i = 0; i < size; i++) {
        at[1 + i] = (uint8_t)text[i];
    }
    return 1 + size;
}

/* xorshift64, as a number from 0 to 1. */
static double draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)(*state >> 11) / 9007199254740992.0;
}

/* The first entry of the sums above the wanted one. */
static uint32_t find(const double *sums, uint32_t count, double wanted)
{
    uint32_t low = 0;
    uint32_t high = count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (sums[middle] > wanted) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static void draw_sequence(struct names *names)
{
    uint32_t set = names->wish.set;
    double *sums = calloc(set, sizeof *sums);
    names->sequence = calloc(NAMES_SEQUENCE, sizeof *names->sequence);
    if (sums == NULL || names->sequence == NULL) {
        bench_fail("memory");
    }
    double sum = 0;
    for (uint32_t i = 0; i < set; i++) {
        sum += pow(i + 1.0, -names->wish.exponent);
        sums[i] = sum;
    }
    uint64_t state = 88172645463325252U;
    for (size_t i = 0; i < NAMES_SEQUENCE; i++) {
        names->sequence[i] = find(sums, set, draw(&state) * sum);
    }
    free(sums);
}

static void work_out_addresses(struct names *names)
{
    names->addresses = calloc(names->wish.set, sizeof *names->addresses);
    if (names->addresses == NULL) {
        bench_fail("memory");
    }
    uint8_t name[sizeof names->pattern];
    for (uint32_t i = 0; i < names->wish.set; i++) {
        names_write(names, i, name);
        names->addresses[i] = bench_name_address(name, names->size);
    }
}

void names_open(struct names *names, const struct names_wish *wish)
{
    *names = (struct names){.wish = *wish};
    char digits[NAMES_DIGITS + 2] = "n00000000";
    size_t size = put_label(names->pattern, digits);
    size += put_label(names->pattern + size, wish->run);
    size += put_label(names->pattern + size, "bench");
    size += put_label(names->pattern + size, "example");
    names->size = size + 1;
    if (wish->set > 0) {
        draw_sequence(names);
        work_out_addresses(names);
    }
}

void names_fill(struct names *names)
{
    names->to_fill = names->wish.set;
}

uint32_t names_next(struct names *names)
{
    const struct names_wish *wish = &names->wish;
    if (names->to_fill > 0) {
        return wish->set - names->to_fill--;
    }
    uint64_t number = names->asked++;
    if (wish->set == 0 || number % (wish->flood + 1) != 0) {
        return (uint32_t)((wish->set + wish->first + number) % NAMES_MOST);
    }
    return names->sequence[names->from_set++ % NAMES_SEQUENCE];
}

uint32_t names_address(const struct names *names, uint32_t number, const uint8_t *name)
{
    return number < names->wish.set ? names->addresses[number] : bench_name_address(name, names->size);
}

void names_write(const struct names *names, uint32_t number, uint8_t *name)
{
    memcpy(name, names->pattern, names->size);
    for (size_t i = NAMES_DIGITS; i > 0; i--) {
        name[1 + i] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
}
