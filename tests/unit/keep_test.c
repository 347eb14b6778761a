/* The cache as a file, whole and damaged, and forgetting by name. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"

#include "dns/dns.h"

#include "keep/internal.h"

enum { OWNER = 4711, SIZE = CACHE_SIZE_LEAST, HOUR = 3600 * 1000, KEYS = 2000, KEY = 4 + CACHE_KEY_TAIL };

static const struct keep_terms terms = {
    .boot = CACHE_TIME_BEGIN + 5000, .wall = UINT64_C(1800000000000), .origin = 77, .most = 24 * HOUR};

static struct cache open_cache(void)
{
    struct cache cache;
    assert_int_equal(cache_open(SIZE, (struct hash_key){{3, 4}}, OWNER, &cache), 0);
    return cache;
}

static int open_file(void)
{
    int descriptor = memfd_create("keep-test", MFD_CLOEXEC);
    assert_true(descriptor >= 0);
    return descriptor;
}

/* A key, and a value of up to 200 bytes that follows from it. */
static struct span key_of(uint32_t number, uint8_t out[KEY])
{
    bytes_put_u32(out, number);
    memset(out + 4, 0, CACHE_KEY_TAIL);
    return span_of(out, KEY);
}

static struct span value_of(uint32_t number, uint8_t out[200])
{
    size_t size = number % 200;
    memset(out, (int)(number * 31), size);
    return span_of(out, size);
}

static void store(struct cache *cache, uint32_t number, uint64_t age, uint32_t fresh_for)
{
    uint8_t key[KEY], value[200];
    struct cache_life life = {
        .stored_at = terms.boot - age, .fresh_for = fresh_for, .note = (uint16_t)number};
    assert_true(
        cache_store(cache, cache_generation(cache), key_of(number, key), value_of(number, value), &life));
}

static bool find(const struct cache *cache, uint32_t number, struct cache_found *found)
{
    static uint8_t out[CACHE_VALUE_MAX];
    uint8_t key[KEY], value[200];
    if (cache_find(cache, key_of(number, key), out, sizeof out, found) != 0) {
        return false;
    }
    assert_true(span_equal(found->value, value_of(number, value)));
    assert_int_equal(found->life.note, (uint16_t)number);
    return true;
}

static uint64_t entries_of(const struct cache *cache)
{
    struct cache_numbers numbers;
    cache_count(cache, &numbers);
    return numbers.entries;
}

/* A file with the keys up to `count`, an hour to live. */
static int file_of(uint32_t count)
{
    struct cache cache = open_cache();
    struct keep_count written;
    for (uint32_t i = 0; i < count; i++) {
        store(&cache, i, i, HOUR);
    }
    int file = open_file();
    assert_int_equal(keep_write(&cache, &terms, file, &written), 0);
    assert_int_equal(written.entries, count);
    assert_int_equal(written.bytes, lseek(file, 0, SEEK_END));
    cache_close(&cache);
    return file;
}

static enum keep_fault read_file(struct cache *cache, const struct keep_terms *now, int file,
                                 struct keep_count *count)
{
    int error;
    enum keep_fault fault = keep_read(cache, now, file, count, &error);
    assert_int_equal(error, 0);
    return fault;
}

/* ---- whole files ---- */

/* Shows: I1 */
static void what_was_kept_comes_back_older(void **state)
{
    (void)state;
    int file = file_of(KEYS);
    struct cache cache = open_cache();
    struct keep_terms later = terms;
    later.wall += 60 * 1000;
    later.boot = CACHE_TIME_BEGIN + 10; /* the machine has started anew */
    struct keep_count count;
    assert_int_equal(read_file(&cache, &later, file, &count), KEEP_FAULT_NONE);
    assert_int_equal(count.entries, KEYS);
    for (uint32_t i = 0; i < KEYS; i++) {
        struct cache_found found;
        assert_true(find(&cache, i, &found));
        assert_int_equal(later.boot - found.life.stored_at, i + 60 * 1000);
        assert_int_equal(found.life.fresh_for, HOUR);
    }
    cache_close(&cache);
    close(file);
}

