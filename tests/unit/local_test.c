/* Names that are answered here: who wins, what is said, and tables against a simple model. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "local_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

static void note(struct local_report *report, const char *line)
{
    struct built *built = (struct built *)(void *)report;
    snprintf(built->complaints++ == 0 ? built->first : built->last, sizeof built->first, "%s", line);
}

static int worse(int error, int other)
{
    return other != 0 ? other : error;
}

struct built build_texts(const struct texts *texts)
{
    static struct built built;
    struct local_plan *plan;
    built = (struct built){.report.error = note};
    struct local_options options = {
        .hash_key = {{7, 8}}, .special_use = !texts->no_special_use, .block_answer = texts->block_answer};
    assert_int_equal(local_plan_open(&options, &built.report, &plan), 0);
    for (size_t i = 0; texts->forward[i] != NULL; i++) {
        built.error = worse(built.error, local_plan_forward(plan, "forward", texts->forward[i]));
    }
    for (size_t i = 0; texts->records[i] != NULL; i++) {
        built.error = worse(built.error, local_plan_record(plan, "records", texts->records[i]));
    }
    if (texts->hosts != NULL) {
        built.error = worse(built.error, local_plan_hosts(plan, "hosts", span_text(texts->hosts)));
    }
    if (texts->block != NULL) {
        built.error = worse(built.error, local_plan_block(plan, "block", span_text(texts->block)));
    }
    if (built.error == 0) {
        built.error = local_build(plan, &built.local);
    }
    local_plan_close(plan);
    return built;
}

void ask(const struct local *local, const char *name, uint16_t type, struct said *out)
{
    struct local_name wire;
    uint8_t question[DNS_QUESTION_MAX];
    assert_null(local_name_of_zone(span_text(name), &wire));
    memcpy(question, wire.bytes, wire.size);
    bytes_put_u16(question + wire.size, type);
    bytes_put_u16(question + wire.size + 2, DNS_CLASS_IN);
    size_t size = 0;
    out->verdict =
        local_answer(local, span_of(question, wire.size + 4), out->message, sizeof out->message, &size);
    if (out->verdict != LOCAL_UNKNOWN) {
        assert_int_equal(dns_answer_read(span_of(out->message, size), &out->answer), 0);
        assert_true(dns_answer_matches(&out->answer, span_of(question, wire.size + 4)));
        assert_true(out->answer.aa == (out->verdict == LOCAL_KNOWN));
    }
}

static struct local *local_of(const struct texts *texts)
{
    struct built built = build_texts(texts);
    assert_int_equal(built.error, 0);
    assert_int_equal(built.complaints, 0);
    return built.local;
}

/* The verdict, the rcode and the numbers of records. */
static void expect(const struct local *local, const char *name, uint16_t type, const char *what)
{
    struct said said;
    char text[64] = "unknown";
    ask(local, name, type, &said);
    if (said.verdict != LOCAL_UNKNOWN) {
        char rcode[16];
        snprintf(text, sizeof text, "%s%s %u/%u", said.verdict == LOCAL_BLOCKED ? "blocked " : "",
                 dns_rcode_text(said.answer.rcode, rcode), said.answer.count[0], said.answer.count[1]);
    }
    assert_string_equal(text, what);
}

/* The one record of the answer ends with these bytes. */
static void expect_data(const struct local *local, const char *name, uint16_t type, struct span data)
{
    struct said said;
    ask(local, name, type, &said);
    assert_int_equal(said.verdict, LOCAL_KNOWN);
    assert_int_equal(said.answer.count[0], 1);
    struct span message = said.answer.message;
    assert_memory_equal(message.data + message.size - data.size, data.data, data.size);
}

/* ---- special use ---- */

