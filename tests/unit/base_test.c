/* The ground: errors, bytes, lists, slabs, hash, random, addresses, memory, log. */
#include "base_test.h"

#include <errno.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/address.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/slab.h"

#include "cmocka.h"

/* ---- errors, clock, bytes, lists, memory, slabs ---- */

static void test_error(void **state)
{
    (void)state;
    assert_string_equal(error_text(0), "no error");
    assert_string_equal(error_text(ERROR_AGAIN), "not ready yet");
    assert_string_equal(error_text(ERROR_SYSTEM), "system call failed");
    assert_string_equal(error_text(ERROR_SYSTEM - 1), "an error without a name");
    assert_string_equal(error_text(1), "an error without a name");
    assert_int_equal(error_from_errno(EAGAIN), ERROR_AGAIN);
    assert_int_equal(error_from_errno(EMFILE), ERROR_DESCRIPTORS);
    assert_int_equal(error_from_errno(EADDRINUSE), ERROR_ADDRESS_IN_USE);
    assert_int_equal(error_from_errno(ENOTTY), ERROR_SYSTEM);
}

static void test_clock(void **state)
{
    (void)state;
    uint64_t before = clock_monotonic();
    assert_true(clock_monotonic() >= before);
    assert_true(clock_wall() > UINT64_C(1700000000) * CLOCK_SECOND);
}

static void test_reader(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct bytes_reader reader = bytes_reader_of(span_of(bytes, sizeof bytes));
    assert_int_equal(bytes_read_u8(&reader), 1);
    assert_int_equal(bytes_read_u16(&reader), 0x0203);
    assert_int_equal(bytes_read_u32(&reader), 0x04050607);
    assert_int_equal(bytes_offset(&reader), 7);
    assert_int_equal(bytes_left(&reader), 1);
    assert_int_equal(bytes_read_u16(&reader), 0);
    assert_true(reader.failed);
    assert_int_equal(bytes_read_u8(&reader), 0); /* sticky, although one byte is left */
    assert_int_equal(bytes_left(&reader), 1);
    reader = bytes_reader_of(span_of(bytes, sizeof bytes));
    assert_int_equal(bytes_read(&reader, SIZE_MAX).size, 0);
    assert_true(reader.failed);
}

static void test_writer(void **state)
{
    (void)state;
    uint8_t bytes[9];
    const uint8_t expected[] = {1, 2, 3, 4, 5, 6, 7, 'x', 0};
    struct bytes_writer writer = bytes_writer_of(bytes, sizeof bytes);
    bytes_write_u8(&writer, 1);
    bytes_write_u16(&writer, 0x0203);
    bytes_write_u32(&writer, 0x04050607);
    bytes_write(&writer, span_text("x"));
    bytes_write(&writer, (struct span){0});
    bytes_write_zero(&writer, 1);
    assert_false(writer.failed);
    assert_memory_equal(bytes, expected, sizeof expected);
    assert_int_equal(bytes_written(&writer), 9);
    bytes_write_u8(&writer, 1);
    assert_true(writer.failed);
    writer.at = writer.start;
    bytes_write_u8(&writer, 9);
    assert_int_equal(bytes[0], 1); /* sticky */
    assert_true(span_equal(span_text(""), (struct span){0}));
    assert_true(span_equal(span_text("ab"), span_text("ab")));
    assert_false(span_equal(span_text("ab"), span_text("ac")));
    assert_false(span_equal(span_text("ab"), span_text("abc")));
}

static void test_list(void **state)
{
    (void)state;
    struct {
        int before;
        struct list link;
    } items[4];
    struct list head, other;
    list_init(&head);
    list_init(&other);
    for (size_t i = 0; i < 4; i++) {
        list_init(&items[i].link);
        assert_false(list_linked(&items[i].link));
    }
    list_append(&head, &items[1].link);
    list_append(&head, &items[2].link);
    list_prepend(&head, &items[0].link);
    list_append(&other, &items[3].link);
    list_move_all(&other, &head);
    list_move_all(&other, &head);
    assert_true(list_empty(&head));
    list_remove(&items[1].link);
    list_remove(&items[1].link);
    assert_ptr_equal(list_take_first(&other), &items[3].link);
    assert_ptr_equal(list_take_first(&other), &items[0].link);
    assert_ptr_equal(container_of(other.next, __typeof__(items[0]), link), &items[2]);
    assert_ptr_equal(list_take_first(&other), &items[2].link);
    assert_null(list_take_first(&other));
}

