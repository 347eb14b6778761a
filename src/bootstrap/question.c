/*
 * A question for the addresses of a host, and what an answer says. Called by name.c, and by whoever looks
 * once and tells a person.
 */
#include <assert.h>
#include <string.h>

#include "base/error.h"

#include "bootstrap/bootstrap.h"

void bootstrap_question_write(struct upstream_ask *ask, const struct upstream_pool *pool,
                              const struct bootstrap_form *form, uint8_t room[DNS_QUERY_MAX])
{
    uint8_t bytes[DNS_QUESTION_MAX];
    size_t size;
    int error = dns_name_from_text(span_text(form->host), bytes, &size);
    assert(error == 0);
    dns_name_to_lower(bytes, size);
    bytes_put_u16(bytes + size, form->type);
    bytes_put_u16(bytes + size + 2, DNS_CLASS_IN);
    struct upstream_form fits = upstream_pool_form(pool);
    struct dns_question_form question = {
        .question = span_of(bytes, size + 4),
        .rd = true,
        .keepalive = fits.keepalive,
        .padding_block = fits.pads ? form->padding_block : 0,
    };
    ask->message = room;
    error = dns_query_write(&question, room, DNS_QUERY_MAX, &ask->message_size);
    assert(error == 0);
    ask->question = span_of(room + DNS_HEADER_SIZE, size + 4);
    ask->is_signed = false;
    ask->id = 0;
}

/* To some addresses no connection makes sense, whoever says so. */
static void read_data(const struct dns_answer *answer, struct address *form, struct address_list *out)
{
    struct span data[ADDRESS_LIST_MAX];
    size_t size = form->family == AF_INET ? 4 : sizeof form->bytes;
    size_t count = dns_answer_data(answer, data, ADDRESS_LIST_MAX);
    for (size_t i = 0; i < count; i++) {
        struct address address = *form;
        if (data[i].size != size) {
            continue;
        }
        memcpy(address.bytes, data[i].data, size);
        if (!address_is_any(&address) && !address_is_multicast(&address) && !address_is_unscoped(&address)) {
            address_list_add(out, &address);
        }
    }
}

const char *bootstrap_answer_read(const struct dns_answer *answer, uint16_t type, uint16_t port,
                                  struct address_list *out)
{
    struct address form = {.family = type == DNS_TYPE_A ? AF_INET : AF_INET6, .port = port};
    out->count = 0;
    if (answer->rcode == DNS_RCODE_NXDOMAIN) {
        return "denied";
    }
    if (answer->rcode != DNS_RCODE_NOERROR || answer->tc) {
        return "failure";
    }
    read_data(answer, &form, out);
    return out->count == 0 ? "no_address" : NULL;
}