/* Shows: RFC6761, RFC6303 */
static void test_localhost(void **state)
{
    (void)state;
    struct local *local = local_of(&(struct texts){0});
    static const uint8_t ipv4[] = {127, 0, 0, 1}, ipv6[16] = {[15] = 1};
    expect_data(local, "localhost", DNS_TYPE_A, span_of(ipv4, 4));
    expect_data(local, "A.b.LocalHost.", DNS_TYPE_A, span_of(ipv4, 4));
    expect_data(local, "x.localhost", DNS_TYPE_AAAA, span_of(ipv6, 16));
    expect_data(local, "1.0.0.127.in-addr.arpa", LOCAL_TYPE_PTR, span_of("\11localhost", 11));
    expect_data(local, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
                LOCAL_TYPE_PTR, span_of("\11localhost", 11));
    expect(local, "localhost", LOCAL_TYPE_MX, "NOERROR 0/1");
    expect(local, "x.localhost", DNS_TYPE_SOA, "NOERROR 0/1");
    expect(local, "localhost", DNS_TYPE_SOA, "NOERROR 1/0");
    expect(local, "localhost", DNS_TYPE_ANY, "NOERROR 4/0");
    expect(local, "1.0.0.127.in-addr.arpa", DNS_TYPE_A, "NOERROR 0/1");
    expect(local, "0.0.127.in-addr.arpa", LOCAL_TYPE_PTR, "NOERROR 0/1");
    expect(local, "2.0.0.127.in-addr.arpa", LOCAL_TYPE_PTR, "NXDOMAIN 0/1");
    expect(local, "notlocalhost", DNS_TYPE_A, "unknown");
    local_free(local);
}

/* Shows: RFC6303, RFC6761 */
static void test_zones(void **state)
{
    (void)state;
    struct local *local = local_of(&(struct texts){0});
    struct local_name zone;
    size_t count = 0;
    for (; local_special_zone(count, &zone); count++) {
        char apex[DNS_NAME_TEXT_SIZE], below[DNS_NAME_TEXT_SIZE + 2];
        dns_name_to_text(zone.bytes, apex);
        snprintf(below, sizeof below, "x.%s", apex);
        bool is_localhost = strcmp(apex, "localhost.") == 0;
        expect(local, apex, DNS_TYPE_SOA, "NOERROR 1/0");
        expect(local, apex, DNS_TYPE_NS, "NOERROR 1/0");
        expect(local, apex, LOCAL_TYPE_MX, "NOERROR 0/1");
        expect(local, below, LOCAL_TYPE_MX, is_localhost ? "NOERROR 0/1" : "NXDOMAIN 0/1");
        bool is_arpa = strstr(apex, "arpa.") != NULL;
        expect(local, apex, LOCAL_TYPE_DS, is_arpa ? "unknown" : "NOERROR 0/1");
    }
    assert_int_equal(count, 25 + 16 + 64);
    expect(local, "ipv4only.arpa", DNS_TYPE_A, "unknown");
    expect(local, "1.0.0.11.in-addr.arpa", LOCAL_TYPE_PTR, "unknown");
    expect(local, "15.172.in-addr.arpa", LOCAL_TYPE_PTR, "unknown");
    expect(local, "32.172.in-addr.arpa", LOCAL_TYPE_PTR, "unknown");
    expect(local, "128.100.in-addr.arpa", LOCAL_TYPE_PTR, "unknown");
    expect(local, "arpa", DNS_TYPE_NS, "unknown");
    expect(local, ".", DNS_TYPE_NS, "unknown");
    expect(local, "www.example.", DNS_TYPE_A, "unknown");
    local_free(local);
}

static void test_soa_of_zone(void **state)
{
    (void)state;
    struct local *local = local_of(&(struct texts){0});
    struct said said;
    ask(local, "a.b.home.arpa", DNS_TYPE_A, &said);
    struct dns_lifetime lifetime = dns_answer_lifetime(&said.answer);
    assert_int_equal(lifetime.kind, DNS_LIFETIME_NEGATIVE);
    assert_int_equal(lifetime.seconds, 10800);
    assert_true(lifetime.covers_name);
    /* nobody.invalid. 1 3600 1200 604800 10800 */
    static const uint8_t end[] =
        "\6nobody\7invalid\0\0\0\0\1\0\0\x0e\x10\0\0\4\xb0\0\x09\x3a\x80\0\0\x2a\x30";
    size_t size = sizeof end - 1;
    assert_memory_equal(said.answer.message.data + said.answer.message.size - size, end, size);
    local_free(local);
}