static void the_least_and_the_largest_come_back(void **state)
{
    (void)state;
    static uint8_t large[CACHE_VALUE_MAX], out[CACHE_VALUE_MAX];
    uint8_t key[CACHE_KEY_MAX];
    memset(large, 0xa5, sizeof large);
    memset(key, 0x5a, sizeof key);
    struct cache from = open_cache(), to = open_cache();
    struct cache_life life = {.stored_at = terms.boot, .fresh_for = HOUR};
    assert_true(cache_store(&from, cache_generation(&from), span_of(key, sizeof key),
                            span_of(large, sizeof large), &life));
    assert_true(cache_store(&from, cache_generation(&from), span_of(key, 0), span_of(large, 0), &life));
    assert_true(
        cache_store(&from, cache_generation(&from), span_of(key, 1), span_of(large, sizeof large), &life));
    struct keep_count count;
    int file = open_file();
    assert_int_equal(keep_write(&from, &terms, file, &count), 0);
    assert_int_equal(read_file(&to, &terms, file, &count), KEEP_FAULT_NONE);
    assert_int_equal(count.entries, 3);
    struct cache_found found;
    assert_int_equal(cache_find(&to, span_of(key, sizeof key), out, sizeof out, &found), 0);
    assert_true(span_equal(found.value, span_of(large, sizeof large)));
    assert_int_equal(cache_find(&to, span_of(key, 0), out, sizeof out, &found), 0);
    assert_int_equal(found.value.size, 0);
    cache_close(&from);
    cache_close(&to);
    close(file);
}

static void an_empty_cache_is_a_file_too(void **state)
{
    (void)state;
    int file = file_of(0);
    struct cache cache = open_cache();
    struct keep_count count;
    assert_int_equal(read_file(&cache, &terms, file, &count), KEEP_FAULT_NONE);
    assert_int_equal(count.entries, 0);
    assert_int_equal(lseek(file, 0, SEEK_END), KEEP_HEAD_SIZE + KEEP_BLOCK_HEAD);
    cache_close(&cache);
    close(file);
}

