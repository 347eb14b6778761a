/* How long an answer may be kept: dns_answer_lifetime. */
#include "dns_messages.h"

static struct draft draft;

enum { QUESTION_AT = 12, EXAMPLE_AT = 12 + 4, FIRST_AT = 12 + 13 + 4, NXDOMAIN = 0x8183 };

static void begin(unsigned flags, unsigned answers, unsigned authority, unsigned additional)
{
    draft_begin(&draft, flags, 1, answers, authority, additional);
    draft_question(&draft, "www.example.", DNS_TYPE_A);
}

static void ask(uint16_t type, uint16_t class)
{
    bytes_put_u16(draft.bytes + FIRST_AT - 4, type);
    bytes_put_u16(draft.bytes + FIRST_AT - 2, class);
}

static void address(size_t owner, uint32_t ttl)
{
    draft_record(&draft, owner, DNS_TYPE_A, ttl, 4);
}

static struct dns_lifetime lifetime(void)
{
    struct dns_answer answer;
    assert_int_equal(read_answer(&draft, &answer), 0);
    return dns_answer_lifetime(&answer);
}

static void assert_lifetime(enum dns_lifetime_kind kind, uint32_t seconds)
{
    struct dns_lifetime found = lifetime();
    assert_int_equal(found.kind, kind);
    assert_int_equal(found.seconds, seconds);
}

static void lowest_of_all_records(void **state)
{
    (void)state;
    for (int section = 0; section < 4; section++) {
        begin(0x8180, 2, 1, 3);
        address(QUESTION_AT, 300);
        address(QUESTION_AT, section == 0 ? 17 : 300);
        draft_record(&draft, EXAMPLE_AT, 65280, section == 1 ? 17 : 400, 4);
        address(QUESTION_AT, section == 2 ? 17 : 500);
        draft_option_record(&draft, 1232, 0x8000, "", 0);
        address(QUESTION_AT, section == 3 ? 17 : 600);
        assert_lifetime(DNS_LIFETIME_POSITIVE, 17);
    }
}

/* Shows: C01, RFC2181-8 */
static void times_are_capped_and_the_options_are_not(void **state)
{
    (void)state;
    begin(0x8180, 3, 0, 2);
    address(QUESTION_AT, 86401);
    address(QUESTION_AT, 0x80000005);
    address(QUESTION_AT, 17);
    draft_option_record(&draft, 1232, 0x80008000, "", 0);
    address(QUESTION_AT, 86400);
    struct dns_answer before, after;
    assert_int_equal(read_answer(&draft, &before), 0);
    dns_answer_cap_ttls(draft.bytes, draft.size, 86400);
    assert_int_equal(read_answer(&draft, &after), 0);
    const uint32_t expected[] = {86400, 0, 17};
    size_t at = before.records;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(bytes_get_u32(draft.bytes + at + 6), expected[i]);
        at += 16;
    }
    assert_int_equal(after.option_record_size, before.option_record_size);
    assert_int_equal(bytes_get_u32(draft.bytes + before.option_record + 5), 0x80008000);
    assert_int_equal(bytes_get_u32(draft.bytes + draft.size - 10), 86400);
}

/* Shows: RFC2181-8 */
static void times_of_zero_are_not_kept(void **state)
{
    (void)state;
    static const uint32_t times[] = {0, 0x80000000, 0x80000005, 0xffffffff};
    for (size_t i = 0; i < 4; i++) {
        begin(0x8180, 1, 0, 1);
        address(QUESTION_AT, times[i]);
        address(QUESTION_AT, 300);
        assert_lifetime(DNS_LIFETIME_NONE, 0);
        begin(0x8180, 1, 0, 1);
        address(QUESTION_AT, 300);
        address(QUESTION_AT, times[i]);
        assert_lifetime(DNS_LIFETIME_NONE, 0);
    }
    begin(0x8180, 1, 0, 0);
    address(QUESTION_AT, 0x7fffffff);
    assert_lifetime(DNS_LIFETIME_POSITIVE, 0x7fffffff);
}