/* Shows: C13 */
static void test_forward(void **state)
{
    (void)state;
    struct local *local =
        local_of(&(struct texts){.forward = {"home.arpa", "corp.internal.test.", "168.192.in-addr.arpa",
                                             "0.16.172.in-addr.arpa", "ip6.arpa"},
                                 .block = "blocked.home.arpa\n"});
    expect(local, "home.arpa", DNS_TYPE_SOA, "unknown");
    expect(local, "x.home.arpa", DNS_TYPE_A, "unknown");
    expect(local, "blocked.home.arpa", DNS_TYPE_A, "blocked NXDOMAIN 0/1");
    expect(local, "x.test", DNS_TYPE_A, "NXDOMAIN 0/1");
    expect(local, "internal.test", DNS_TYPE_A, "NXDOMAIN 0/1");
    expect(local, "a.corp.internal.test", DNS_TYPE_A, "unknown");
    expect(local, "1.1.168.192.in-addr.arpa", LOCAL_TYPE_PTR, "unknown");
    expect(local, "1.0.16.172.in-addr.arpa", LOCAL_TYPE_PTR, "unknown");
    expect(local, "1.1.16.172.in-addr.arpa", LOCAL_TYPE_PTR, "NXDOMAIN 0/1");
    expect(local, "d.f.ip6.arpa", LOCAL_TYPE_PTR, "unknown");
    expect(local, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", LOCAL_TYPE_PTR,
           "unknown");
    expect(local, "service.arpa", DNS_TYPE_A, "NOERROR 0/1");
    local_free(local);
    local = local_of(&(struct texts){.no_special_use = true});
    expect(local, "localhost", DNS_TYPE_A, "unknown");
    expect(local, "1.0.0.127.in-addr.arpa", LOCAL_TYPE_PTR, "unknown");
    local_free(local);
}

static void test_other_class(void **state)
{
    (void)state;
    struct local *local = local_of(&(struct texts){.block = "com\n"});
    uint8_t out[DNS_MESSAGE_MAX];
    size_t size;
    assert_int_equal(local_answer(local, span_of("\4test\0\0\1\0\1", 10), out, sizeof out, &size),
                     LOCAL_KNOWN);
    assert_int_equal(local_answer(local, span_of("\4test\0\0\1\0\3", 10), out, sizeof out, &size),
                     LOCAL_UNKNOWN);
    local_free(local);
}

/* ---- records and hosts ---- */

static void test_records(void **state)
{
    (void)state;
    struct local *local = local_of(
        &(struct texts){.records = {"nas.lan 60 A 192.0.2.1", "NAS.lan. A 192.0.2.2",
                                    "nas.lan IN 90 A 192.0.2.1", "nas.lan TXT \"a b\" c\\\\d \"\\\"\\065;\"",
                                    "_x._tcp.lan SRV 1 2 3 nas.lan", "lan MX 10 nas.lan."}});
    struct said said;
    ask(local, "nas.lan", DNS_TYPE_A, &said);
    assert_int_equal(said.answer.count[0], 2);
    assert_int_equal(dns_answer_lifetime(&said.answer).seconds, 60);
    expect(local, "nas.lan", DNS_TYPE_ANY, "NOERROR 3/0");
    expect_data(local, "nas.lan", DNS_TYPE_TXT, span_text("\3a b\3c\\d\3\"A;"));
    expect_data(local, "_x._tcp.lan", LOCAL_TYPE_SRV, span_of("\0\1\0\2\0\3\3nas\3lan", 15));
    expect_data(local, "lan", LOCAL_TYPE_MX, span_of("\0\12\3nas\3lan", 11));
    expect(local, "nas.lan", DNS_TYPE_AAAA, "NOERROR 0/1");
    expect(local, "x.nas.lan", DNS_TYPE_A, "unknown");
    expect(local, "_tcp.lan", DNS_TYPE_A, "unknown");
    ask(local, "nas.lan", DNS_TYPE_AAAA, &said);
    assert_int_equal(dns_answer_lifetime(&said.answer).seconds, 300);
    local_free(local);
}