static void test_memory(void **state)
{
    (void)state;
    void *memory, *again;
    int descriptor;
    assert_int_equal(memory_open((size_t)1 << 30, &memory), 0);
    assert_int_equal(((uint8_t *)memory)[12345678], 0);
    memory_close(memory, (size_t)1 << 30);
    memory_close(NULL, 0);
    assert_int_equal(memory_open(SIZE_MAX / 2, &memory), ERROR_MEMORY);
    assert_int_equal(memory_share(4096, "test", &memory, &descriptor), 0);
    ((uint8_t *)memory)[7] = 42;
    again = mmap(NULL, 4096, PROT_READ, MAP_SHARED, descriptor, 0);
    assert_int_equal(((uint8_t *)again)[7], 42);
    munmap(again, 4096);
    assert_int_equal(memory_adopt(descriptor, 8192, &again), ERROR_INVALID);
    assert_int_equal(memory_adopt(descriptor, 4096, &again), 0);
    ((uint8_t *)again)[8] = ((uint8_t *)again)[7];
    assert_int_equal(((uint8_t *)memory)[8], 42);
    memory_close(again, 4096);
    memory_close(memory, 4096);
    close(descriptor);
    assert_int_equal(memory_adopt(descriptor, 4096, &again), ERROR_INVALID);
}

static void test_stored_memory(void **state)
{
    (void)state;
    static const char *const texts[] = {"authorities", ""};
    for (size_t i = 0; i < 2; i++) {
        int descriptor;
        void *memory;
        struct span text = span_text(texts[i]);
        assert_int_equal(memory_store(text, "test", &descriptor), 0);
        assert_int_equal(memory_map(descriptor, text.size, &memory), 0);
        assert_memory_equal(memory, text.data, text.size);
        memory_close(memory, text.size);
        memory_close_shared(descriptor);
    }
    void *memory;
    assert_int_equal(memory_map(-1, 10, &memory), ERROR_MEMORY);
}

static void test_slab(void **state)
{
    (void)state;
    struct slab slab;
    void *objects[3];
    assert_int_equal(slab_open(&slab, SIZE_MAX / 4, 100), ERROR_MEMORY);
    assert_int_equal(slab_open(&slab, 20, 3), 0);
    for (size_t i = 0; i < 3; i++) {
        objects[i] = slab_take(&slab);
        assert_int_equal((uintptr_t)objects[i] % 16, 0);
        memset(objects[i], 0xee, 20);
    }
    assert_int_equal((char *)objects[1] - (char *)objects[0], 32);
    assert_null(slab_take(&slab));
    slab_give(&slab, objects[0]);
    slab_give(&slab, objects[2]);
    assert_ptr_equal(slab_take(&slab), objects[2]); /* the last one given is the warm one */
    assert_ptr_equal(slab_take(&slab), objects[0]);
    assert_null(slab_take(&slab));
    for (size_t i = 0; i < 3; i++) {
        slab_give(&slab, objects[i]);
    }
    slab_close(&slab);
}

/* ---- hash, random ---- */

static void test_hash(void **state)
{
    (void)state;
    /* Key 00..0f, message 00..(n-1): the vectors that the reference implementation of SipHash-1-3 gives. */
    static const struct {
        size_t size;
        uint64_t hash;
    } vectors[] = {
        {0, UINT64_C(0xabac0158050fc4dc)},  {1, UINT64_C(0xc9f49bf37d57ca93)},
        {2, UINT64_C(0x82cb9b024dc7d44d)},  {7, UINT64_C(0xd3927d989bb11140)},
        {8, UINT64_C(0x369095118d299a8e)},  {9, UINT64_C(0x25a48eb36c063de4)},
        {15, UINT64_C(0xd320d86d2a519956)}, {16, UINT64_C(0xcc4fdd1a7d908b66)},
        {17, UINT64_C(0x9cf2689063dbd80c)}, {63, UINT64_C(0x9d199062b7bbb3a8)},
    };
    const struct hash_key key = {{UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)}};
    uint8_t message[64];
    for (size_t i = 0; i < sizeof message; i++) {
        message[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        assert_true(hash_bytes(&key, span_of(message, vectors[i].size)) == vectors[i].hash);
    }
    const struct hash_key other = {{UINT64_C(0x0706050403020101), UINT64_C(0x0f0e0d0c0b0a0908)}};
    assert_true(hash_bytes(&other, span_of(message, 8)) != hash_bytes(&key, span_of(message, 8)));
}