static void every_rcode(void **state)
{
    (void)state;
    for (unsigned rcode = 0; rcode < 4096; rcode++) {
        begin(0x8180 | (rcode & 15), 1, 1, 1);
        address(QUESTION_AT, 300);
        draft_soa(&draft, EXAMPLE_AT, 900, 60);
        draft_option_record(&draft, 1232, rcode >> 4 << 24, "", 0);
        struct dns_lifetime found = lifetime();
        assert_int_equal(found.kind, rcode == 0   ? DNS_LIFETIME_POSITIVE
                                     : rcode == 2 ? DNS_LIFETIME_FAILURE
                                     : rcode == 3 ? DNS_LIFETIME_NEGATIVE
                                                  : DNS_LIFETIME_NONE);
        assert_int_equal(found.seconds, rcode == 0 ? 300 : rcode == 3 ? 60 : 0);
        assert_false(found.covers_name);
    }
}

static void failure_without_a_question(void **state)
{
    (void)state;
    draft_begin(&draft, 0x8182, 0, 0, 0, 0);
    assert_lifetime(DNS_LIFETIME_FAILURE, 0);
    draft_begin(&draft, 0x8185, 0, 0, 0, 0);
    assert_lifetime(DNS_LIFETIME_NONE, 0);
    draft_begin(&draft, 0x8180, 0, 0, 0, 0);
    assert_lifetime(DNS_LIFETIME_NONE, 0);
    /* A header that looks like the name of the root is not what was denied. */
    draft_begin(&draft, 0x8183, 0, 0, 1, 0);
    bytes_put_u16(draft.bytes, 0);
    draft_soa(&draft, QUESTION_AT, 900, 60);
    draft.bytes[QUESTION_AT] = 0;
    memmove(draft.bytes + QUESTION_AT + 1, draft.bytes + QUESTION_AT + 2, --draft.size - QUESTION_AT - 1);
    bytes_put_u16(draft.bytes + QUESTION_AT + 3, 0);
    assert_lifetime(DNS_LIFETIME_NONE, 0);
}

static void truncated_and_signed_answers_are_not_kept(void **state)
{
    (void)state;
    for (unsigned rcode = 0; rcode < 4; rcode++) {
        begin(0x8380 | rcode, 1, 1, 0);
        address(QUESTION_AT, 300);
        draft_soa(&draft, EXAMPLE_AT, 900, 60);
        assert_lifetime(DNS_LIFETIME_NONE, 0);
        begin(0x8180 | rcode, 1, 1, 1);
        address(QUESTION_AT, 300);
        draft_soa(&draft, EXAMPLE_AT, 900, 60);
        draft_signature(&draft);
        assert_lifetime(DNS_LIFETIME_NONE, 0);
    }
}

static void denial_lasts_as_long_as_its_soa(void **state)
{
    (void)state;
    static const uint32_t times[][3] = {{900, 60, 60},       {60, 900, 60},
                                        {900, 1000000, 900}, {900, 0, 0},
                                        {0, 60, 0},          {900, 0x80000001, 0},
                                        {0x80000001, 60, 0}, {1, 1, 1},
                                        {0x7fffffff, 5, 5},  {0x7fffffff, 0x7fffffff, 0x7fffffff}};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        for (unsigned rcode = 0; rcode <= 3; rcode += 3) {
            begin(0x8180 | rcode, 0, 1, 0);
            draft_soa(&draft, EXAMPLE_AT, times[i][0], times[i][1]);
            assert_lifetime(times[i][2] > 0 ? DNS_LIFETIME_NEGATIVE : DNS_LIFETIME_NONE, times[i][2]);
        }
    }
    begin(NXDOMAIN, 0, 2, 1);
    draft_soa(&draft, EXAMPLE_AT, 900, 60);
    draft_record(&draft, EXAMPLE_AT, 47, 50, 20);
    address(QUESTION_AT, 40);
    assert_lifetime(DNS_LIFETIME_NEGATIVE, 40);
}

