/* Answers: every rule of dns_answer_read, from both sides. */
#include "dns_messages.h"

static struct draft draft;

enum { QUESTION_AT = 12, FIRST_AT = 12 + 13 + 4 };

/* The question is "www.example." A; the first record begins at FIRST_AT. */
static void begin(unsigned answers, unsigned authority, unsigned additional)
{
    draft_begin(&draft, 0x8180, 1, answers, authority, additional);
    draft_question(&draft, "www.example.", DNS_TYPE_A);
}

static struct dns_answer read_it(void)
{
    struct dns_answer answer;
    assert_int_equal(read_answer(&draft, &answer), 0);
    return answer;
}

static void assert_malformed(void)
{
    struct dns_answer answer;
    assert_int_equal(read_answer(&draft, &answer), ERROR_MALFORMED);
}

static void data_record(unsigned type, const void *data, size_t size)
{
    draft_pointer(&draft, QUESTION_AT);
    draft_fixed(&draft, type, 300, size);
    draft_bytes(&draft, data, size);
}

static void plain_answer(void **state)
{
    (void)state;
    begin(2, 1, 1);
    for (int i = 0; i < 4; i++) {
        draft_record(&draft, QUESTION_AT, DNS_TYPE_A, 300, 4);
    }
    struct dns_answer answer = read_it();
    assert_int_equal(answer.id, 0xbeef);
    assert_true(answer.rd && answer.ra && !answer.aa && !answer.tc && !answer.ad && !answer.cd);
    assert_int_equal(answer.rcode, 0);
    assert_ptr_equal(answer.question.data, draft.bytes + 12);
    assert_int_equal(answer.question.size, 17);
    assert_int_equal(answer.count[0], 2);
    assert_int_equal(answer.count[1], 1);
    assert_int_equal(answer.count[2], 1);
    assert_int_equal(answer.records, FIRST_AT);
    assert_int_equal(answer.option_record, 0);
    assert_false(answer.is_signed);
    assert_int_equal(answer.extended.code, DNS_EXTENDED_NONE);
    assert_int_equal(answer.message.size, draft.size);
}

static void header_of_an_answer(void **state)
{
    (void)state;
    struct dns_answer answer;
    draft_begin(&draft, 0x8630 | 3, 0, 0, 0, 0);
    answer = read_it();
    assert_true(answer.aa && answer.tc && answer.ad && answer.cd && !answer.rd && !answer.ra);
    assert_int_equal(answer.rcode, DNS_RCODE_NXDOMAIN);
    assert_int_equal(answer.question.size, 0);
    for (draft.size = 0; draft.size < 12; draft.size++) {
        assert_int_equal(read_answer(&draft, &answer), ERROR_SHORT);
    }
    draft_begin(&draft, 0x0180, 0, 0, 0, 0);
    assert_int_equal(read_answer(&draft, &answer), ERROR_INVALID);
    for (unsigned opcode = 1; opcode < 16; opcode++) {
        draft_begin(&draft, 0x8000 | opcode << 11, 0, 0, 0, 0);
        assert_int_equal(read_answer(&draft, &answer), ERROR_INVALID);
    }
}

static void one_question_or_none(void **state)
{
    (void)state;
    draft_begin(&draft, 0x8180, 2, 0, 0, 0);
    draft_question(&draft, "a.", 1);
    draft_question(&draft, "a.", 1);
    assert_malformed();
    draft_begin(&draft, 0x8180, 1, 0, 0, 0);
    draft_bytes(&draft, "\1a\xc0\x0c\0\1\0\1", 8);
    assert_malformed();
}

static void nothing_behind_the_end(void **state)
{
    (void)state;
    begin(1, 0, 0);
    draft_record(&draft, QUESTION_AT, DNS_TYPE_A, 300, 4);
    draft_bytes(&draft, "", 1);
    assert_malformed();
    bytes_put_u16(draft.bytes + 6, 0);
    assert_malformed();
    bytes_put_u16(draft.bytes + 6, 2);
    assert_malformed();
}

static void record_inside_the_message(void **state)
{
    (void)state;
    begin(1, 0, 0);
    draft_record(&draft, QUESTION_AT, DNS_TYPE_TXT, 300, 40);
    read_it();
    draft.bytes[draft.size - 41]++;
    assert_malformed();
    draft.bytes[draft.size - 41] = 39;
    assert_malformed();
}