static void test_hosts(void **state)
{
    (void)state;
    struct local *local = local_of(&(struct texts){
        .hosts = "\xef\xbb\xbf# mine\r\n127.0.0.1\tlocalhost\r\n192.168.1.5  nas.home.arpa nas #comment\n"
                 "192.168.1.5 other\nfd00::5 nas.home.arpa\n\n  \t\n::1 localhost\nfe80::1%lo0 localhost\n"
                 "0.0.0.0 nobody\n192.168.1.5 nas"});
    expect_data(local, "nas", DNS_TYPE_A, span_of("\300\250\1\5", 4));
    expect_data(local, "5.1.168.192.in-addr.arpa", LOCAL_TYPE_PTR, span_of("\3nas\4home\4arpa", 15));
    expect(local, "nas.home.arpa", DNS_TYPE_AAAA, "NOERROR 1/0");
    expect(local, "nas.home.arpa", DNS_TYPE_TXT, "NOERROR 0/1");
    expect(local, "x.home.arpa", DNS_TYPE_A, "NXDOMAIN 0/1");
    expect(local, "1.168.192.in-addr.arpa", LOCAL_TYPE_PTR, "NOERROR 0/1");
    expect(local, "0.d.f.ip6.arpa", LOCAL_TYPE_PTR, "NOERROR 0/1");
    expect(local, "localhost", DNS_TYPE_A, "NOERROR 1/0");
    expect(local, "0.0.0.0.in-addr.arpa", LOCAL_TYPE_PTR, "NXDOMAIN 0/1");
    assert_true(local_memory(local) > 0);
    local_free(local);
}

static void test_own_loopback_name(void **state)
{
    (void)state;
    struct local *local = local_of(&(struct texts){.hosts = "127.0.0.1 box.lan\n127.0.0.1 localhost\n"});
    expect_data(local, "1.0.0.127.in-addr.arpa", LOCAL_TYPE_PTR, span_of("\3box\3lan", 9));
    expect(local, "localhost", DNS_TYPE_AAAA, "NOERROR 0/1");
    expect(local, "x.localhost", DNS_TYPE_AAAA, "NOERROR 1/0");
    local_free(local);
}

/* An address takes 16 bytes of the 32 KiB: the first line too many is told, with its number. */
static void test_too_many_records(void **state)
{
    (void)state;
    static char hosts[200000];
    size_t size = 0;
    for (unsigned i = 0; i < 4000; i++) {
        size +=
            (size_t)snprintf(hosts + size, sizeof hosts - size, "10.0.%u.%u crowd\n", i / 250, i % 250 + 1);
    }
    struct built built = build_texts(&(struct texts){.records = {"crowd A 192.0.2.1"}, .hosts = hosts});
    assert_int_equal(built.error, ERROR_INVALID);
    assert_string_equal(built.first,
                        "hosts:2048: \"crowd.\": has more records than fit into an answer, which are "
                        "32 KiB for one name: take this one or others of the name out");
    assert_int_equal(built.complaints, LOCAL_COMPLAINTS_MAX + 1);
}

/* Records of the configuration are told by the place that they came with, and not by a file's. */
static void test_too_many_strings(void **state)
{
    (void)state;
    static char text[4100] = "big TXT";
    for (unsigned i = 0; i < 15; i++) {
        size_t size = strlen(text);
        snprintf(text + size, sizeof text - size, " %0250u", i);
    }
    struct local_plan *plan;
    struct built built = {.report.error = note};
    assert_int_equal(local_plan_open(&(struct local_options){.hash_key = {{7, 8}}}, &built.report, &plan), 0);
    for (unsigned i = 0; i < 10; i++) {
        char place[32];
        text[8] = (char)('0' + i);
        snprintf(place, sizeof place, "dnseal.yaml:%u:5", i + 1);
        assert_int_equal(local_plan_record(plan, place, text), 0);
    }
    assert_int_equal(local_plan_hosts(plan, "hosts", span_text("192.0.2.1 other\n")), 0);
    assert_int_equal(local_build(plan, &built.local), ERROR_INVALID);
    local_plan_close(plan);
    assert_int_equal(built.complaints, 2);
    assert_non_null(strstr(built.first, "dnseal.yaml:9:5: \"big.\": has more records"));
    assert_non_null(strstr(built.last, "dnseal.yaml:10:5: \"big.\": has more records"));
}

/* ---- blocks ---- */

