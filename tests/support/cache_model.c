/* See cache_model.h. */
#include "cache_model.h"

#include <string.h>

#include "base/error.h"
#include "base/list.h"

/* Four side by side each. */
struct span cache_model_key(uint32_t number, uint8_t out[CACHE_KEY_MAX])
{
    size_t size = number == 0 ? 0 : 2 + (number / 4 * 37) % (CACHE_KEY_MAX - 1 - CACHE_KEY_TAIL);
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(i < 2 ? number / 4 >> 8 * i : i);
    }
    memset(out + size, 0, CACHE_KEY_TAIL);
    out[size + number % CACHE_KEY_TAIL] = number % 4;
    return span_of(out, number == 0 ? 0 : size + CACHE_KEY_TAIL);
}

static uint32_t number_of(struct span key)
{
    if (key.size < 2 + CACHE_KEY_TAIL) {
        return 0;
    }
    const uint8_t *tail = key.data + key.size - CACHE_KEY_TAIL;
    return (key.data[0] | (uint32_t)key.data[1] << 8) * 4 + (tail[0] | tail[1] | tail[2]);
}

void cache_model_value(uint32_t number, uint32_t version, uint8_t *out, size_t size)
{
    uint64_t state = ((uint64_t)number << 32 | version) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < size; i += sizeof state) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(out + i, &state, size - i < sizeof state ? size - i : sizeof state);
    }
}

static bool has_content(uint32_t number, const struct model_entry *entry, struct span value)
{
    static _Thread_local uint8_t expected[CACHE_VALUE_MAX];
    if (value.size != entry->size) {
        return false;
    }
    cache_model_value(number, entry->version, expected, entry->size);
    return span_equal(value, span_of(expected, entry->size));
}

static bool has_life(const struct cache_life *a, const struct cache_life *b)
{
    return a->stored_at == b->stored_at && a->fresh_for == b->fresh_for && a->note == b->note;
}

static const char *check_shown(struct cache_model *model, struct span key, struct span value,
                               const struct cache_life *life)
{
    uint32_t number = number_of(key);
    uint8_t own[CACHE_KEY_MAX];
    if (number >= MODEL_KEYS || !span_equal(key, cache_model_key(number, own))) {
        return "a key was shown that was never stored";
    }
    struct model_entry *entry = &model->entry[number];
    if (!entry->is_known || entry->is_shown) {
        return "an entry was shown that is not there, or twice";
    }
    entry->is_shown = true;
    model->shown++;
    return has_content(number, entry, value) && has_life(&entry->life, life) ? NULL
                                                                             : "something else was shown";
}

static bool visit(struct cache_visitor *visitor, struct span key, struct span value,
                  const struct cache_life *life)
{
    struct cache_model *model = container_of(visitor, struct cache_model, visitor);
    const char *failure = check_shown(model, key, value, life);
    if (failure != NULL) {
        model->failure = failure;
        return true;
    }
    uint32_t number = number_of(key);
    bool is_kept = model->kept == 0 || number % model->kept != 0;
    model->entry[number].is_known = is_kept;
    return is_kept;
}

static const char *find(struct cache_model *model, uint32_t number, size_t capacity)
{
    static _Thread_local uint8_t out[CACHE_VALUE_MAX];
    uint8_t key[CACHE_KEY_MAX];
    struct cache_found found;
    struct model_entry *entry = &model->entry[number];
    int result = cache_find(&model->cache, cache_model_key(number, key), out, capacity, &found);
    if (result == ERROR_NOT_FOUND) {
        entry->is_known = false;
        return NULL;
    }
    if (!entry->is_known) {
        return "an entry was found that was forgotten";
    }
    if (entry->size > capacity) {
        return result == ERROR_SPACE ? NULL : "more was found than there was space for";
    }
    if (result != 0 || !has_content(number, entry, found.value) || found.value.data != out) {
        return "another value was found than was stored last";
    }
    if (!has_life(&entry->life, &found.life) || found.asked_before != entry->is_asked) {
        return "another life was found than was stored last";
    }
    entry->is_asked = true;
    return NULL;
}

