/*
 * Queries: what is accepted has a question that can be asked upstream, and what we ask reads as the same
 * question; the answer to a query that is not accepted carries its question and can be read.
 */
#include <string.h>

#include "base/error.h"

#include "dns/dns.h"

#include "../support/dns_records.h"
#include "target.h"

static void check_question(const struct dns_query *query)
{
    size_t size;
    struct span question = query->question;
    must(dns_name_size(question, &size) == 0 && size + 4 == question.size);
    must(bytes_get_u16(question.data + size) == query->type &&
         bytes_get_u16(question.data + size + 2) == query->class);
    char text[DNS_NAME_TEXT_SIZE];
    must(dns_name_to_text(question.data, text) == strlen(text));
}

static void check_upstream(const struct dns_query *query)
{
    struct dns_question_form form = {.question = query->question,
                                     .rd = query->rd,
                                     .cd = query->cd,
                                     .dnssec_ok = query->dnssec_ok,
                                     .client_subnet = query->client_subnet,
                                     .padding_block = 128};
    uint8_t out[DNS_QUERY_MAX];
    size_t size;
    must(dns_query_write(&form, out, sizeof out, &size) == 0 && size % 128 == 0);
    struct dns_query again;
    must(dns_query_read(span_of(out, size), &again) == 0 && again.rcode == 0);
    must(again.question.size == query->question.size && again.has_edns && again.padded && again.ad);
    must(dns_name_equal(again.question.data, query->question.data, query->question.size - 4));
    must(again.type == query->type && again.class == query->class && again.udp_size == DNS_UDP_MOST);
    must(again.rd == query->rd && again.cd == query->cd && again.dnssec_ok == query->dnssec_ok);
    must(span_equal(again.client_subnet, query->client_subnet));
}

static void check_reply(const struct dns_query *query, unsigned rcode)
{
    struct dns_view view = {.id = query->id,
                            .question = query->question,
                            .rd = query->rd,
                            .cd = query->cd,
                            .has_edns = query->has_edns,
                            .dnssec_ok = query->dnssec_ok,
                            .limit = query->udp_size,
                            .keepalive = query->keepalive ? 100 : -1,
                            .client_subnet = query->client_subnet,
                            .extended = {.code = query->extended}};
    uint8_t out[DNS_UDP_LEAST];
    size_t size;
    must(dns_error_write(&view, rcode, out, sizeof out, &size) == 0);
    struct dns_answer answer;
    must(dns_answer_read(span_of(out, size), &answer) == 0);
    must(answer.id == query->id && answer.rcode == rcode && span_equal(answer.question, query->question));
    must((answer.option_record != 0) == query->has_edns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_query query;
    int error = dns_query_read(span_of(data, size), &query);
    if (error < 0) {
        must(size < DNS_HEADER_SIZE ? error == ERROR_SHORT : error == ERROR_INVALID && (data[2] & 0x80));
        return 0;
    }
    must(query.has_question || query.rcode != 0);
    must(query.udp_size >= DNS_UDP_LEAST && query.client_subnet.size <= DNS_OPTION_CLIENT_SUBNET_MAX);
    if (query.has_question) {
        check_question(&query);
    }
    if (query.rcode == 0) {
        check_upstream(&query);
        static struct plain_record record;
        struct plain_reader reader;
        plain_begin(&reader, query.message);
        while (plain_next(&reader, &record)) {}
    }
    check_reply(&query, query.rcode);
    return 0;
}