static void test_random_sources(void **state)
{
    (void)state;
    struct random one, two;
    random_init(&one);
    random_init(&two);
    assert_true(random_u64(&one) != random_u64(&two));
    assert_true(random_u64(&one) != random_u64(&one));
    random_init_repeatable(&one, 7);
    random_init_repeatable(&two, 7);
    uint8_t long_one[3000], long_two[3000];
    random_bytes(&one, long_one, sizeof long_one);
    random_bytes(&two, long_two, 1);
    random_bytes(&two, long_two + 1, sizeof long_two - 1);
    assert_memory_equal(long_one, long_two, sizeof long_one);
    assert_memory_not_equal(long_one, long_one + 1024, 1024);
    random_init_repeatable(&two, 8);
    assert_true(random_u64(&one) != random_u64(&two));
    (void)random_u16(&two);
    for (size_t i = 0; i < sizeof two.pool - two.left; i++) {
        assert_int_equal(two.pool[i], 0); /* what was handed out is wiped */
    }
}

static void test_random_ranges(void **state)
{
    (void)state;
    struct random random;
    unsigned counts[6] = {0};
    random_init_repeatable(&random, 1);
    for (unsigned i = 0; i < 60000; i++) {
        counts[random_below(&random, 6)]++;
    }
    for (size_t i = 0; i < 6; i++) {
        assert_in_range(counts[i], 9500, 10500);
    }
    assert_int_equal(random_below(&random, 1), 0);
    uint64_t lowest = UINT64_MAX, highest = 0;
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t value = random_jitter(&random, 1000, 20);
        lowest = value < lowest ? value : lowest;
        highest = value > highest ? value : highest;
    }
    assert_int_equal(lowest, 800);
    assert_int_equal(highest, 1200);
    assert_int_equal(random_jitter(&random, 1000, 0), 1000);
    assert_int_equal(random_jitter(&random, 0, 100), 0);
    assert_true(random_jitter(&random, UINT64_MAX, 100) == UINT64_MAX);
    assert_true(random_jitter(&random, UINT64_MAX / 2, 100) <= UINT64_MAX - 1);
}

/* ---- addresses ---- */

static void assert_round_trip(const char *text, const char *formatted)
{
    struct address address, back;
    struct sockaddr_storage kernel;
    char out[ADDRESS_TEXT_SIZE];
    assert_int_equal(address_parse(span_text(text), 53, &address), 0);
    assert_int_equal(address_format(&address, true, out), strlen(formatted));
    assert_string_equal(out, formatted);
    assert_true(address_to_kernel(&address, &kernel) > 0);
    address_from_kernel((struct sockaddr *)&kernel, &back);
    assert_true(address_equal(&address, &back));
}

static void test_address_text(void **state)
{
    (void)state;
    assert_round_trip("192.0.2.1", "192.0.2.1:53");
    assert_round_trip("192.0.2.1:5353", "192.0.2.1:5353");
    assert_round_trip("2001:DB8:0::1", "[2001:db8::1]:53");
    assert_round_trip("[2001:db8::1]", "[2001:db8::1]:53");
    assert_round_trip("[2001:db8::1]:65535", "[2001:db8::1]:65535");
    assert_round_trip("::", "[::]:53");
    assert_round_trip("[::ffff:192.0.2.1]:53", "192.0.2.1:53");
    assert_round_trip("fe80::1%4294967295", "[fe80::1%4294967295]:53");
    char loopback[32], out[ADDRESS_TEXT_SIZE];
    snprintf(loopback, sizeof loopback, "[fe80::1%%%u]:53", if_nametoindex("lo"));
    assert_round_trip("[fe80::1%lo]:53", loopback);
    struct address address = {0};
    assert_int_equal(address_format(&address, true, out), 4);
    assert_string_equal(out, "none");
}

static void test_address_refused(void **state)
{
    (void)state;
    static const char *const invalid[] = {
        "",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.256",
        " 1.2.3.4",
        "1.2.3.4 ",
        "example",
        "[::1",
        "[::1]53",
        "[1.2.3.4]",
        "::1::",
        "fe80::1%nosuch0",
        "fe80::1%",
        "fe80::1%0",
        "::1%lo",
        "2001:db8::%1",
        "1.2.3.4%lo",
        "[]",
        ":53",
        "fe80::1%4294967296",
    };
    static const char *const ports[] = {"1.2.3.4:",       "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:x",
                                        "1.2.3.4:000053", "[::1]:",        "[::1]:99999"};
    struct address address = {.port = 7};
    for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++) {
        assert_int_equal(address_parse(span_text(invalid[i]), 1, &address), ERROR_INVALID);
    }
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        assert_int_equal(address_parse(span_text(ports[i]), 1, &address), ERROR_RANGE);
    }
    assert_int_equal(address_parse(span_of("1.2.3.4\0x", 9), 1, &address), ERROR_INVALID);
    assert_int_equal(address.port, 7); /* set only on success */
}