static void what_ran_out_is_dropped(void **state)
{
    (void)state;
    struct cache from = open_cache();
    store(&from, 1, 1000, 1000); /* over already */
    store(&from, 2, 1000, 1001);
    store(&from, 3, 0, 2000);
    store(&from, 4, 0, 2001);
    int file = open_file();
    struct keep_count count;
    assert_int_equal(keep_write(&from, &terms, file, &count), 0);
    assert_int_equal(count.entries, 3);
    struct keep_terms later = terms, stale = terms;
    later.wall += 2000;
    stale.wall += 2000;
    stale.stale = 2000;
    static const struct {
        bool is_stale;
        bool kept[5];
    } cases[] = {{false, {[4] = true}}, {true, {[2] = true, [3] = true, [4] = true}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cache to = open_cache();
        struct cache_found found;
        assert_int_equal(read_file(&to, cases[i].is_stale ? &stale : &later, file, &count), KEEP_FAULT_NONE);
        for (uint32_t number = 1; number < 5; number++) {
            assert_int_equal(find(&to, number, &found), cases[i].kept[number]);
        }
        cache_close(&to);
    }
    cache_close(&from);
    close(file);
}

static void whoever_stored_meanwhile_is_newer(void **state)
{
    (void)state;
    int file = file_of(3);
    struct cache cache = open_cache();
    store(&cache, 1, 0, 7);
    struct keep_count count;
    struct cache_found found;
    assert_int_equal(read_file(&cache, &terms, file, &count), KEEP_FAULT_NONE);
    assert_int_equal(count.entries, 2);
    assert_true(find(&cache, 1, &found));
    assert_int_equal(found.life.fresh_for, 7);
    cache_close(&cache);
    close(file);
}

static void no_entry_lives_longer_than_it_may(void **state)
{
    (void)state;
    int file = file_of(1);
    struct cache cache = open_cache();
    struct keep_terms strict = terms;
    strict.most = HOUR / 2;
    struct keep_count count;
    struct cache_found found;
    assert_int_equal(read_file(&cache, &strict, file, &count), KEEP_FAULT_NONE);
    assert_true(find(&cache, 0, &found));
    assert_int_equal(found.life.fresh_for, HOUR / 2);
    cache_close(&cache);
    close(file);
}

/* The bytes, as docs/architecture.md tells them: a change of them is another KEEP_VERSION. */
static void the_form_of_a_file(void **state)
{
    (void)state;
    static const uint8_t head[] = {0x89, 'd',  'n',  's',  'e',  'a', 'l', '\n', 1,    0, 0, 0, 2, 0, 0, 0,
                                   0,    0x50, 0x5c, 0x18, 0xa3, 1,   0,   0,    0x4d, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t block[] = {0, 0,  0,    0,    0,    0, 0, 0, 24 + 14 + KEY + 3,
                                    0, 0,  0,    1,    0,    0, 0, 3, 0,
                                    0, 0,  0x80, 0xee, 0x36, 0, 3, 0, KEY,
                                    0, 3,  0,    0,    0,    0, 3, 0, 0,
                                    0, 93, 93,   93};
    uint8_t bytes[256];
    struct cache cache = open_cache();
    store(&cache, 3, 3, HOUR);
    struct keep_count count;
    int file = open_file();
    assert_int_equal(keep_write(&cache, &terms, file, &count), 0);
    size_t checksum = 8, size = KEEP_HEAD_SIZE + checksum + sizeof block + KEEP_BLOCK_HEAD;
    assert_int_equal(pread(file, bytes, sizeof bytes, 0), size);
    assert_memory_equal(bytes, head, sizeof head);
    assert_memory_equal(bytes + KEEP_HEAD_SIZE + checksum, block, sizeof block);
    cache_close(&cache);
    close(file);
}

/* ---- files that are refused ---- */

static void expect_refused(int file, const struct keep_terms *now, enum keep_fault wanted)
{
    struct cache cache = open_cache();
    struct keep_count count;
    assert_string_equal(keep_fault_word(read_file(&cache, now, file, &count)), keep_fault_word(wanted));
    assert_int_equal(entries_of(&cache), 0);
    cache_close(&cache);
}

static void another_time_or_origin_is_refused(void **state)
{
    (void)state;
    int file = file_of(3);
    struct keep_terms other = terms;
    other.origin++;
    expect_refused(file, &other, KEEP_FAULT_ORIGIN);
    other = terms;
    other.wall--;
    expect_refused(file, &other, KEEP_FAULT_FUTURE);
    other = terms;
    other.wall += 24 * HOUR + 1;
    expect_refused(file, &other, KEEP_FAULT_OLD);
    close(file);
}

static void another_version_or_form_is_refused(void **state)
{
    (void)state;
    int file = file_of(3);
    struct keep_head head = {
        .version = KEEP_VERSION + 1, .form = DNS_STORED_FORM, .written_at = terms.wall, .origin = 77};
    uint8_t bytes[KEEP_HEAD_SIZE];
    keep_head_write(&head, bytes);
    assert_int_equal(pwrite(file, bytes, sizeof bytes, 0), sizeof bytes);
    expect_refused(file, &terms, KEEP_FAULT_VERSION);
    head.version = KEEP_VERSION;
    head.form++;
    keep_head_write(&head, bytes);
    assert_int_equal(pwrite(file, bytes, sizeof bytes, 0), sizeof bytes);
    expect_refused(file, &terms, KEEP_FAULT_VERSION);
    assert_int_equal(pwrite(file, "PNG", 3, 1), 3);
    expect_refused(file, &terms, KEEP_FAULT_FOREIGN);
    close(file);
}

enum { FEW = 12 };

static uint8_t whole[8192];

/* A small file's bytes. */
static size_t read_whole(void)
{
    int file = file_of(FEW);
    ssize_t size = pread(file, whole, sizeof whole, 0);
    assert_true(size > KEEP_HEAD_SIZE && (size_t)size < sizeof whole);
    close(file);
    return (size_t)size;
}

/* Refused, with nothing of it in the cache. */
static void expect_no_entry(struct cache *cache, int file)
{
    struct keep_count count;
    assert_int_not_equal(read_file(cache, &terms, file, &count), KEEP_FAULT_NONE);
    assert_int_equal(count.entries, 0);
}

/* Shows: W7 */
static void a_torn_file_is_refused_at_every_byte(void **state)
{
    (void)state;
    size_t size = read_whole();
    struct cache cache = open_cache();
    int file = open_file();
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(ftruncate(file, 0), 0);
        assert_int_equal(pwrite(file, whole, cut, 0), cut);
        expect_no_entry(&cache, file);
    }
    whole[size] = 0;
    assert_int_equal(pwrite(file, whole, size + 1, 0), size + 1);
    expect_no_entry(&cache, file);
    assert_int_equal(ftruncate(file, (off_t)size), 0);
    struct keep_count count;
    assert_int_equal(read_file(&cache, &terms, file, &count), KEEP_FAULT_NONE);
    assert_int_equal(count.entries, FEW);
    cache_close(&cache);
    close(file);
}

/* Shows: W7 */
static void every_flipped_bit_is_seen(void **state)
{
    (void)state;
    size_t size = read_whole();
    struct cache cache = open_cache();
    int file = open_file();
    assert_int_equal(pwrite(file, whole, size, 0), size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        uint8_t flipped = (uint8_t)(whole[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(pwrite(file, &flipped, 1, (off_t)(bit / 8)), 1);
        expect_no_entry(&cache, file);
        assert_int_equal(pwrite(file, whole + bit / 8, 1, (off_t)(bit / 8)), 1);
    }
    assert_int_equal(entries_of(&cache), 0);
    cache_close(&cache);
    close(file);
}

/* Blocks that are sound by themselves, out of their order, doubled, left out, or from another file. */
static void blocks_belong_to_their_places(void **state)
{
    (void)state;
    static struct keep_block block;
    static const struct {
        unsigned number[3];
        uint64_t written_at;
        enum keep_fault fault;
    } cases[] = {{{0, 1, 2}, 1800000000000, KEEP_FAULT_NONE},
                 {{1, 0, 2}, 1800000000000, KEEP_FAULT_DAMAGED},
                 {{0, 0, 2}, 1800000000000, KEEP_FAULT_DAMAGED},
                 {{0, 2, 3}, 1800000000000, KEEP_FAULT_DAMAGED},
                 {{0, 1, 2}, 1800000000001, KEEP_FAULT_DAMAGED}};
    struct keep_head head = {
        .version = KEEP_VERSION, .form = DNS_STORED_FORM, .written_at = terms.wall, .origin = 77};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[KEEP_HEAD_SIZE];
        int file = open_file();
        keep_head_write(&head, bytes);
        assert_int_equal(write(file, bytes, sizeof bytes), sizeof bytes);
        for (unsigned j = 0; j < 3; j++) {
            struct keep_head other = head;
            other.written_at = cases[i].written_at;
            keep_block_begin(&block, &other);
            block.number = cases[i].number[j];
            struct keep_entry entry = {.key = span_of("key", 3), .fresh_for = HOUR};
            assert_true(j == 2 || keep_block_put(&block, &entry));
            keep_block_seal(&block);
            assert_int_equal(write(file, block.bytes, block.size), block.size);
        }
        struct cache cache = open_cache();
        struct keep_count count;
        assert_int_equal(read_file(&cache, &terms, file, &count), cases[i].fault);
        assert_int_equal(entries_of(&cache), cases[i].fault == KEEP_FAULT_NONE ? 1 : 0);
        cache_close(&cache);
        close(file);
    }
}

/* ---- writing that fails ---- */

static void a_file_that_may_not_grow(void **state)
{
    (void)state;
    struct cache cache = open_cache();
    for (uint32_t i = 0; i < KEYS; i++) {
        store(&cache, i, 0, HOUR);
    }
    int file = open_file();
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 5000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct keep_count count;
    int error = keep_write(&cache, &terms, file, &count);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(error, ERROR_FULL);
    expect_refused(file, &terms, KEEP_FAULT_DAMAGED);
    cache_close(&cache);
    close(file);
}

static void a_file_that_cannot_be_read(void **state)
{
    (void)state;
    struct cache cache = open_cache();
    struct keep_count count;
    int error, directory = open("/", O_RDONLY | O_DIRECTORY);
    assert_int_equal(keep_read(&cache, &terms, directory, &count, &error), KEEP_FAULT_SYSTEM);
    assert_int_equal(error, ERROR_DIRECTORY);
    cache_close(&cache);
    close(directory);
}

/* ---- forgetting ---- */

static const char *const names[] = {"",
                                    "\4test",
                                    "\7example\4test",
                                    "\3www\7example\4test",
                                    "\4xxxx\4test",
                                    "\1a\3www\7example\4test",
                                    "\12wwwexample\4test",
                                    "\7example\4teST"};

enum { NAMES = sizeof names / sizeof names[0], KINDS = 3 * 2 * 2 * 2, FORMS = NAMES * KINDS };

/* Under every kind, DO, and two types and classes, where these make a difference. */
static struct span question_key(unsigned number, uint8_t out[DNS_KEY_MAX])
{
    uint8_t question[DNS_QUESTION_MAX];
    const char *name = names[number / KINDS];
    unsigned form = number % KINDS;
    size_t size = strlen(name) + 1;
    memcpy(question, name, size);
    bytes_put_u16(question + size, form & 1 ? DNS_TYPE_A : 65280);
    bytes_put_u16(question + size + 2, form & 2 ? DNS_CLASS_IN : DNS_CLASS_CHAOS);
    struct dns_key_form how = {.kind = (enum dns_key_kind)(form / 8), .dnssec_ok = form & 4, .group = 3};
    return span_of(out, dns_question_key(span_of(question, size + 4), &how, out));
}

/* What is left, a bit for each name. */
static unsigned names_left(struct cache *cache)
{
    unsigned all = 0, none = 0;
    for (unsigned i = 0; i < FORMS; i++) {
        uint8_t key[DNS_KEY_MAX], value[1];
        struct cache_found found;
        bool is_there = cache_find(cache, question_key(i, key), value, 0, &found) == 0;
        *(is_there ? &all : &none) |= 1U << i / KINDS;
    }
    assert_int_equal(all & none, 0); /* all of a name, or nothing of it */
    return all;
}

static void names_are_forgotten_in_all_their_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool below;
        unsigned left;
    } cases[] = {
        {"nothing.test", true, 0xff},
        {".", false, 0xfe},
        {".", true, 0},
        {"test", false, 0xfd},
        {"test.", true, 0x01},
        {"EXAMPLE.test", false, 0x7b},
        {"example.test.", true, 0x53},
        {"ww\\119.example.test", false, 0xf7},
        {"www.example.test", true, 0xd7},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cache cache = open_cache();
        uint8_t key[DNS_KEY_MAX];
        struct cache_life life = {.stored_at = 1, .fresh_for = HOUR};
        for (unsigned j = 0; j < FORMS; j++) {
            assert_true(
                cache_store(&cache, cache_generation(&cache), question_key(j, key), span_of(key, 0), &life));
        }
        uint64_t before = entries_of(&cache), forgotten;
        assert_int_equal(keep_forget(&cache, cases[i].name, cases[i].below, &forgotten), 0);
        assert_int_equal(names_left(&cache), cases[i].left);
        assert_int_equal(forgotten, before - entries_of(&cache));
        cache_close(&cache);
    }
}

