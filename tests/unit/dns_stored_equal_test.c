/*
 * What was stored says the same as what was not: for answers and clients drawn by chance, dns_stored_answer
 * of dns_stored_write is what dns_answer_write writes, byte for byte, but for AA, and where the records of a
 * set differ in their TTL.
 */
#include "../support/dns_records.h"
#include "dns_messages.h"

enum { QUESTION_AT = 12, ROUNDS = 20000, VIEWS = 4, PLACES = 64, LONGEST = DNS_MESSAGE_MAX };

static struct draft draft;
static size_t places[PLACES]; /* where names begin in the draft */
static size_t place_count;
static uint32_t chance_state;

/* A number below `limit`; the same ones in every run. */
static uint32_t chance(uint32_t limit)
{
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 17;
    chance_state ^= chance_state << 5;
    return chance_state % limit;
}

static void remember_place(void)
{
    places[place_count < PLACES ? place_count++ : chance(PLACES)] = draft.size;
}

static void random_name(void)
{
    static const char *const names[] = {".", "example.", "WWW.eXample.", "a.b.c.test."};
    static const char *const labels[] = {"\1a", "\3wWw", "\4mail"};
    if (chance(4) == 0) {
        remember_place();
        draft_name(&draft, names[chance(4)]);
        return;
    }
    size_t target = places[chance((uint32_t)place_count)];
    remember_place();
    if (chance(3) == 0) {
        const char *label = labels[chance(3)];
        draft_bytes(&draft, label, 1 + (size_t)label[0]);
    }
    draft_pointer(&draft, target);
}

static void random_bytes(size_t size)
{
    for (size_t i = 0; i < size; i++) {
        draft_bytes(&draft, &(uint8_t){(uint8_t)chance(256)}, 1);
    }
}

static void random_data(unsigned type)
{
    if (type == DNS_TYPE_CNAME) {
        random_name();
    } else if (type == DNS_TYPE_SOA) {
        random_name();
        random_name();
        random_bytes(20);
    } else if (type == 15) {
        random_bytes(2);
        random_name();
    } else {
        random_bytes(type == DNS_TYPE_A ? 4 : chance(60));
    }
}

static void random_record(bool is_even)
{
    static const uint16_t types[] = {DNS_TYPE_A,   DNS_TYPE_A,   DNS_TYPE_CNAME, 15,
                                     DNS_TYPE_SOA, DNS_TYPE_TXT, 65280};
    static const uint32_t times[] = {300, 60, 0, 0x80000000, 0xffffffff, 0x7fffffff};
    unsigned type = types[chance(is_even ? 4 : 7)];
    if (chance(2) == 0) {
        draft_pointer(&draft, QUESTION_AT);
    } else {
        random_name();
    }
    size_t fixed = draft.size;
    draft_fixed(&draft, type, is_even ? 300 : times[chance(6)], 0);
    random_data(type);
    bytes_put_u16(draft.bytes + fixed + 8, (uint16_t)(draft.size - fixed - 10));
}

static void random_option_record(void)
{
    static uint8_t options[4096];
    size_t size = 0;
    for (uint32_t i = chance(4); i > 0; i--) {
        static const uint8_t codes[] = {3, 8, 10, 11, 12, 15, 15, 99};
        uint8_t code = codes[chance(8)];
        size_t length = code == 11 ? 2 : chance(200);
        bytes_put_u16(options + size, code);
        bytes_put_u16(options + size + 2, (uint16_t)length);
        for (size_t at = size + 4; at < size + 4 + length; at++) {
            options[at] = (uint8_t)chance(256);
        }
        size += 4 + length;
    }
    draft_option_record(&draft, chance(65536), chance(2) ? 0x8000 : 0, options, size);
}

/* `is_even`: the records of a set have one TTL, and there is no SOA. */
static void random_answer(bool is_even)
{
    unsigned count[3] = {chance(8), chance(4), chance(6)};
    count[chance(3)] += chance(200) == 0 ? 300 : 0;
    unsigned option_at = chance(count[2] + 1);
    bool has_option = chance(2);
    unsigned flags = 0x8000 | chance(0x800) | (unsigned)(chance(4) == 0 ? chance(16) : 0);
    draft_begin(&draft, flags & 0xfdffu & ~(0xfu * (chance(4) > 0)), 1, count[0], count[1],
                count[2] + has_option);
    draft_question(&draft, "www.example.", DNS_TYPE_A);
    places[0] = QUESTION_AT;
    places[1] = QUESTION_AT + 4;
    place_count = 2;
    for (int section = 0; section < 3; section++) {
        for (unsigned i = 0; i <= count[section]; i++) {
            if (section == 2 && i == option_at && has_option) {
                random_option_record();
            }
            if (i < count[section]) {
                random_record(is_even);
            }
        }
    }
}