static void denial_without_its_soa_is_not_kept(void **state)
{
    (void)state;
    for (unsigned rcode = 0; rcode <= 3; rcode += 3) {
        begin(0x8180 | rcode, 0, 0, 0);
        assert_lifetime(DNS_LIFETIME_NONE, 0);
        begin(0x8180 | rcode, 0, 1, 0);
        draft_record(&draft, EXAMPLE_AT, 47, 300, 20);
        assert_lifetime(DNS_LIFETIME_NONE, 0);
        begin(0x8180 | rcode, 1, 0, 1);
        draft_soa(&draft, EXAMPLE_AT, 900, 60);
        draft_soa(&draft, EXAMPLE_AT, 900, 60);
        assert_lifetime(DNS_LIFETIME_NONE, 0);
        begin(0x8180 | rcode, 0, 1, 0);
        draft_soa(&draft, EXAMPLE_AT, 900, 60);
        bytes_put_u16(draft.bytes + FIRST_AT + 4, DNS_CLASS_CHAOS);
        assert_lifetime(DNS_LIFETIME_NONE, 0);
    }
}

static void denial_comes_from_a_zone_of_the_name(void **state)
{
    (void)state;
    static const struct {
        const char *zone;
        bool is_of_name;
    } zones[] = {{".", true},
                 {"example.", true},
                 {"EXAMPLE.", true},
                 {"www.example.", true},
                 {"test.", false},
                 {"ww.example.", false},
                 {"ample.", false},
                 {"w.example.", false},
                 {"a.www.example.", false},
                 {"www.example.test.", false}};
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        begin(NXDOMAIN, 0, 1, 0);
        draft_name(&draft, zones[i].zone);
        draft_fixed(&draft, DNS_TYPE_SOA, 900, 22);
        draft_bytes(&draft, "\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\x3c", 22);
        assert_lifetime(zones[i].is_of_name ? DNS_LIFETIME_NEGATIVE : DNS_LIFETIME_NONE,
                        zones[i].is_of_name ? 60 : 0);
    }
}

static void aliases_lead_to_what_was_asked(void **state)
{
    (void)state;
    begin(0x8180, 3, 0, 0);
    size_t second = draft_alias(&draft, QUESTION_AT, 300, "b.test.");
    size_t third = draft_alias(&draft, second, 200, "c.test.");
    address(third, 100);
    assert_lifetime(DNS_LIFETIME_POSITIVE, 100);
    ask(DNS_TYPE_CNAME, DNS_CLASS_IN);
    assert_lifetime(DNS_LIFETIME_POSITIVE, 100);
    ask(DNS_TYPE_ANY, DNS_CLASS_IN);
    assert_lifetime(DNS_LIFETIME_POSITIVE, 100);
    ask(DNS_TYPE_AAAA, DNS_CLASS_IN);
    assert_lifetime(DNS_LIFETIME_NONE, 0);
    ask(DNS_TYPE_A, DNS_CLASS_CHAOS);
    assert_lifetime(DNS_LIFETIME_NONE, 0);
    begin(0x8180, 1, 0, 0);
    address(EXAMPLE_AT, 100);
    assert_lifetime(DNS_LIFETIME_NONE, 0);
    begin(0x8180, 0, 1, 0);
    address(QUESTION_AT, 100);
    assert_lifetime(DNS_LIFETIME_NONE, 0);
}

static void aliases_without_an_end(void **state)
{
    (void)state;
    for (int zone = 0; zone < 3; zone++) {
        begin(0x8180, 2, zone > 0, 0);
        size_t second = draft_alias(&draft, QUESTION_AT, 50, "b.test.");
        size_t third = draft_alias(&draft, second, 200, "c.other.");
        if (zone > 0) {
            draft_soa(&draft, zone == 1 ? second + 2 : third + 2, 900, 100);
        }
        assert_lifetime(zone == 2 ? DNS_LIFETIME_NEGATIVE : DNS_LIFETIME_NONE, zone == 2 ? 50 : 0);
    }
    begin(0x8180, 2, 0, 0);
    size_t other = draft_alias(&draft, QUESTION_AT, 300, "b.test.");
    draft_pointer(&draft, other);
    draft_fixed(&draft, DNS_TYPE_CNAME, 300, 2);
    draft_pointer(&draft, QUESTION_AT);
    assert_lifetime(DNS_LIFETIME_NONE, 0);
}

