/*
 * Answers: one that is accepted and rewritten for a client says the same as before, as far as the client's
 * limit goes; it is never longer than that limit, and to rewrite it once more changes nothing. The first four
 * bytes of an input are the client (flags, limit in two bytes, extra options), the rest is the message.
 */
#include <string.h>

#include "base/error.h"

#include "dns/dns.h"

#include "../support/dns_records.h"
#include "target.h"

enum { CLIENT_SIZE = 4, LONGEST = DNS_MESSAGE_MAX + DNS_ANSWER_GROWTH };

static struct dns_view client_view(const uint8_t *client, const struct dns_answer *answer, uint8_t *question)
{
    static const uint8_t root[5] = {0, 0, 1, 0, 1};
    struct span asked = answer->question.size > 0 ? answer->question : span_of(root, sizeof root);
    memcpy(question, asked.data, asked.size);
    dns_name_to_lower(question, asked.size - 4);
    return (struct dns_view){
        .id = 0x1234,
        .question = span_of(question, asked.size),
        .rd = client[0] & 1,
        .cd = client[0] & 2,
        .show_ad = client[0] & 4,
        .has_edns = client[0] & 8,
        .dnssec_ok = client[0] & 16,
        .limit = bytes_get_u16(client + 1),
        .keepalive = client[3] & 1 ? 100 : -1,
        .client_subnet = client[3] & 2 ? answer->client_subnet : (struct span){0},
        .extended = client[3] & 4 ? answer->extended : (struct dns_extended_error){.code = DNS_EXTENDED_NONE},
    };
}

static bool is_same_set(const struct plain_record *a, const struct plain_record *b)
{
    return a->section == b->section && a->type == b->type && a->class == b->class &&
           a->owner_size == b->owner_size && dns_name_equal(a->owner, b->owner, a->owner_size);
}

/* What `part` says is the beginning of what `whole` says, and ends with a whole RRset. */
static void check_records(struct span whole, struct span part)
{
    static struct plain_record expected, written;
    struct plain_reader all, some;
    plain_begin(&all, whole);
    plain_begin(&some, part);
    bool is_any = false;
    while (plain_next_but_option(&some, &written)) {
        must(plain_next_but_option(&all, &expected) && plain_equal(&expected, &written));
        is_any = true;
    }
    must(!is_any || !plain_next_but_option(&all, &expected) || !is_same_set(&expected, &written));
}

static void check_header(const struct dns_answer *before, const struct dns_answer *after,
                         const struct dns_view *view)
{
    must(after->id == view->id && after->rd == view->rd && after->cd == view->cd && after->ra);
    must(after->aa == before->aa && after->ad == (before->ad && view->show_ad));
    must((after->option_record != 0) == view->has_edns);
    must(view->has_edns || before->rcode <= 15 ? after->rcode == before->rcode
                                               : after->rcode == DNS_RCODE_SERVFAIL);
    must(span_equal(after->question, view->question));
    bool is_cut = after->count[0] < before->count[0] || after->count[1] < before->count[1];
    must(after->tc == (before->tc || is_cut));
}

static void check_plain(const struct dns_answer *answer, const struct dns_view *view)
{
    static uint8_t first[LONGEST], second[LONGEST];
    size_t first_size, second_size, least;
    must(dns_error_write(view, 0, first, sizeof first, &least) == 0);
    must(dns_answer_write(answer, view, first, answer->message.size + DNS_ANSWER_GROWTH + 256, &first_size) ==
         0);
    must(first_size <= (view->limit > least ? view->limit : least) && (first[3] & 0x40) == 0);
    struct dns_answer again;
    must(dns_answer_read(span_of(first, first_size), &again) == 0);
    check_header(answer, &again, view);
    check_records(answer->message, span_of(first, first_size));
    must(again.count[0] + again.count[1] + again.count[2] == 0 || again.question.size > 0);
    must(dns_answer_write(&again, view, second, sizeof second, &second_size) == 0);
    must(first_size == second_size && memcmp(first, second, first_size) == 0);
}

static void check_signed(const struct dns_answer *answer, const struct dns_view *view)
{
    static uint8_t out[LONGEST];
    size_t size;
    must(dns_answer_write(answer, view, out, sizeof out, &size) == 0);
    if (answer->message.size <= view->limit) {
        must(size == answer->message.size && bytes_get_u16(out) == view->id);
        must(memcmp(out + 2, answer->message.data + 2, size - 2) == 0);
    } else {
        must(size == DNS_HEADER_SIZE + view->question.size && (out[2] & 2) != 0);
    }
}

static void check_data(const struct dns_answer *answer)
{
    struct span data[4];
    size_t count = dns_answer_data(answer, data, sizeof data / sizeof data[0]);
    must(count <= answer->count[0]);
    for (size_t i = 0; i < count; i++) {
        must(data[i].data > answer->message.data && data[i].size < answer->message.size);
        must(data[i].data + data[i].size <= answer->message.data + answer->message.size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_answer answer;
    if (size < CLIENT_SIZE || size - CLIENT_SIZE > DNS_MESSAGE_MAX ||
        dns_answer_read(span_of(data + CLIENT_SIZE, size - CLIENT_SIZE), &answer) < 0) {
        return 0;
    }
    check_data(&answer);
    uint8_t question[DNS_QUESTION_MAX];
    struct dns_view view = client_view(data, &answer, question);
    if (!dns_answer_matches(&answer, view.question)) {
        must(answer.question.size == 0);
        return 0;
    }
    if (answer.is_signed) {
        check_signed(&answer, &view);
    } else {
        check_plain(&answer, &view);
    }
    return 0;
}
