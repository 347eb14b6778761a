/* What the test files of the cache have in common. */
#ifndef CACHE_TEST_H
#define CACHE_TEST_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdbool.h>

#include "cache/cache.h"

enum { TEST_OWNER = 4711 };

extern const struct cache_life cache_test_life;

struct cache cache_test_open(size_t size);

/* A key of four bytes. */
/* Keys that have nothing to do with each other. */
enum { CACHE_TEST_KEY = 4 + CACHE_KEY_TAIL };
struct span cache_test_key(uint32_t number, uint8_t out[CACHE_TEST_KEY]);

bool cache_test_store(struct cache *cache, uint32_t number, struct span value);
struct cache_numbers cache_test_count(const struct cache *cache);
int cache_test_find(const struct cache *cache, uint32_t number, struct cache_found *found);

/* As many as are shown are counted. */
uint64_t cache_test_entries(struct cache *cache);

void test_flood_passes_by(void **state);
void test_ghost(void **state);
void test_bytes_of_an_entry(void **state);
void test_refreshing_costs_nothing(void **state);
void test_large_and_hot(void **state);
void test_work_of_a_store(void **state);
void test_sizes_of_caches(void **state);
void test_slot_goes_first(void **state);
void test_reader_overtaken(void **state);
void test_storm(void **state);
void test_moved_while_read(void **state);
void test_clear_and_visit_in_a_storm(void **state);
void test_writer_drops(void **state);
void test_dead_holder(void **state);
void test_killed_anywhere(void **state);
void test_processes_share(void **state);
void test_one_claims(void **state);
void test_forgotten_stays_away(void **state);

#endif
