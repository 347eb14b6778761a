/*
 * The only place that asks the kernel for randomness, a pool at a time. What was handed out is wiped, so that
 * a pool that leaks tells nothing about ids already in use. One struct a thread.
 */
#include "base/random.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* The output function of SplitMix64 over a counter: tests want a sequence that is good and repeatable, not
 * secret. */
static uint64_t repeatable_word(uint64_t seed, uint64_t counter)
{
    uint64_t word = seed + counter * UINT64_C(0x9e3779b97f4a7c15);
    word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
    return word ^ word >> 31;
}

static void fill_repeatable(struct random *random)
{
    for (size_t i = 0; i < sizeof random->pool; i += sizeof(uint64_t)) {
        uint64_t word = repeatable_word(random->seed, ++random->counter);
        memcpy(random->pool + i, &word, sizeof word);
    }
}

static void fill_from_kernel(struct random *random)
{
    size_t filled = 0;
    while (filled < sizeof random->pool) {
        ssize_t got = getrandom(random->pool + filled, sizeof random->pool - filled, 0);
        if (got < 0 && errno != EINTR) {
            abort();
        }
        filled += got > 0 ? (size_t)got : 0;
    }
}

static void fill(struct random *random)
{
    if (random->repeatable) {
        fill_repeatable(random);
    } else {
        fill_from_kernel(random);
    }
    random->left = sizeof random->pool;
}

void random_init(struct random *random)
{
    *random = (struct random){0};
}

void random_init_repeatable(struct random *random, uint64_t seed)
{
    *random = (struct random){.repeatable = true, .seed = seed};
}

void random_bytes(struct random *random, void *out, size_t size)
{
    uint8_t *at = out;
    while (size > 0) {
        if (random->left == 0) {
            fill(random);
        }
        size_t part = size < random->left ? size : random->left;
        uint8_t *from = random->pool + sizeof random->pool - random->left;
        memcpy(at, from, part);
        memset(from, 0, part);
        random->left -= part;
        at += part;
        size -= part;
    }
}

uint16_t random_u16(struct random *random)
{
    uint16_t value;
    random_bytes(random, &value, sizeof value);
    return value;
}

uint64_t random_u64(struct random *random)
{
    uint64_t value;
    random_bytes(random, &value, sizeof value);
    return value;
}

uint32_t random_below(struct random *random, uint32_t bound)
{
    assert(bound > 0);
    /* Multiply and shift (Lemire 2019); the few low products that would favour some results are drawn again.
     */
    uint32_t unfair = -bound % bound;
    uint64_t product;
    do {
        uint32_t drawn;
        random_bytes(random, &drawn, sizeof drawn);
        product = (uint64_t)drawn * bound;
    } while ((uint32_t)product < unfair);
    return (uint32_t)(product >> 32);
}

uint64_t random_jitter(struct random *random, uint64_t value, unsigned percent)
{
    assert(percent <= 100);
    uint64_t range = value / 100 * percent + value % 100 * percent / 100;
    if (range > UINT64_MAX - value) {
        range = UINT64_MAX - value; /* "for ever" stays what it is */
    }
    uint64_t drawn = random_u64(random);
    uint64_t offset = (uint64_t)((unsigned __int128)drawn * (2 * range + 1) >> 64);
    return value - range + offset;
}