static void test_precedence(void **state)
{
    (void)state;
    struct local *local = local_of(&(struct texts){.records = {"good.ads.example A 192.0.2.1"},
                                                   .hosts = "192.0.2.2 host.test\n",
                                                   .block = "ads.example\ntest\nlocalhost.example\n"
                                                            "0.0.0.0 alone.example localhost 0.0.0.0\n"});
    expect(local, "good.ads.example", DNS_TYPE_A, "NOERROR 1/0");
    expect(local, "good.ads.example", DNS_TYPE_AAAA, "NOERROR 0/1");
    expect(local, "bad.ads.example", DNS_TYPE_A, "blocked NXDOMAIN 0/1");
    expect(local, "ADS.example", DNS_TYPE_A, "blocked NXDOMAIN 0/1");
    expect(local, "host.test", DNS_TYPE_A, "NOERROR 1/0");
    expect(local, "x.test", DNS_TYPE_A, "blocked NXDOMAIN 0/1");
    expect(local, "alone.example", DNS_TYPE_A, "blocked NXDOMAIN 0/1");
    expect(local, "x.alone.example", DNS_TYPE_A, "unknown");
    expect(local, "loads.example", DNS_TYPE_A, "unknown");
    expect(local, "example", DNS_TYPE_A, "unknown");
    expect(local, "localhost", DNS_TYPE_A, "NOERROR 1/0");
    assert_int_equal(local_count(local).blocked, 4);
    local_free(local);
}

static void test_block_answers(void **state)
{
    (void)state;
    static const uint8_t zero[16] = {0};
    struct local *local = local_of(&(struct texts){.block = "ads.example", .block_answer = LOCAL_BLOCK_NULL});
    struct said said;
    expect(local, "x.ads.example", DNS_TYPE_A, "blocked NOERROR 1/0");
    expect(local, "x.ads.example", DNS_TYPE_ANY, "blocked NOERROR 2/0");
    expect(local, "x.ads.example", LOCAL_TYPE_MX, "blocked NOERROR 0/1");
    ask(local, "x.ads.example", DNS_TYPE_AAAA, &said);
    assert_memory_equal(said.answer.message.data + said.answer.message.size - 16, zero, 16);
    local_free(local);
    local = local_of(&(struct texts){.block = "ads.example", .block_answer = LOCAL_BLOCK_REFUSED});
    expect(local, "x.ads.example", DNS_TYPE_A, "blocked REFUSED 0/0");
    local_free(local);
}

/* ---- the table against a model ---- */

enum { MODEL_NAMES = 3000, MODEL_ROUNDS = 20000 };

struct model {
    unsigned count;
    char names[MODEL_NAMES][32];
    bool below[MODEL_NAMES];
};

static void random_name(struct random *random, char out[32])
{
    size_t size = 0;
    unsigned labels = 1 + random_below(random, 4);
    for (unsigned i = 0; i < labels; i++) {
        size += (size_t)snprintf(out + size, 32 - size, "%s%c%u", i == 0 ? "" : ".",
                                 'a' + (char)random_below(random, 3), random_below(random, 6));
    }
}

static bool model_blocks(const struct model *model, const char *name)
{
    for (unsigned i = 0; i < model->count; i++) {
        size_t size = strlen(model->names[i]), whole = strlen(name);
        bool is_end = whole >= size && strcmp(name + whole - size, model->names[i]) == 0;
        bool is_below = whole > size && name[whole - size - 1] == '.';
        if (is_end && (whole == size || (is_below && model->below[i]))) {
            return true;
        }
    }
    return false;
}

static void test_against_model(void **state)
{
    (void)state;
    static struct model model;
    static char list[MODEL_NAMES * 48];
    struct random random;
    random_init_repeatable(&random, 5);
    for (unsigned sizes[] = {1, 13, 300, MODEL_NAMES}, i = 0; i < 4; i++) {
        size_t size = 0;
        for (model.count = 0; model.count < sizes[i]; model.count++) {
            random_name(&random, model.names[model.count]);
            model.below[model.count] = random_below(&random, 8) == 0;
            size += (size_t)snprintf(list + size, sizeof list - size, "%s%s\n",
                                     model.below[model.count] ? "" : "0.0.0.0 ", model.names[model.count]);
        }
        struct local *local = local_of(&(struct texts){.block = list});
        for (unsigned round = 0; round < MODEL_ROUNDS / sizes[i] + 2000; round++) {
            char name[32];
            struct said said;
            random_name(&random, name);
            ask(local, name, DNS_TYPE_A, &said);
            assert_int_equal(said.verdict == LOCAL_BLOCKED, model_blocks(&model, name));
        }
        local_free(local);
    }
}