static struct dns_view random_view(const struct dns_answer *answer)
{
    struct dns_view view = plain_client(0);
    view.limit = chance(3) == 0 ? DNS_MESSAGE_MAX : chance((uint32_t)draft.size + 200);
    view.id = (uint16_t)chance(65536);
    view.rd = chance(2);
    view.cd = chance(2);
    view.show_ad = chance(2);
    view.has_edns = chance(2);
    view.dnssec_ok = chance(2);
    view.keepalive = chance(2) ? 100 : -1;
    view.client_subnet = chance(2) ? answer->client_subnet : (struct span){0};
    if (chance(2)) {
        view.question = span_of("\3wwW\7ExAMPLE\0\0\1\0\1", 17);
    }
    return view;
}

/* The TTLs of `stored` are those of `written` where sets are even, and else none above them. They are made
 * the same. */
static void assert_times(struct span stored, uint8_t *written, size_t size, bool is_even)
{
    static struct plain_record ours, theirs;
    struct plain_reader ours_reader, theirs_reader;
    plain_begin(&ours_reader, stored);
    plain_begin(&theirs_reader, span_of(written, size));
    while (plain_next_but_option(&ours_reader, &ours)) {
        assert_true(plain_next_but_option(&theirs_reader, &theirs));
        assert_true(is_even ? ours.ttl == theirs.ttl : ours.ttl <= theirs.ttl);
        memcpy(written + theirs.ttl_at, stored.data + ours.ttl_at, 4);
    }
}

static void assert_same(const struct dns_answer *answer, struct span kept, bool is_even)
{
    static uint8_t stored[LONGEST], written[LONGEST];
    struct dns_view view = random_view(answer);
    size_t capacity = draft.size + chance(2) * (LONGEST - draft.size), stored_size, written_size;
    struct dns_stored form = {.bytes = kept, .most = 0x7fffffff};
    int error = dns_stored_answer(&form, &view, stored, capacity, &stored_size);
    struct dns_answer unauthoritative = *answer;
    unauthoritative.aa = false;
    view.extended = answer->extended;
    assert_int_equal(dns_answer_write(&unauthoritative, &view, written, capacity, &written_size), error);
    if (error < 0) {
        assert_int_equal(error, ERROR_SPACE);
        return;
    }
    assert_int_equal(stored_size, written_size);
    assert_times(span_of(stored, stored_size), written, written_size, is_even);
    assert_memory_equal(stored, written, written_size);
}

static void stored_answers_say_the_same(void **state)
{
    (void)state;
    static uint8_t kept[LONGEST];
    unsigned count = 0, options = 0, failures = 0, subnets = 0;
    chance_state = 2463534242;
    for (unsigned round = 0; round < ROUNDS; round++) {
        bool is_even = chance(2);
        random_answer(is_even);
        struct dns_answer answer;
        size_t size;
        if (dns_answer_read(span_of(draft.bytes, draft.size), &answer) < 0) {
            continue;
        }
        assert_int_equal(dns_stored_write(&answer, kept, sizeof kept, &size), 0);
        struct span exact = exact_copy(kept, size);
        for (unsigned view = 0; view < VIEWS; view++) {
            assert_same(&answer, exact, is_even);
        }
        free((void *)exact.data);
        count++;
        options += answer.option_record != 0 && answer.count[2] > 0;
        failures += answer.rcode != 0 && answer.extended.code >= 0;
        subnets += answer.client_subnet.size > 0;
    }
    assert_true(count > ROUNDS / 2 && options > ROUNDS / 10);
    assert_true(failures > ROUNDS / 200 && subnets > ROUNDS / 200);
}

const struct CMUnitTest equal_tests[] = {
    cmocka_unit_test(stored_answers_say_the_same),
};
const size_t equal_tests_count = sizeof equal_tests / sizeof equal_tests[0];