static void assert_owner(const char *owner, size_t size, bool is_right)
{
    begin(1, 0, 0);
    draft_bytes(&draft, owner, size);
    draft_fixed(&draft, DNS_TYPE_A, 300, 4);
    draft_bytes(&draft, "\xc0\0\2\1", 4);
    if (is_right) {
        read_it();
    } else {
        assert_malformed();
    }
}

/* Shows: RFC1035-4.1.4 */
static void owner_names(void **state)
{
    (void)state;
    assert_owner("\0", 1, true);
    assert_owner("\xc0\x0c", 2, true);
    assert_owner("\xc0\x10", 2, true); /* example. */
    assert_owner("\xc0\x18", 2, true); /* the root at its end */
    assert_owner("\1a\xc0\x0c", 4, true);
    assert_owner("\1a\0", 3, true);
    assert_owner("\xc0\x1d", 2, false);    /* itself */
    assert_owner("\1a\xc0\x1d", 4, false); /* the start of its own labels */
    assert_owner("\xc0\x1f", 2, false);    /* forward */
    assert_owner("\xff\xff", 2, false);
    assert_owner("\xc0\0", 2, false); /* header */
    assert_owner("\xc0\x0b", 2, false);
    assert_owner("\xc0\x0d", 2, false); /* inside of a label */
    assert_owner("\xc0\x19", 2, false); /* type of the question */
    assert_owner("\x40\0", 2, false);
    assert_owner("\x80\0", 2, false);
    assert_owner("\xc0", 1, false);
}

/* Shows: RFC5625-4.2, RFC1035-4.1.4 */
static void pointer_to_a_pointer(void **state)
{
    (void)state;
    begin(3, 0, 0);
    draft_record(&draft, QUESTION_AT, DNS_TYPE_A, 300, 4);
    draft_record(&draft, FIRST_AT, DNS_TYPE_A, 300, 4);
    draft_record(&draft, FIRST_AT + 16, DNS_TYPE_A, 300, 4);
    read_it();
}

/* A name gets one byte longer with every pointer to the one before, up to 255 and not further. */
/* Shows: RFC1035-3.1 */
static void compressed_name_ends_at_255(void **state)
{
    (void)state;
    for (unsigned extra = 0; extra < 2; extra++) {
        begin(122, 0, 0);
        size_t before = QUESTION_AT;
        for (int i = 0; i < 121; i++) {
            size_t at = draft.size;
            draft_bytes(&draft, "\1a", 2);
            draft_record(&draft, before, DNS_TYPE_A, 300, 4);
            before = at;
        }
        /* 13 + 242 = 255: one label more is too much. */
        if (extra > 0) {
            draft_bytes(&draft, "\1a", 2);
        }
        draft_record(&draft, before, DNS_TYPE_A, 300, 4);
        if (extra > 0) {
            assert_malformed();
        } else {
            assert_int_equal(read_it().count[0], 122);
        }
    }
}

/* Shows: RFC1035-4.1.4 */
static void names_in_data(void **state)
{
    (void)state;
    static const unsigned single[] = {2, 3, 4, 5, 7, 8, 9, 12};
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) {
        begin(1, 0, 0);
        data_record(single[i], "\1a\xc0\x0c", 4);
        read_it();
        begin(1, 0, 0);
        data_record(single[i], "\1a\xc0\x0cx", 5);
        assert_malformed();
        begin(1, 0, 0);
        data_record(single[i], "\1a\xc0", 3);
        assert_malformed();
        begin(1, 0, 0);
        data_record(single[i], "\xc0\x0d", 2);
        assert_malformed();
        begin(2, 0, 0);
        data_record(single[i], "", 0);
        data_record(DNS_TYPE_A, "\1\2\3\4", 4);
        assert_malformed();
    }
}

static void two_names_in_data(void **state)
{
    (void)state;
    static const char soa[] = "\2ns\xc0\x10\xc0\x10_20 bytes of numbers";
    begin(0, 1, 0);
    data_record(DNS_TYPE_SOA, soa, 27);
    read_it();
    begin(0, 1, 0);
    data_record(DNS_TYPE_SOA, soa, 26);
    assert_malformed();
    begin(0, 1, 0);
    data_record(DNS_TYPE_SOA, soa, 28);
    assert_malformed();
    begin(0, 2, 0);
    data_record(14, "\1a\0\xc0\x0c", 5);
    data_record(15, "\0\1\xc0\x0c", 4);
    read_it();
    begin(0, 1, 0);
    data_record(14, "\1a\0", 3);
    assert_malformed();
    begin(0, 1, 0);
    data_record(15, "\0", 1);
    assert_malformed();
}

