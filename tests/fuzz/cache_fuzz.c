/*
 * The cache against its model: each five bytes of the input are a step. The cache is the smallest there is,
 * so that a few hundred steps fill it and its rings turn.
 */
#include "../support/cache_model.h"
#include "target.h"

enum { STEP = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cache_model model;
    if (model.cache.head == NULL) {
        must(cache_model_open(&model, CACHE_SIZE_LEAST) == 0);
    }
    cache_model_clear(&model);
    for (size_t at = 0; at + STEP <= size; at += STEP) {
        uint16_t key = bytes_get_u16(data + at + 1);
        must(cache_model_step(&model, data[at], key, bytes_get_u16(data + at + 3)) == NULL);
    }
    return 0;
}
