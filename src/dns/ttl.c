/*
 * How long an answer may be kept. Asked once for every answer of a server; what it says decides whether
 * another client may be told the same without asking again.
 */
#include "dns/wire.h"

enum {
    SOA_MINIMUM_SIZE = 4,
    SUBNET_SCOPE_AT = 3,
    CLASS_NONE = 254,
    CLASS_ANY = 255,
};

static bool is_for_data(const struct dns_asked *question)
{
    return dns_type_is_data(question->type) && question->class != CLASS_NONE && question->class != CLASS_ANY;
}

/* The SOA of a zone that the name is in. */
static bool is_denial(const struct dns_pass *pass, const struct dns_record *record,
                      const struct dns_asked *question)
{
    return pass->section == DNS_SECTION_AUTHORITY && record->type == DNS_TYPE_SOA &&
           record->class == question->class &&
           dns_name_is_within(pass->answer->message.data, question->name, record->start);
}

uint32_t dns_soa_negative_ttl(const struct dns_record *soa)
{
    uint32_t minimum = dns_ttl(bytes_get_u32(soa->data.data + soa->data.size - SOA_MINIMUM_SIZE));
    uint32_t ttl = dns_ttl(soa->ttl);
    return minimum < ttl ? minimum : ttl;
}

/* The lowest TTL of all records; 0 for a negative answer that no SOA vouches for. */
static uint32_t lowest_ttl(const struct dns_answer *answer, const struct dns_asked *question,
                           bool is_negative)
{
    uint32_t lowest = UINT32_MAX;
    bool is_denied = false;
    struct dns_pass pass = dns_pass_of(answer);
    struct dns_record record;
    while (dns_pass_next(&pass, &record)) {
        uint32_t ttl = dns_ttl(record.ttl);
        if (is_negative && is_denial(&pass, &record, question)) {
            is_denied = true;
            ttl = dns_soa_negative_ttl(&record);
        }
        lowest = ttl < lowest ? ttl : lowest;
    }
    return is_negative && !is_denied ? 0 : lowest;
}

static bool is_for_all(const struct dns_answer *answer)
{
    bool is_tailored = answer->client_subnet.size > 0 && answer->client_subnet.data[SUBNET_SCOPE_AT] > 0;
    return !answer->tc && !answer->is_signed && !is_tailored;
}

struct dns_lifetime dns_answer_lifetime(const struct dns_answer *answer)
{
    struct dns_lifetime none = {.kind = DNS_LIFETIME_NONE};
    bool is_denial = answer->rcode == DNS_RCODE_NXDOMAIN, has_question = answer->question.size > 0;
    struct dns_asked question = has_question ? dns_asked_of(answer) : (struct dns_asked){0};
    if (!is_for_all(answer) || !is_for_data(&question)) {
        return none;
    }
    if (answer->rcode == DNS_RCODE_SERVFAIL) {
        return (struct dns_lifetime){.kind = DNS_LIFETIME_FAILURE};
    }
    if (!has_question || (answer->rcode != DNS_RCODE_NOERROR && !is_denial)) {
        return none;
    }
    bool is_negative = !dns_find_asked(answer, &question) || is_denial;
    uint32_t seconds = lowest_ttl(answer, &question, is_negative);
    if (seconds == 0) {
        return none;
    }
    return (struct dns_lifetime){
        .kind = is_negative ? DNS_LIFETIME_NEGATIVE : DNS_LIFETIME_POSITIVE,
        .seconds = seconds,
        .covers_name = is_denial && answer->count[DNS_SECTION_ANSWER] == 0,
    };
}

void dns_answer_cap_ttls(uint8_t *message, size_t size, uint32_t most)
{
    bool has_question = dns_section_count(message, -1) > 0;
    size_t at = has_question ? dns_name_end(message, DNS_HEADER_SIZE) + 4 : DNS_HEADER_SIZE;
    while (at < size) {
        struct dns_record record = dns_record_at(message, at);
        uint32_t ttl = dns_ttl(record.ttl);
        if (record.type != DNS_TYPE_OPT && (ttl > most || ttl != record.ttl)) {
            bytes_put_u32(message + at + record.owner_size + DNS_TTL_AT, ttl < most ? ttl : most);
        }
        at += record.size;
    }
}