/* RFC 3597: no pointer is seen in what is not known. */
/* Shows: RFC3597, RFC5625-4.3, W10 */
static void other_data_is_opaque(void **state)
{
    (void)state;
    static const unsigned types[] = {0, 1, 10, 11, 13, 16, 17, 24, 33, 39, 46, 65280, 65535};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        begin(2, 0, 0);
        data_record(types[i], "\0\1\xff\xff\xc0\xc0\x40\x80", 8);
        data_record(types[i], "", 0);
        assert_int_equal(read_it().count[0], 2);
    }
}

/* The target of SRV may not be compressed, but others may point at it. */
static void pointers_into_opaque_data(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t target;
        bool is_right;
    } cases[] = {
        {"\4host\7example\0...", 0, true},
        {"\4host\7example\0...", 5, true},
        {"\4host\7example\0...", 13, true},
        {"\4host\xc0\x10.........", 0, true},
        {"\xc0\x10..............", 0, true},
        {"\4host\xc0\x29.........", 0, false},   /* itself: 12 + 17 + 2 + 10 = 41 */
        {"\4host\xc0\x2f.........", 0, false},   /* forward */
        {"\1a\xc0\x2d\1b\0.........", 0, false}, /* forward to a name */
        {"\4host\xc0\x0d.........", 0, false},
        {"\4host\xc0\x00.........", 0, false},
        {"\4host\x40\x10.........", 0, false},
        {"\x10host...........", 0, false},  /* its label ends behind the data */
        {"...............\xc0", 15, false}, /* half a pointer */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int twice = 0; twice < 2; twice++) {
            begin(1, 0, 2);
            data_record(33, cases[i].data, 16);
            draft_record(&draft, FIRST_AT + 12 + cases[i].target, DNS_TYPE_A, 300, 4);
            draft_record(&draft, FIRST_AT + 12 + cases[i].target, DNS_TYPE_AAAA, 300, 16);
            if (cases[i].is_right) {
                read_it();
                assert_int_equal(
                    assert_same_records(span_of(draft.bytes, draft.size), span_of(draft.bytes, draft.size)),
                    3);
            } else {
                assert_malformed();
            }
        }
    }
}

/* A name has to end in the data in which it begins. */
static void name_across_two_records(void **state)
{
    (void)state;
    begin(3, 0, 0);
    data_record(33, "\x1c...", 4);
    data_record(33, "............................\0", 29);
    draft_record(&draft, FIRST_AT + 12, DNS_TYPE_A, 300, 4);
    assert_malformed();
    draft.bytes[FIRST_AT + 12] = 3;
    assert_malformed();
    draft.bytes[FIRST_AT + 12] = 2;
    draft.bytes[FIRST_AT + 12 + 3] = 0;
    read_it();
}

/* A label of four bytes, in which there is a name, runs into "b": the pointer there goes before "b" in any
 * case. */
static void pointer_before_every_run_that_ends_in_it(void **state)
{
    (void)state;
    for (int is_behind = 0; is_behind < 2; is_behind++) {
        begin(3, 0, 0);
        size_t data = FIRST_AT + 12;
        data_record(33, is_behind ? "\4x\1c\0\1b\xc0\x2b" : "\4x\1c\0\1b\xc0\x10", 9);
        draft_record(&draft, data + 5, DNS_TYPE_A, 300, 4);
        draft_record(&draft, is_behind ? QUESTION_AT : data, DNS_TYPE_A, 300, 4);
        read_it();
        bytes_put_u16(draft.bytes + draft.size - 16, (uint16_t)(0xc000 | data));
        if (is_behind) {
            assert_malformed();
        }
    }
}