/* An answer of aliases in the order from the last to the first. */
static void reversed_aliases(unsigned count)
{
    begin(0x8180, count + 1, 0, 0);
    draft_name(&draft, "A.");
    draft_fixed(&draft, DNS_TYPE_A, 300, 4);
    draft_bytes(&draft, "\300\0\2\1", 4);
    for (unsigned i = 0; i < count; i++) {
        char owner[] = "B.", target[] = "A.";
        owner[0] = (char)(owner[0] + (char)i);
        target[0] = (char)(target[0] + (char)i);
        draft_name(&draft, i + 1 < count ? owner : "www.example.");
        draft_fixed(&draft, DNS_TYPE_CNAME, 300, 3);
        draft_name(&draft, target);
    }
}

static void aliases_in_another_order(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 16; count++) {
        reversed_aliases(count);
        assert_lifetime(DNS_LIFETIME_POSITIVE, 300);
    }
    reversed_aliases(17);
    assert_lifetime(DNS_LIFETIME_NONE, 0);
}

/* What does not exist has no type; an alias that leads to nothing exists. */
static void denial_of_a_name(void **state)
{
    (void)state;
    begin(NXDOMAIN, 0, 1, 0);
    draft_soa(&draft, EXAMPLE_AT, 900, 60);
    assert_true(lifetime().covers_name);
    begin(0x8180, 0, 1, 0);
    draft_soa(&draft, EXAMPLE_AT, 900, 60);
    assert_false(lifetime().covers_name);
    begin(NXDOMAIN, 1, 1, 0);
    size_t target = draft_alias(&draft, QUESTION_AT, 300, "b.test.");
    draft_soa(&draft, target + 2, 900, 60);
    assert_lifetime(DNS_LIFETIME_NEGATIVE, 60);
    assert_false(lifetime().covers_name);
    begin(NXDOMAIN, 0, 0, 0);
    assert_false(lifetime().covers_name);
}

static void types_and_classes_that_are_not_data(void **state)
{
    (void)state;
    static const uint16_t types[] = {1, 39, 46, 127, 128, 248, 249, 250, 251, 252, 253, 254, 255, 256, 65280};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        bool is_data = types[i] < 128 || types[i] > 254;
        begin(0x8180, 1, 0, 0);
        ask(types[i], DNS_CLASS_IN);
        draft_record(&draft, QUESTION_AT, types[i] == 255 ? 16 : types[i] == 250 ? 1 : types[i], 300, 4);
        assert_lifetime(is_data ? DNS_LIFETIME_POSITIVE : DNS_LIFETIME_NONE, is_data ? 300 : 0);
        begin(0x8182, 0, 0, 0);
        ask(types[i], DNS_CLASS_IN);
        assert_lifetime(is_data ? DNS_LIFETIME_FAILURE : DNS_LIFETIME_NONE, 0);
    }
    static const uint16_t classes[] = {1, 3, 4, 253, 254, 255, 256, 65000};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        bool is_kept = classes[i] != 254 && classes[i] != 255;
        begin(0x8180, 1, 0, 0);
        ask(DNS_TYPE_A, classes[i]);
        address(QUESTION_AT, 300);
        bytes_put_u16(draft.bytes + FIRST_AT + 4, (uint16_t)classes[i]);
        assert_lifetime(is_kept ? DNS_LIFETIME_POSITIVE : DNS_LIFETIME_NONE, is_kept ? 300 : 0);
    }
}

