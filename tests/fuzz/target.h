/*
 * What every fuzz target is: one function, called by libFuzzer with inputs of its own making, or by replay.c
 * with the files of seeds/ and crashes/. An invariant that does not hold aborts.
 */
#ifndef FUZZ_TARGET_H
#define FUZZ_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

#endif