static void option_record_of_an_answer(void **state)
{
    (void)state;
    static const char options[] = "\0\x0c\0\2\0\0\0\x0f\0\x05\0\x16"
                                  "abc\0\x0f\0\2\0\1\0\x08\0\4\0\1\0\0";
    begin(0, 0, 3);
    draft_record(&draft, QUESTION_AT, DNS_TYPE_A, 300, 4);
    size_t at = draft.size;
    draft_option_record(&draft, 1232, 0x01008000, options, sizeof options - 1);
    draft_record(&draft, QUESTION_AT, DNS_TYPE_A, 300, 4);
    struct dns_answer answer = read_it();
    assert_int_equal(answer.rcode, DNS_RCODE_BADVERS);
    assert_int_equal(answer.count[2], 2);
    assert_int_equal(answer.option_record, at);
    assert_int_equal(answer.option_record_size, 11 + sizeof options - 1);
    assert_int_equal(answer.extended.code, 22);
    assert_int_equal(answer.extended.text.size, 3);
    assert_memory_equal(answer.extended.text.data, "abc", 3);
    assert_int_equal(answer.client_subnet.size, 4);
}

static int keepalive_of(const char *options, size_t size)
{
    begin(0, 0, 1);
    draft_option_record(&draft, 1232, 0, options, size);
    return read_it().keepalive;
}

/* Shows: RFC7828 */
static void idle_limit_of_the_connection(void **state)
{
    (void)state;
    assert_int_equal(keepalive_of("", 0), -1);
    assert_int_equal(keepalive_of("\0\x0b\0\2\1\x2c", 6), 300);
    assert_int_equal(keepalive_of("\0\x0b\0\2\0\0", 6), 0);
    assert_int_equal(keepalive_of("\0\x0b\0\0", 4), -1);
    assert_int_equal(keepalive_of("\0\x0b\0\3\1\2\3", 7), -1);
}

/* Shows: RFC8467-4.1 */
static void padding_is_seen(void **state)
{
    (void)state;
    begin(0, 0, 1);
    draft_option_record(&draft, 1232, 0, "\0\x0b\0\0\0\x0c\0\2\0\0", 10);
    assert_true(read_it().padded);
    begin(0, 0, 1);
    draft_option_record(&draft, 1232, 0, "\0\x0b\0\0", 4);
    assert_false(read_it().padded);
}

/* Shows: RFC6891-6.1.1, RFC6891-6.1.2, regression 17 */
static void broken_option_records(void **state)
{
    (void)state;
    begin(0, 0, 2);
    draft_option_record(&draft, 1232, 0, "", 0);
    draft_option_record(&draft, 1232, 0, "", 0);
    assert_malformed();
    begin(0, 1, 0);
    draft_option_record(&draft, 1232, 0, "", 0);
    assert_malformed();
    begin(0, 0, 1);
    draft_record(&draft, QUESTION_AT, DNS_TYPE_OPT, 0, 0);
    assert_malformed();
    for (size_t size = 1; size < 6; size++) {
        begin(0, 0, 1);
        draft_option_record(&draft, 1232, 0, "\0\x0c\0\2\0\0", size);
        assert_malformed();
    }
    begin(0, 0, 1);
    draft_option_record(&draft, 1232, 0, "\0\x0f\0\1\0", 5);
    assert_int_equal(read_it().extended.code, DNS_EXTENDED_NONE);
}

/* It will not be there any more when a client reads the names. */
static void no_pointer_into_the_option_record(void **state)
{
    (void)state;
    for (size_t target = FIRST_AT; target < FIRST_AT + 11 + 8; target++) {
        begin(0, 0, 2);
        draft_option_record(&draft, 1232, 0, "\0\x64\0\4\1a\0\0", 8);
        draft_record(&draft, target, DNS_TYPE_A, 300, 4);
        assert_malformed();
    }
    /* Nor from what stands in opaque data, where nobody would correct it. */
    begin(0, 0, 4);
    draft_option_record(&draft, 1232, 0, "", 0);
    draft_name(&draft, "a.");
    draft_fixed(&draft, DNS_TYPE_A, 300, 0);
    size_t opaque = draft.size + 12;
    draft_pointer(&draft, QUESTION_AT);
    draft_fixed(&draft, 33, 300, 4);
    draft_bytes(&draft, "\1b", 2);
    draft_pointer(&draft, FIRST_AT + 11);
    draft_record(&draft, opaque, DNS_TYPE_A, 300, 4);
    assert_malformed();
    bytes_put_u16(draft.bytes + opaque + 2, 0xc000 | QUESTION_AT);
    read_it();
}

