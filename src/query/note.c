/*
 * The query log: one line when a question is read and one when its answer leaves, joined by an id. What it
 * may know of the client is the operator's choice; off is the default.
 */
#include "query/internal.h"

/* An anonymous client keeps its network and loses its host (24 and 48 bits). */
enum { ANONYMOUS_BITS_IPV4 = 24, ANONYMOUS_BITS_IPV6 = 48 };

static void note_client(const struct query_passage *passage)
{
    struct log *log = passage->hall->around.log;
    const struct address *client = &passage->peer->remote;
    if (passage->hall->options.log_queries == QUERY_LOG_FULL) {
        log_address(log, "client", client, true);
        return;
    }
    struct address_prefix prefix =
        address_prefix_of(client, client->family == AF_INET ? ANONYMOUS_BITS_IPV4 : ANONYMOUS_BITS_IPV6);
    log_prefix(log, "client", &prefix);
}

void query_note_question(const struct query_passage *passage)
{
    struct query_hall *hall = passage->hall;
    if (hall->options.log_queries == QUERY_LOG_OFF || !log_begin(hall->around.log, LOG_INFO, "query")) {
        return;
    }
    log_number(hall->around.log, "id", (int64_t)passage->id);
    note_client(passage);
    log_text(hall->around.log, "transport", passage->door->transport == QUERY_UDP ? "udp" : "tcp");
    if (passage->query.has_question) {
        char name[DNS_NAME_TEXT_SIZE], type[16];
        dns_name_to_text(passage->query.question.data, name);
        log_text(hall->around.log, "name", name);
        log_text(hall->around.log, "type", dns_type_text(passage->query.type, type));
    }
    log_end(hall->around.log, hall->around.wall());
}

void query_note_answer(const struct query_hall *hall, const struct query_answer_note *note)
{
    struct log *log = hall->around.log;
    if (hall->options.log_queries == QUERY_LOG_OFF || !log_begin(log, LOG_INFO, "answer")) {
        return;
    }
    char rcode[16];
    log_number(log, "id", (int64_t)note->id);
    log_text(log, "rcode", dns_rcode_text(note->rcode, rcode));
    log_text(log, "source", note->source);
    if (note->upstream != NULL) {
        log_text(log, "upstream", note->upstream);
    }
    log_duration(log, "duration_ms", note->duration);
    log_number(log, "size", (int64_t)note->size);
    log_end(log, hall->around.wall());
}