/* What was asked for, or is being read, when something is forgotten may be that, and stays away. */
static void what_was_on_its_way_is_forgotten_too(void **state)
{
    (void)state;
    int file = file_of(10);
    struct cache cache = open_cache();
    struct keep_count count;
    struct cache_life life = {.stored_at = 1, .fresh_for = HOUR};
    uint8_t key[KEY];
    uint64_t forgotten, before = cache_generation(&cache);
    assert_int_equal(keep_forget(&cache, "www.example.test", false, &forgotten), 0);
    assert_false(cache_store(&cache, before, key_of(1, key), span_text("old"), &life));
    assert_int_equal(read_file(&cache, &terms, file, &count), KEEP_FAULT_NONE);
    assert_int_equal(count.entries, 0);
    assert_int_equal(entries_of(&cache), 0);
    struct keep_terms now = terms;
    now.generation = cache_generation(&cache);
    assert_int_equal(read_file(&cache, &now, file, &count), KEEP_FAULT_NONE);
    assert_int_equal(count.entries, 10);
    cache_close(&cache);
    close(file);
}

static struct span group_key(uint8_t group, uint8_t out[DNS_KEY_MAX])
{
    static const uint8_t question[] = "\3www\7example\4test\0\0\1\0\1";
    struct dns_key_form how = {.group = group};
    return span_of(out, dns_question_key(span_of(question, sizeof question - 1), &how, out));
}