static void signature_comes_last(void **state)
{
    (void)state;
    begin(0, 0, 2);
    draft_record(&draft, QUESTION_AT, DNS_TYPE_A, 300, 4);
    draft_signature(&draft);
    assert_true(read_it().is_signed);
    assert_int_equal(read_it().count[2], 2);
    begin(0, 0, 2);
    draft_signature(&draft);
    draft_record(&draft, QUESTION_AT, DNS_TYPE_A, 300, 4);
    assert_malformed();
    begin(1, 0, 0);
    draft_signature(&draft);
    assert_malformed();
    begin(0, 0, 1);
    draft_record(&draft, QUESTION_AT, DNS_TYPE_SIG, 300, 20);
    assert_false(read_it().is_signed);
    bytes_put_u16(draft.bytes + draft.size - 20, 0);
    assert_true(read_it().is_signed);
}

/* A chain of pointers through the whole message; read by following it for every name it would be millions of
 * steps. */
static void long_chains_of_pointers(void **state)
{
    (void)state;
    begin(4000, 0, 0);
    size_t before = QUESTION_AT;
    for (unsigned i = 0; i < 4000; i++) {
        size_t at = draft.size;
        bool is_in_reach = at + 14 < 0x4000;
        draft_pointer(&draft, before);
        draft_fixed(&draft, 14, 300, 4);
        draft_pointer(&draft, is_in_reach ? at : before);
        draft_pointer(&draft, is_in_reach ? at + 12 : before);
        before = is_in_reach ? at + 14 : before;
    }
    assert_int_equal(read_it().count[0], 4000);
}

/* Names may begin within the reach of a pointer and end behind it. */
static void end_of_reach(void **state)
{
    (void)state;
    for (size_t start = 0x4000 - 300; start < 0x4000; start++) {
        begin(3, 0, 0);
        draft_record(&draft, QUESTION_AT, 33, 300, start - FIRST_AT - 12 - 12);
        draft_pointer(&draft, QUESTION_AT);
        draft_fixed(&draft, start % 2 ? DNS_TYPE_NS : 33, 300, 255);
        for (int i = 0; i < 127; i++) {
            draft_bytes(&draft, "\1x", 2);
        }
        draft_bytes(&draft, "", 1);
        size_t label = start + 2 * (start % 127);
        draft_record(&draft, label < 0x4000 ? label : start, DNS_TYPE_A, 300, 4);
        assert_int_equal(read_it().count[0], 3);
    }
}

static void every_prefix_is_refused(void **state)
{
    (void)state;
    begin(3, 1, 2);
    data_record(DNS_TYPE_CNAME, "\3cdn\xc0\x10", 6);
    data_record(15, "\0\1\2mx\xc0\x10", 7);
    draft_record(&draft, FIRST_AT + 12, DNS_TYPE_AAAA, 300, 16);
    data_record(DNS_TYPE_SOA, "\2ns\xc0\x10\xc0\x10_20 bytes of numbers", 27);
    draft_option_record(&draft, 1232, 0, "\0\x0f\0\2\0\1", 6);
    draft_signature(&draft);
    read_it();
    size_t whole = draft.size;
    for (draft.size = 12; draft.size < whole; draft.size++) {
        assert_malformed();
    }
}

const struct CMUnitTest answer_tests[] = {
    cmocka_unit_test(plain_answer),
    cmocka_unit_test(header_of_an_answer),
    cmocka_unit_test(one_question_or_none),
    cmocka_unit_test(nothing_behind_the_end),
    cmocka_unit_test(record_inside_the_message),
    cmocka_unit_test(owner_names),
    cmocka_unit_test(pointer_to_a_pointer),
    cmocka_unit_test(compressed_name_ends_at_255),
    cmocka_unit_test(names_in_data),
    cmocka_unit_test(two_names_in_data),
    cmocka_unit_test(other_data_is_opaque),
    cmocka_unit_test(pointers_into_opaque_data),
    cmocka_unit_test(name_across_two_records),
    cmocka_unit_test(pointer_before_every_run_that_ends_in_it),
    cmocka_unit_test(option_record_of_an_answer),
    cmocka_unit_test(idle_limit_of_the_connection),
    cmocka_unit_test(padding_is_seen),
    cmocka_unit_test(broken_option_records),
    cmocka_unit_test(no_pointer_into_the_option_record),
    cmocka_unit_test(signature_comes_last),
    cmocka_unit_test(long_chains_of_pointers),
    cmocka_unit_test(end_of_reach),
    cmocka_unit_test(every_prefix_is_refused),
};
const size_t answer_tests_count = sizeof answer_tests / sizeof answer_tests[0];
