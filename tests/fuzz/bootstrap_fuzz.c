/*
 * Answers that tell a server's addresses. The first byte of an input is the type that was asked for (even:
 * A), the rest is the message. What is taken for an address is the data of a record of that type in the
 * answer section, can be asked at the port that was given, and comes with no reason why there is none.
 */
#include <string.h>

#include "base/error.h"

#include "../support/dns_records.h"
#include "bootstrap/bootstrap.h"
#include "target.h"

enum { PORT = 853 };

static bool is_in_message(struct span message, uint16_t type, const struct address *address)
{
    static struct plain_record record;
    struct plain_reader reader;
    size_t size = type == DNS_TYPE_A ? 4 : 16;
    plain_begin(&reader, message);
    while (plain_next(&reader, &record)) {
        if (record.section == 0 && record.type == type && record.class == DNS_CLASS_IN &&
            record.data_size == size && memcmp(record.data, address->bytes, size) == 0) {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dns_answer answer;
    struct address_list list;
    struct span message = span_of(data, size);
    if (size > DNS_MESSAGE_MAX || dns_answer_read(message, &answer) != 0 || answer.question.size == 0) {
        return 0;
    }
    uint16_t type = bytes_get_u16(answer.question.data + answer.question.size - 4);
    if ((type != DNS_TYPE_A && type != DNS_TYPE_AAAA) ||
        bytes_get_u16(answer.question.data + answer.question.size - 2) != DNS_CLASS_IN) {
        return 0;
    }
    const char *reason = bootstrap_answer_read(&answer, type, PORT, &list);
    must((reason == NULL) == (list.count > 0));
    for (size_t i = 0; i < list.count; i++) {
        const struct address *address = &list.items[i];
        must(address->port == PORT);
        must(!address_is_any(address) && !address_is_multicast(address) && !address_is_unscoped(address));
        must(is_in_message(message, type, address));
    }
    return 0;
}