static void answers_for_one_subnet_are_not_kept(void **state)
{
    (void)state;
    for (uint8_t scope = 0; scope < 2; scope++) {
        uint8_t option[] = {0, 8, 0, 7, 0, 1, 24, scope, 192, 0, 2};
        begin(0x8180, 1, 0, 1);
        address(QUESTION_AT, 300);
        draft_option_record(&draft, 1232, 0, option, sizeof option);
        assert_lifetime(scope == 0 ? DNS_LIFETIME_POSITIVE : DNS_LIFETIME_NONE, scope == 0 ? 300 : 0);
    }
}

/* Owners that are pointers to pointers to the name at `target`; returns the offset of the last one. */
static size_t pointers(size_t target, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        size_t owner = draft.size;
        draft_record(&draft, target, 65280, 300, 0);
        target = owner;
    }
    return target;
}

static void address_behind_pointers(unsigned count)
{
    begin(0x8180, count + 1, 0, 0);
    size_t example = pointers(EXAMPLE_AT, count);
    draft_bytes(&draft, "\3www", 4);
    draft_pointer(&draft, example);
    draft_fixed(&draft, DNS_TYPE_A, 300, 4);
    draft_bytes(&draft, "\300\0\2\1", 4);
}

static void alias_behind_pointers(unsigned count)
{
    begin(0x8180, count + 2, 0, 0);
    draft_pointer(&draft, QUESTION_AT);
    draft_fixed(&draft, DNS_TYPE_CNAME, 300, 2);
    draft_pointer(&draft, EXAMPLE_AT);
    address(pointers(EXAMPLE_AT, count), 300);
}

/* The zone has a name of its own, or the end of the question's. */
static void denial_behind_pointers(unsigned count, bool has_own)
{
    begin(NXDOMAIN, count + 1, 1, 0);
    size_t own = draft.size;
    draft_name(&draft, "example.");
    draft_fixed(&draft, 65280, 300, 0);
    draft_soa(&draft, pointers(has_own ? own : EXAMPLE_AT, count), 900, 60);
}

/* More pointers in a row than anybody follows: nothing is found, and nothing hangs. */
static void names_of_too_many_pointers(void **state)
{
    (void)state;
    for (unsigned count = 0; count <= 300; count++) {
        for (int kind = 0; kind < 4; kind++) {
            if (kind == 0) {
                address_behind_pointers(count);
            } else if (kind == 1) {
                alias_behind_pointers(count);
            } else {
                denial_behind_pointers(count, kind == 3);
            }
            enum dns_lifetime_kind found = lifetime().kind;
            if (count < 120) {
                assert_int_equal(found, kind < 2 ? DNS_LIFETIME_POSITIVE : DNS_LIFETIME_NEGATIVE);
            } else if (count > 130) {
                assert_int_equal(found, DNS_LIFETIME_NONE);
            }
        }
    }
}

const struct CMUnitTest ttl_tests[] = {
    cmocka_unit_test(lowest_of_all_records),
    cmocka_unit_test(times_are_capped_and_the_options_are_not),
    cmocka_unit_test(times_are_capped_and_the_options_are_not),
    cmocka_unit_test(times_of_zero_are_not_kept),
    cmocka_unit_test(every_rcode),
    cmocka_unit_test(failure_without_a_question),
    cmocka_unit_test(truncated_and_signed_answers_are_not_kept),
    cmocka_unit_test(denial_lasts_as_long_as_its_soa),
    cmocka_unit_test(denial_without_its_soa_is_not_kept),
    cmocka_unit_test(denial_comes_from_a_zone_of_the_name),
    cmocka_unit_test(aliases_lead_to_what_was_asked),
    cmocka_unit_test(aliases_without_an_end),
    cmocka_unit_test(aliases_in_another_order),
    cmocka_unit_test(denial_of_a_name),
    cmocka_unit_test(types_and_classes_that_are_not_data),
    cmocka_unit_test(answers_for_one_subnet_are_not_kept),
    cmocka_unit_test(names_of_too_many_pointers),
};
const size_t ttl_tests_count = sizeof ttl_tests / sizeof ttl_tests[0];
