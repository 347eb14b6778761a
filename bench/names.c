/*
 * See names.h. The order of a set is drawn at start from a generator with a fixed seed: every program is
 * asked the same names in the same order, and drawing costs nothing while measuring.
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

static void draw_sequence(struct names *names, double exponent)
{
    double *sums = calloc(names->set, sizeof *sums);
    names->sequence = calloc(NAMES_SEQUENCE, sizeof *names->sequence);
    if (sums == NULL || names->sequence == NULL) {
        bench_fail("memory");
    }
    double sum = 0;
    for (uint32_t i = 0; i < names->set; i++) {
        sum += pow(i + 1.0, -exponent);
        sums[i] = sum;
    }
    uint64_t state = 88172645463325252U;
    for (size_t i = 0; i < NAMES_SEQUENCE; i++) {
        names->sequence[i] = find(sums, names->set, draw(&state) * sum);
    }
    free(sums);
}

void names_open(struct names *names, const char *run, uint32_t set, double exponent)
{
    *names = (struct names){.set = set};
    char digits[NAMES_DIGITS + 2] = "n00000000";
    size_t size = put_label(names->pattern, digits);
    size += put_label(names->pattern + size, run);
    size += put_label(names->pattern + size, "bench");
    size += put_label(names->pattern + size, "example");
    names->size = size + 1;
    if (set > 0) {
        draw_sequence(names, exponent);
    }
}

uint32_t names_next(struct names *names)
{
    uint64_t number = names->asked++;
    return names->set > 0 ? names->sequence[number % NAMES_SEQUENCE] : (uint32_t)(number % 100000000);
}

void names_write(const struct names *names, uint32_t number, uint8_t *name)
{
    memcpy(name, names->pattern, names->size);
    for (size_t i = NAMES_DIGITS; i > 0; i--) {
        name[1 + i] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
}
