/* The order of steps that makes a reader without a lock safe: pages of an entry are taken away, and whoever
 * touches them first is looked at in the middle of what it does. */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"

#include "cache/internal.h"

#include "cache_test.h"

/* ---- the order of a writer's steps ---- */

enum { PAGE = 4096, WATCHED_SIZE = 3 * PAGE };

/* A page of an entry that may not be written to while the slot still names the entry. */
static struct {
    const cache_word *slot;
    uint64_t named;
    uint8_t *page;
    unsigned written, written_while_named;
} watched;

static void on_write(int number, siginfo_t *information, void *context)
{
    (void)context;
    const uint8_t *at = information->si_addr;
    if (at < watched.page || at >= watched.page + PAGE) {
        signal(number, SIG_DFL);
        return;
    }
    watched.written++;
    watched.written_while_named += ((cache_load(watched.slot) ^ watched.named) & ~CACHE_SLOT_MARKS) == 0;
    mprotect(watched.page, PAGE, PROT_READ | PROT_WRITE);
}

static void watch(struct cache *cache, uint32_t number)
{
    uint8_t key[CACHE_TEST_KEY];
    struct cache_view view = cache_view_of(cache->head, 0);
    struct span bytes = cache_test_key(number, key);
    struct sigaction action = {.sa_sigaction = on_write, .sa_flags = SA_SIGINFO};
    watched.slot = cache_index_find(&view, cache_hash(cache->head, bytes), bytes);
    assert_non_null(watched.slot);
    watched.named = cache_load(watched.slot);
    uintptr_t entry = (uintptr_t)&view.log[cache_slot_place(watched.named)];
    watched.page = (uint8_t *)((entry + PAGE) / PAGE * PAGE);
    watched.written = watched.written_while_named = 0;
    assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
    assert_int_equal(mprotect(watched.page, PAGE, PROT_READ), 0);
}

static void check_watched(void)
{
    signal(SIGSEGV, SIG_DFL);
    assert_int_equal(watched.written, 1);
    assert_int_equal(watched.written_while_named, 0);
}

/* Stores others, asked for once, until the page is written to. */
static void push_until_written(struct cache *cache, bool is_asked)
{
    static uint8_t value[100];
    struct cache_found found;
    for (uint32_t i = 1; i < 100000 && watched.written == 0; i++) {
        assert_true(cache_test_store(cache, i, span_of(value, sizeof value)));
        assert_int_equal(cache_test_find(cache, i, &found), 0);
        if (is_asked && i % 50 == 0) {
            assert_int_equal(cache_test_find(cache, 0, &found), 0);
        }
    }
}

/* Whether an entry is written over, moved on, moved onto itself or pushed out: its slot is taken back before.
 */
void test_slot_goes_first(void **state)
{
    (void)state;
    static uint8_t value[WATCHED_SIZE];
    struct cache_found found;
    struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
    assert_true(cache_test_store(&cache, 0, span_of(value, sizeof value)));
    watch(&cache, 0);
    assert_true(cache_test_store(&cache, 0, span_of(value, sizeof value)));
    check_watched();
    for (unsigned round = 0; round < 10; round++) {
        watch(&cache, 0);
        push_until_written(&cache, true);
        check_watched();
        assert_int_equal(cache_test_find(&cache, 0, &found), 0);
    }
    watch(&cache, 0);
    push_until_written(&cache, false);
    push_until_written(&cache, false);
    check_watched();
    cache_close(&cache);
}

/* ---- a reader that is overtaken ---- */

static uint8_t older[WATCHED_SIZE], newer[WATCHED_SIZE];

/* What happens while a reader is in the middle of an entry, on its first access to a page of it. */
static struct {
    struct cache *cache;
    void (*meanwhile)(struct cache *cache);
    unsigned times;
} overtaking;

static void on_read(int number, siginfo_t *information, void *context)
{
    (void)number;
    on_write(number, information, context);
    overtaking.times++;
    overtaking.meanwhile(overtaking.cache);
}

static void rewrite(struct cache *cache)
{
    assert_true(cache_test_store(cache, 0, span_of(newer, sizeof newer)));
}

static void push_out(struct cache *cache)
{
    for (uint32_t i = 1; i < 20000; i++) {
        assert_true(cache_test_store(cache, i, span_of(newer, 100)));
    }
}

static void remove_it(struct cache *cache)
{
    uint8_t key[CACHE_TEST_KEY];
    assert_true(cache_remove(cache, cache_test_key(0, key)));
}

static void clear_and_fill(struct cache *cache)
{
    cache_clear(cache);
    rewrite(cache);
}

/* Whatever becomes of an entry while it is copied: the copy is not given away. */
void test_reader_overtaken(void **state)
{
    (void)state;
    void (*const meanwhile[])(struct cache *) = {rewrite, push_out, remove_it, clear_and_fill};
    struct sigaction action = {.sa_sigaction = on_read, .sa_flags = SA_SIGINFO};
    memset(older, 'o', sizeof older);
    memset(newer, 'n', sizeof newer);
    for (size_t i = 0; i < sizeof meanwhile / sizeof meanwhile[0]; i++) {
        struct cache cache = cache_test_open(CACHE_SIZE_LEAST);
        struct cache_found found;
        assert_true(cache_test_store(&cache, 0, span_of(older, sizeof older)));
        watch(&cache, 0);
        overtaking.cache = &cache;
        overtaking.meanwhile = meanwhile[i];
        overtaking.times = 0;
        assert_int_equal(mprotect(watched.page, PAGE, PROT_NONE), 0);
        assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
        assert_int_equal(cache_test_find(&cache, 0, &found), ERROR_NOT_FOUND);
        signal(SIGSEGV, SIG_DFL);
        assert_int_equal(overtaking.times, 1);
        cache_close(&cache);
    }
}
