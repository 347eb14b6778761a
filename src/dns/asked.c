/*
 * What an answer says to its question: the records that were asked for, behind aliases or not. For those who
 * judge how long it may be kept, and for whoever wants the data itself.
 */
#include "dns/wire.h"

enum { SPARE_STEPS = 256 }; /* for an answer section whose aliases are not in order */

struct dns_pass dns_pass_of(const struct dns_answer *answer)
{
    return (struct dns_pass){.answer = answer, .at = answer->records, .left = answer->count[0]};
}

bool dns_pass_next(struct dns_pass *pass, struct dns_record *record)
{
    const struct dns_answer *answer = pass->answer;
    while (pass->left == 0) {
        if (pass->section == DNS_SECTION_ADDITIONAL) {
            return false;
        }
        pass->left = answer->count[++pass->section];
    }
    pass->left--;
    if (pass->at == answer->option_record) {
        pass->at += answer->option_record_size;
    }
    *record = dns_record_at(answer->message.data, pass->at);
    pass->at += record->size;
    return true;
}

struct dns_asked dns_asked_of(const struct dns_answer *answer)
{
    const uint8_t *behind = answer->question.data + answer->question.size;
    return (struct dns_asked){
        .name = DNS_HEADER_SIZE,
        .type = bytes_get_u16(behind - 4),
        .class = bytes_get_u16(behind - 2),
    };
}

/* Servers mostly write a chain of aliases from its beginning, and then its end is found in one round; more
 * are taken only as far as the work stays linear. */
bool dns_find_asked(const struct dns_answer *answer, struct dns_asked *question)
{
    const uint8_t *message = answer->message.data;
    unsigned steps = (unsigned)answer->count[DNS_SECTION_ANSWER] + SPARE_STEPS;
    for (bool is_further = true; is_further;) {
        is_further = false;
        struct dns_pass pass = dns_pass_of(answer);
        struct dns_record record;
        while (steps > 0 && dns_pass_next(&pass, &record) && pass.section == DNS_SECTION_ANSWER) {
            steps--;
            if (record.class != question->class ||
                !dns_names_are_same(message, record.start, question->name)) {
                continue;
            }
            if (record.type == question->type || question->type == DNS_TYPE_ANY) {
                return true;
            }
            if (record.type == DNS_TYPE_CNAME) {
                question->name = (size_t)(record.data.data - message);
                is_further = true;
            }
        }
    }
    return false;
}

size_t dns_answer_data(const struct dns_answer *answer, struct span *out, size_t most)
{
    size_t count = 0;
    if (answer->question.size == 0) {
        return 0;
    }
    struct dns_asked asked = dns_asked_of(answer);
    if (!dns_find_asked(answer, &asked)) {
        return 0;
    }
    struct dns_pass pass = dns_pass_of(answer);
    struct dns_record record;
    while (count < most && dns_pass_next(&pass, &record) && pass.section == DNS_SECTION_ANSWER) {
        if (record.type == asked.type && record.class == asked.class &&
            dns_names_are_same(answer->message.data, record.start, asked.name)) {
            out[count++] = record.data;
        }
    }
    return count;
}