/* ---- routes ---- */

static unsigned group_of(const struct local *local, const char *name, uint16_t type)
{
    struct local_name wire;
    uint8_t question[DNS_QUESTION_MAX];
    unsigned group = 99;
    assert_null(local_name_of_zone(span_text(name), &wire));
    memcpy(question, wire.bytes, wire.size);
    bytes_put_u16(question + wire.size, type);
    bytes_put_u16(question + wire.size + 2, DNS_CLASS_IN);
    local_route(local, span_of(question, wire.size + 4), &group);
    return group;
}

static struct local *local_of_routes(const char *const *names, size_t count, struct built *built)
{
    struct local_plan *plan;
    struct local *local = NULL;
    *built = (struct built){.report.error = note};
    struct local_options options = {.hash_key = {{7, 8}}, .special_use = true};
    assert_int_equal(local_plan_open(&options, &built->report, &plan), 0);
    for (size_t i = 0; i < count; i++) {
        built->error = worse(built->error, local_plan_route(plan, "routes", names[i], (uint8_t)i));
    }
    built->error = worse(built->error, local_build(plan, &local));
    local_plan_close(plan);
    return local;
}

static void test_routes(void **state)
{
    (void)state;
    static const char *const names[] = {"Consul.", "a.consul", "0.10.in-addr.arpa"};
    struct built built;
    struct local *local = local_of_routes(names, 3, &built);
    assert_int_equal(built.error, 0);
    assert_int_equal(group_of(local, "consul", DNS_TYPE_A), 0);
    assert_int_equal(group_of(local, "x.CONSUL", DNS_TYPE_A), 0);
    assert_int_equal(group_of(local, "a.consul", DNS_TYPE_A), 1);
    assert_int_equal(group_of(local, "z.y.x.a.consul", DNS_TYPE_A), 1);
    assert_int_equal(group_of(local, "aconsul", DNS_TYPE_A), 99);
    assert_int_equal(group_of(local, "consul.x", DNS_TYPE_A), 99);
    assert_int_equal(group_of(local, ".", DNS_TYPE_A), 99);
    assert_int_equal(group_of(local, "consul", LOCAL_TYPE_DS), 99);
    assert_int_equal(group_of(local, "a.consul", LOCAL_TYPE_DS), 0);
    assert_int_equal(group_of(local, "b.a.consul", LOCAL_TYPE_DS), 1);
    struct said said;
    ask(local, "1.0.0.10.in-addr.arpa", DNS_TYPE_A, &said);
    assert_int_equal(said.verdict, LOCAL_UNKNOWN);
    ask(local, "1.0.1.10.in-addr.arpa", DNS_TYPE_A, &said);
    assert_int_equal(said.verdict, LOCAL_KNOWN);
    local_free(local);
}

static void test_routes_that_cannot_be(void **state)
{
    (void)state;
    static const char *const twice[] = {"consul", "x.consul", "CONSUL."};
    struct built built;
    assert_null(local_of_routes(twice, 3, &built));
    assert_int_equal(built.error, ERROR_INVALID);
    assert_string_equal(built.first, "routes: \"consul.\": stands here twice");
    assert_non_null(local_route_refusal("a..b"));
    assert_non_null(local_route_refusal("."));
    assert_null(local_route_refusal("_tcp.x\\032y"));
}

int main(void)
{
    static const struct CMUnitTest own[] = {
        cmocka_unit_test(test_localhost),
        cmocka_unit_test(test_zones),
        cmocka_unit_test(test_soa_of_zone),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_other_class),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_own_loopback_name),
        cmocka_unit_test(test_too_many_records),
        cmocka_unit_test(test_too_many_strings),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_block_answers),
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_routes_that_cannot_be),
    };
    struct CMUnitTest tests[64];
    size_t count = sizeof own / sizeof own[0];
    memcpy(tests, own, sizeof own);
    memcpy(tests + count, local_text_tests, local_text_count * sizeof tests[0]);
    return _cmocka_run_group_tests("local", tests, count + local_text_count, NULL, NULL);
}