/* Small values mostly, now and then of any size, and some that are too large. */
static size_t value_size(uint16_t detail)
{
    size_t size = detail % 512;
    if (detail >= 0xff00) {
        size = (size_t)CACHE_VALUE_MAX + detail % 2;
    } else if (detail >= 0xe000) {
        size = (size_t)(detail - 0xe000) * 8;
    }
    return size;
}

static const char *store(struct cache_model *model, uint32_t number, uint16_t detail)
{
    static _Thread_local uint8_t value[CACHE_VALUE_MAX + 1];
    uint8_t key[CACHE_KEY_MAX];
    struct model_entry new = {.is_known = true, .version = ++model->versions, .size = value_size(detail)};
    new.life = (struct cache_life){.stored_at = model->now, .fresh_for = detail * 65537U, .note = detail};
    cache_model_value(number, new.version, value, new.size);
    struct span bytes = span_of(value, new.size);
    bool is_stored = cache_store(&model->cache, cache_generation(&model->cache), cache_model_key(number, key),
                                 bytes, &new.life);
    if (is_stored != (new.size <= CACHE_VALUE_MAX)) {
        return "a store was dropped, or one that is too large was taken";
    }
    if (is_stored) {
        model->entry[number] = new;
    }
    return is_stored ? find(model, number, CACHE_VALUE_MAX) : NULL;
}

static const char *claim(struct cache_model *model, uint32_t number, uint16_t detail)
{
    uint8_t key[CACHE_KEY_MAX];
    struct model_entry *entry = &model->entry[number];
    uint64_t until = model->now + detail;
    if (!cache_claim(&model->cache, cache_model_key(number, key), model->now, until)) {
        entry->is_known = entry->is_known && entry->claimed_until > model->now;
        return NULL;
    }
    if (!entry->is_known || entry->claimed_until > model->now) {
        return "an entry was claimed that is claimed or forgotten";
    }
    entry->claimed_until = until;
    return NULL;
}

static const char *forget(struct cache_model *model, uint32_t number)
{
    uint8_t key[CACHE_KEY_MAX];
    bool was_there = cache_remove(&model->cache, cache_model_key(number, key));
    bool was_known = model->entry[number].is_known;
    model->entry[number].is_known = false;
    return was_there && !was_known ? "an entry was removed that was forgotten" : NULL;
}

/* What is not shown is not there, and as many are counted as are shown. */
static const char *visit_all(struct cache_model *model, uint16_t detail)
{
    struct cache_numbers numbers;
    model->shown = 0;
    model->kept = detail % 8;
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        model->entry[i].is_shown = false;
    }
    cache_count(&model->cache, &numbers);
    cache_visit(&model->cache, &model->visitor);
    if (model->failure != NULL || numbers.entries != model->shown) {
        return model->failure != NULL ? model->failure : "other entries are counted than are there";
    }
    for (uint32_t i = 0; i < MODEL_KEYS; i++) {
        bool is_known = model->entry[i].is_known && model->entry[i].is_shown;
        model->entry[i].is_known = is_known;
        const char *failure = find(model, i, CACHE_VALUE_MAX);
        if (failure != NULL || model->entry[i].is_known != is_known) {
            return failure != NULL ? failure : "an entry was shown, and is not found";
        }
    }
    return NULL;
}

void cache_model_clear(struct cache_model *model)
{
    cache_clear(&model->cache);
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        model->entry[i].is_known = false;
    }
}

const char *cache_model_step(struct cache_model *model, uint8_t action, uint16_t key, uint16_t detail)
{
    uint32_t number = key % MODEL_KEYS;
    if (action < 100) {
        return store(model, number, detail);
    }
    if (action < 200) {
        return find(model, number, detail < 0x100 ? detail : CACHE_VALUE_MAX);
    }
    if (action < 220) {
        return claim(model, number, detail);
    }
    if (action < 240) {
        return forget(model, number);
    }
    if (action < 250) {
        model->now += detail;
        return NULL;
    }
    if (action < 255) {
        return visit_all(model, detail);
    }
    cache_model_clear(model);
    return NULL;
}

int cache_model_open(struct cache_model *model, size_t size)
{
    *model = (struct cache_model){.visitor.visit = visit, .now = 1000};
    return cache_open(size, (struct hash_key){{1, 2}}, 1, &model->cache);
}

void cache_model_close(struct cache_model *model)
{
    cache_close(&model->cache);
}