static void groups_are_forgotten(void **state)
{
    (void)state;
    struct cache cache = open_cache();
    uint8_t key[DNS_KEY_MAX], value[1];
    struct cache_life life = {.stored_at = 1, .fresh_for = HOUR};
    struct cache_found found;
    uint64_t before = cache_generation(&cache);
    for (unsigned group = 0; group <= DNS_KEY_GROUP_MAX; group++) {
        assert_true(cache_store(&cache, before, group_key((uint8_t)group, key), span_of(key, 0), &life));
    }
    store(&cache, 1, 0, HOUR); /* what is no key is of no group */
    bool groups[DNS_KEY_GROUP_MAX + 1] = {[0] = true, [77] = true, [DNS_KEY_GROUP_MAX] = true};
    assert_int_equal(keep_forget_groups(&cache, groups), 3);
    for (unsigned group = 0; group <= DNS_KEY_GROUP_MAX; group++) {
        bool is_there = cache_find(&cache, group_key((uint8_t)group, key), value, 0, &found) == 0;
        assert_int_equal(is_there, !groups[group]);
    }
    assert_int_equal(entries_of(&cache), DNS_KEY_GROUP_MAX + 1 - 3 + 1);
    assert_false(cache_store(&cache, before, group_key(0, key), span_text("old"), &life));
    cache_close(&cache);
}

