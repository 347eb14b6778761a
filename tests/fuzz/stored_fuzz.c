/*
 * Stored answers. Bytes that nobody vouches for make an answer within the client's limit, or none, and the
 * same answer each time. An answer that is accepted says the same after it was stored as before, but for AA
 * and for TTLs, which are never higher. The first eight bytes of an input are the client (flags, limit in two
 * bytes, extra options) and the ageing (age in two bytes, least, most); the rest is stored bytes or, with the
 * highest flag, a message.
 */
#include <string.h>

#include "base/error.h"

#include "dns/dns.h"

#include "../support/dns_records.h"
#include "target.h"

enum { CLIENT_SIZE = 8, QUESTION_SIZE = 17, IS_MESSAGE = 0x80, HAS_AA = 4, RCODE_MOST = 15 };

static struct dns_view client_view(const uint8_t *client, struct span question)
{
    return (struct dns_view){
        .id = 0x1234,
        .question = question,
        .rd = client[0] & 1,
        .cd = client[0] & 2,
        .show_ad = client[0] & 4,
        .has_edns = client[0] & 8,
        .dnssec_ok = client[0] & 16,
        .limit = bytes_get_u16(client + 1),
        .keepalive = client[3] & 1 ? 100 : -1,
        .client_subnet = client[3] & 2 ? span_of("\0\1\0\0", 4) : (struct span){0},
        .extended = {.code = DNS_EXTENDED_NONE},
    };
}

static struct dns_stored aged(const uint8_t *client, struct span bytes)
{
    return (struct dns_stored){.bytes = bytes,
                               .age = bytes_get_u16(client + 4),
                               .least = client[6],
                               .most = (uint32_t)client[7] << 8,
                               .stale = client[3] & 4 ? 30 : 0};
}

static void check_bytes(const uint8_t *client, struct span bytes)
{
    static uint8_t first[DNS_MESSAGE_MAX], second[DNS_MESSAGE_MAX];
    struct dns_view view = client_view(client, span_of("\3wWw\7example\0\0\1\0\1", QUESTION_SIZE));
    view.extended.code = client[3] & 8 ? 3 : DNS_EXTENDED_NONE;
    struct dns_stored stored = aged(client, bytes);
    size_t first_size, second_size;
    int error = dns_stored_answer(&stored, &view, first, sizeof first, &first_size);
    if (error < 0) {
        must(error == ERROR_MALFORMED || (error == ERROR_SPACE && bytes.size > sizeof first - 1024));
        return;
    }
    size_t own = DNS_HEADER_SIZE + QUESTION_SIZE + DNS_ANSWER_GROWTH + 2 * DNS_EXTRA_TEXT_MAX;
    must(first_size <= (view.limit > own ? view.limit : own));
    must(bytes_get_u16(first) == view.id && (first[2] & HAS_AA) == 0);
    must(memcmp(first + DNS_HEADER_SIZE, view.question.data, QUESTION_SIZE) == 0);
    must((first[3] & RCODE_MOST) == dns_stored_rcode(bytes));
    must(dns_stored_answer(&stored, &view, second, sizeof second, &second_size) == 0);
    must(first_size == second_size && memcmp(first, second, first_size) == 0);
}

/* The TTLs of one message are at most as high as those of the other, and are made the same. */
static void check_times(uint8_t *lower, struct span upper)
{
    static struct plain_record ours, theirs;
    struct plain_reader ours_reader, theirs_reader;
    plain_begin(&ours_reader, span_of(lower, upper.size));
    plain_begin(&theirs_reader, upper);
    while (plain_next_but_option(&ours_reader, &ours)) {
        must(plain_next_but_option(&theirs_reader, &theirs) && ours.ttl <= theirs.ttl);
        memcpy(lower + ours.ttl_at, upper.data + theirs.ttl_at, 4);
    }
    must(!plain_next_but_option(&theirs_reader, &theirs));
}

static void check_answer(const uint8_t *client, struct dns_answer *answer)
{
    static uint8_t kept[DNS_MESSAGE_MAX], told[DNS_MESSAGE_MAX], written[DNS_MESSAGE_MAX];
    struct dns_lifetime lifetime = dns_answer_lifetime(answer);
    size_t kept_size, told_size, written_size;
    int error = dns_stored_write(answer, kept, answer->message.size, &kept_size);
    must(error == (answer->tc || answer->is_signed || answer->rcode > RCODE_MOST ? ERROR_INVALID : 0));
    must(error == 0 || lifetime.kind == DNS_LIFETIME_NONE);
    if (error < 0 || answer->question.size == 0) {
        return;
    }
    must(kept_size <= answer->message.size);
    struct dns_view view = client_view(client, answer->question);
    struct dns_stored stored = aged(client, span_of(kept, kept_size));
    stored.least = stored.stale = 0;
    must(dns_stored_answer(&stored, &view, told, sizeof told, &told_size) == 0);
    answer->aa = false;
    view.extended = answer->extended;
    must(dns_answer_write(answer, &view, written, sizeof written, &written_size) == 0);
    must(told_size == written_size);
    check_times(told, span_of(written, written_size));
    must(memcmp(told, written, told_size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < CLIENT_SIZE || size - CLIENT_SIZE > DNS_MESSAGE_MAX) {
        return 0;
    }
    struct span rest = span_of(data + CLIENT_SIZE, size - CLIENT_SIZE);
    struct dns_answer answer;
    if (!(data[0] & IS_MESSAGE)) {
        check_bytes(data, rest);
    } else if (dns_answer_read(rest, &answer) == 0) {
        check_answer(data, &answer);
    }
    return 0;
}