static bool contains(const char *prefix, const char *text)
{
    struct address_prefix parsed;
    struct address address;
    assert_int_equal(address_prefix_parse(span_text(prefix), &parsed), 0);
    assert_int_equal(address_parse(span_text(text), 53, &address), 0);
    return address_prefix_contains(&parsed, &address);
}

static void test_address_prefix(void **state)
{
    (void)state;
    assert_true(contains("192.0.2.0/24", "192.0.2.255"));
    assert_false(contains("192.0.2.0/24", "192.0.3.0"));
    assert_true(contains("192.0.2.128/25", "192.0.2.128"));
    assert_false(contains("192.0.2.128/25", "192.0.2.127"));
    assert_true(contains("0.0.0.0/0", "255.255.255.255"));
    assert_false(contains("0.0.0.0/0", "::1"));
    assert_false(contains("::/0", "0.0.0.0"));
    assert_true(contains("192.0.2.1", "192.0.2.1"));
    assert_false(contains("192.0.2.1", "192.0.2.0"));
    assert_true(contains("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(contains("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(contains("::1/128", "::1"));
    assert_true(contains("fe80::/10", "fe80::1%1"));
    assert_true(contains("::ffff:192.0.2.0/120", "192.0.2.7"));
    static const char *const invalid[] = {"192.0.2.1/24", "2001:db8::1/32",  "192.0.2.0/33",
                                          "::/129",       "192.0.2.0/",      "192.0.2.0/x",
                                          "/24",          "192.0.2.0:53/24", "[2001:db8::]/32",
                                          "fe80::%1/64",  "::ffff:0:0/95",   "1.2.3.4/24/24"};
    struct address_prefix prefix;
    for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++) {
        assert_int_equal(address_prefix_parse(span_text(invalid[i]), &prefix), ERROR_INVALID);
    }
}

static void test_address_list(void **state)
{
    (void)state;
    struct address_list list = {0}, other = {0};
    struct address address;
    assert_int_equal(address_parse(span_text("192.0.2.1:853"), 0, &address), 0);
    assert_true(address_list_add(&list, &address));
    assert_false(address_list_add(&list, &address));
    assert_false(address_list_same(&list, &other));
    for (address.port = 1; list.count < ADDRESS_LIST_MAX; address.port++) {
        assert_true(address_list_add(&list, &address));
    }
    assert_false(address_list_add(&list, &address));
    assert_false(address_list_has(&list, &address));
    for (size_t i = list.count; i > 0; i--) {
        assert_true(address_list_add(&other, &list.items[i - 1]));
    }
    assert_true(address_list_same(&list, &other));
    other.items[0] = address;
    assert_false(address_list_same(&list, &other));
}

static void test_address_compare(void **state)
{
    (void)state;
    struct address one, two;
    assert_int_equal(address_parse(span_text("[fe80::1%1]:53"), 0, &one), 0);
    two = one;
    assert_true(address_equal(&one, &two));
    two.port = 54;
    assert_false(address_equal(&one, &two));
    assert_true(address_same_host(&one, &two));
    two.scope = 2;
    assert_false(address_same_host(&one, &two));
    assert_false(address_is_any(&one));
    assert_int_equal(address_bits(&one), 128);
    struct address_prefix prefix = address_prefix_of(&one, 10);
    assert_int_equal(prefix.address.port | prefix.address.scope, 0);
    assert_int_equal(prefix.address.bytes[1], 0x80);
    assert_int_equal(prefix.address.bytes[15], 0);
    assert_int_equal(address_parse(span_text("0.0.0.0"), 0, &one), 0);
    assert_true(address_is_any(&one));
    assert_int_equal(address_bits(&one), 32);
    one = (struct address){0};
    assert_false(address_is_any(&one));
    struct sockaddr local = {.sa_family = AF_UNIX};
    address_from_kernel(&local, &one);
    assert_int_equal(one.family, AF_UNSPEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_stored_memory),
        cmocka_unit_test(test_slab),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_random_sources),
        cmocka_unit_test(test_random_ranges),
        cmocka_unit_test(test_address_text),
        cmocka_unit_test(test_address_refused),
        cmocka_unit_test(test_address_prefix),
        cmocka_unit_test(test_address_list),
        cmocka_unit_test(test_address_compare),
        cmocka_unit_test(base_test_log_text),
        cmocka_unit_test(base_test_log_json),
        cmocka_unit_test(base_test_log_levels),
        cmocka_unit_test(base_test_log_time),
        cmocka_unit_test(base_test_log_cut),
        cmocka_unit_test(base_test_log_any_bytes),
        cmocka_unit_test(base_test_log_full),
        cmocka_unit_test(base_test_log_threads),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