static void a_cache_is_copied(void **state)
{
    (void)state;
    struct cache from = open_cache(), to;
    assert_int_equal(cache_open(CACHE_SIZE_LEAST, (struct hash_key){{8, 9}}, 1, &to), 0);
    for (unsigned i = 0; i < 100; i++) {
        store(&from, i, 0, HOUR);
    }
    keep_copy(&from, &to);
    assert_int_equal(entries_of(&to), 100);
    uint8_t key[KEY], value[CACHE_VALUE_MAX];
    struct cache_found one, other;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(cache_find(&from, key_of(i, key), value, sizeof value, &one), 0);
        uint8_t copy[CACHE_VALUE_MAX];
        memcpy(copy, value, one.value.size);
        assert_int_equal(cache_find(&to, key_of(i, key), value, sizeof value, &other), 0);
        assert_int_equal(other.value.size, one.value.size);
        assert_memory_equal(copy, value, one.value.size);
        assert_int_equal(other.life.stored_at, one.life.stored_at);
        assert_int_equal(other.life.fresh_for, one.life.fresh_for);
        assert_int_equal(other.life.note, one.life.note);
    }
    cache_close(&from);
    cache_close(&to);
}

static void what_is_no_name_forgets_nothing(void **state)
{
    (void)state;
    struct cache cache = open_cache();
    store(&cache, 1, 0, HOUR); /* and what is no key belongs to no name */
    uint64_t forgotten;
    assert_int_equal(keep_forget(&cache, "a..b", true, &forgotten), ERROR_INVALID);
    assert_int_equal(keep_forget(&cache, "", true, &forgotten), ERROR_INVALID);
    assert_int_equal(keep_forget(&cache, ".", true, &forgotten), 0);
    assert_int_equal(forgotten, 0);
    assert_int_equal(entries_of(&cache), 1);
    cache_close(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_kept_comes_back_older),
        cmocka_unit_test(the_least_and_the_largest_come_back),
        cmocka_unit_test(an_empty_cache_is_a_file_too),
        cmocka_unit_test(what_ran_out_is_dropped),
        cmocka_unit_test(whoever_stored_meanwhile_is_newer),
        cmocka_unit_test(no_entry_lives_longer_than_it_may),
        cmocka_unit_test(the_form_of_a_file),
        cmocka_unit_test(another_time_or_origin_is_refused),
        cmocka_unit_test(another_version_or_form_is_refused),
        cmocka_unit_test(a_torn_file_is_refused_at_every_byte),
        cmocka_unit_test(every_flipped_bit_is_seen),
        cmocka_unit_test(blocks_belong_to_their_places),
        cmocka_unit_test(a_file_that_may_not_grow),
        cmocka_unit_test(a_file_that_cannot_be_read),
        cmocka_unit_test(names_are_forgotten_in_all_their_kinds),
        cmocka_unit_test(what_was_on_its_way_is_forgotten_too),
        cmocka_unit_test(groups_are_forgotten),
        cmocka_unit_test(a_cache_is_copied),
        cmocka_unit_test(what_is_no_name_forgets_nothing),
    };
    return cmocka_run_group_tests_name("keep", tests, NULL, NULL);
}
