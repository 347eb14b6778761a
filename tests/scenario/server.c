/* The servers of a play: they hear questions, answer them well or badly, and treat connections as they like.
 */
#include "world.h"

static struct server *find_server(struct world *world, const char *name)
{
    for (size_t i = 0; i < fake.server_count; i++) {
        if (strcmp(world->server[i].name, name) == 0) {
            return &world->server[i];
        }
    }
    play_fails("there is no server \"%s\"", name);
}

/* Letter by letter, but over UDP, where the letter case is drawn by chance. */
static bool is_same(const struct letter *letter, const uint8_t *a, const uint8_t *b, size_t size)
{
    return letter->socket != NULL ? dns_name_equal(a, b, size) : memcmp(a, b, size) == 0;
}

static bool is_about(const struct letter *letter, const struct asked *asked)
{
    struct span question = message_question(span_of(letter->bytes, letter->size));
    return asked->size == 0 ||
           (question.size >= asked->size && is_same(letter, question.data, asked->question, asked->size));
}

static bool is_closed(const struct letter *letter)
{
    return letter->socket != NULL ? letter->socket->closed : letter->connection->closed;
}

/* What was heard on a connection that is closed since can be told of, but not answered. */
static struct letter *find_letter(struct list *letters, const struct asked *asked, bool to_answer)
{
    for (struct list *node = letters->next; node != letters; node = node->next) {
        struct letter *letter = container_of(node, struct letter, node);
        if (!(to_answer && is_closed(letter)) && is_about(letter, asked)) {
            return letter;
        }
    }
    return NULL;
}

/* ---- hearing ---- */

static void expect(const char *what, unsigned long expected, unsigned long found)
{
    if (expected != found) {
        play_fails("expected %s %lu, heard %lu", what, expected, found);
    }
}

/* Whether its name has letters of both cases. */
static bool is_mixed(const struct dns_query *query)
{
    uint8_t lower[DNS_QUESTION_MAX], upper[DNS_QUESTION_MAX];
    size_t size = query->question.size - 4;
    memcpy(lower, query->question.data, size);
    dns_name_to_lower(lower, size);
    for (size_t i = 0; i < size; i++) {
        upper[i] = lower[i] >= 'a' && lower[i] <= 'z' ? lower[i] - 0x20 : lower[i];
    }
    return memcmp(lower, query->question.data, size) != 0 && memcmp(upper, query->question.data, size) != 0;
}

static void check_query_word(struct words *words, const struct letter *letter, const struct dns_query *query)
{
    struct span payload;
    bool no = words_take(words, "no");
    if (words_take(words, "do")) {
        expect("do", !no, query->dnssec_ok);
    } else if (words_take(words, "ad")) {
        expect("ad", !no, query->ad);
    } else if (words_take(words, "cd")) {
        expect("cd", !no, query->cd);
    } else if (words_take(words, "recursion")) {
        expect("rd", !no, query->rd);
    } else if (words_take(words, "edns")) {
        expect("edns", !no, query->has_edns);
    } else if (words_take(words, "option")) {
        expect("option", !no, message_option(query->message, (uint16_t)words_number(words), &payload));
    } else if (words_take(words, "signed")) {
        expect("signed", !no, query->is_signed);
    } else if (words_take(words, "udp")) {
        expect("udp", !no, letter->socket != NULL);
    } else if (words_take(words, "mixed")) {
        expect("mixed", !no, is_mixed(query));
    } else if (words_take(words, "size")) {
        expect("size", words_number(words), query->message.size);
    } else {
        words_end(words);
    }
}

static void hears(struct server *server, struct words *words)
{
    if (words_take(words, "nothing")) {
        if (!list_empty(&server->unheard)) {
            play_fails("%s heard something", server->name);
        }
        return;
    }
    struct asked asked;
    message_read_question(words, &asked);
    struct letter *letter = find_letter(&server->unheard, &asked, false);
    struct dns_query query;
    if (letter == NULL) {
        play_fails("%s did not hear that", server->name);
    }
    if (dns_query_read(span_of(letter->bytes, letter->size), &query) != 0 || query.rcode != 0) {
        play_fails("the question cannot be read");
    }
    while (!words_done(words)) {
        check_query_word(words, letter, &query);
    }
    list_remove(&letter->node);
    list_append(&server->unanswered, &letter->node);
}

/* ---- answering ---- */

static struct letter *question_to_answer(struct server *server, struct words *words)
{
    struct asked asked = {.size = 0};
    for (size_t i = words->next; i < words->count; i++) {
        if (strcmp(words->word[i], "with") == 0) {
            if (words->next < i) {
                asked.size = parse_name(words_next(words), asked.question);
            }
            if (words->next < i) {
                bytes_put_u16(asked.question + asked.size, parse_type(words_next(words)));
                asked.size += 2;
            }
            words->next = i + 1;
            break;
        }
    }
    struct letter *letter = find_letter(&server->unanswered, &asked, true);
    if (letter == NULL) {
        letter = find_letter(&server->unheard, &asked, true);
    }
    if (letter == NULL) {
        play_fails("%s has no such question to answer", server->name);
    }
    list_remove(&letter->node);
    list_append(&server->unanswered, &letter->node);
    return letter;
}

static void send_frame(struct fake_connection *connection, size_t size, struct span message)
{
    uint8_t length[2];
    bytes_put_u16(length, (uint16_t)size);
    fake_connection_send(connection, span_of(length, sizeof length));
    fake_connection_send(connection, message);
}

static void answers(struct server *server, struct words *words)
{
    static struct draft draft;
    struct answer_manner manner;
    struct letter *letter = question_to_answer(server, words);
    size_t size = message_write_answer(words, span_of(letter->bytes, letter->size), &draft, &manner);
    struct span message = span_of(draft.bytes, manner.cut > 0 ? manner.cut : size);
    for (unsigned i = 0; i < manner.copies; i++) {
        if (letter->socket != NULL) {
            fake_socket_send(letter->socket, message);
        } else {
            send_frame(letter->connection, size, message);
        }
    }
    if (!manner.stays_unanswered) {
        letter_free(letter);
    }
}

/* ---- connections ---- */

static unsigned count_connections(const struct server *server)
{
    unsigned count = 0;
    for (struct list *node = fake.connections.next; node != &fake.connections; node = node->next) {
        struct fake_connection *connection = container_of(node, struct fake_connection, node);
        count += connection->server == server->fake && connection->open;
    }
    return count;
}

/* All links of the server, or "the link of NAME", which carried that question. */
static void end_connections(struct server *server, struct words *words, int end)
{
    if (words_take(words, "the link of")) {
        struct asked asked;
        asked.size = parse_name(words_next(words), asked.question);
        struct letter *letter = find_letter(&server->unanswered, &asked, true);
        if (letter == NULL) {
            play_fails("%s has no such link", server->name);
        }
        letter->connection->end = end;
        return;
    }
    for (struct list *node = fake.connections.next; node != &fake.connections; node = node->next) {
        struct fake_connection *connection = container_of(node, struct fake_connection, node);
        if (connection->server == server->fake && connection->open && connection->end == 0) {
            connection->end = end;
        }
    }
}

static void sends_bytes(const struct server *server, struct words *words)
{
    uint8_t bytes[512];
    size_t size = parse_hex(words_next(words), bytes, sizeof bytes);
    for (struct list *node = fake.connections.next; node != &fake.connections; node = node->next) {
        struct fake_connection *connection = container_of(node, struct fake_connection, node);
        if (connection->server == server->fake && connection->open) {
            fake_connection_send(connection, span_of(bytes, size));
        }
    }
}

static void fails_handshake(struct server *server, struct words *words)
{
    const char *word = words_next(words);
    server->fake->fate = FAKE_FAIL;
    for (unsigned reason = 0; reason < TLS_REASON_COUNT; reason++) {
        if (strcmp(tls_reason_word(reason), word) == 0) {
            server->fake->reason = reason;
            return;
        }
    }
    play_fails("\"%s\" is no reason", word);
}

static bool has_a_fate(struct server *server, struct words *words)
{
    if (words_take(words, "is believed without a clock")) {
        server->fake->fate = FAKE_ACCEPT;
        server->fake->undated = true;
        return true;
    }
    static const struct {
        const char *words;
        enum fake_fate fate;
    } fates[] = {
        {"accepts", FAKE_ACCEPT},     {"refuses", FAKE_REFUSE},  {"is unreachable", FAKE_UNREACHABLE},
        {"goes silent", FAKE_SILENT}, {"vanishes", FAKE_SILENT}, {"stalls the handshake", FAKE_STALL}};
    for (size_t i = 0; i < sizeof fates / sizeof fates[0]; i++) {
        if (words_take(words, fates[i].words)) {
            server->fake->fate = fates[i].fate;
            server->fake->vanished = strcmp(fates[i].words, "vanishes") == 0;
            if (!words_take(words, "streams")) {
                server->fake->datagram_fate = fates[i].fate;
            }
            return true;
        }
    }
    return false;
}

static bool ends(struct server *server, struct words *words)
{
    if (words_take(words, "closes")) {
        end_connections(server, words, ERROR_CLOSED);
    } else if (words_take(words, "resets")) {
        end_connections(server, words, ERROR_RESET);
    } else if (words_take(words, "alerts")) {
        end_connections(server, words, ERROR_TLS);
    } else if (words_take(words, "ends")) {
        end_connections(server, words, 1);
    } else {
        return false;
    }
    return true;
}

/* How often a connection was begun since this was last asked. */
static void check_connects(struct server *server, struct words *words)
{
    unsigned connects = server->fake->connects - server->connects_seen;
    server->connects_seen = server->fake->connects;
    bool at_most = words_take(words, "at most"), at_least = !at_most && words_take(words, "at least");
    unsigned long expected = words_number(words);
    bool right = at_most ? connects <= expected : at_least ? connects >= expected : connects == expected;
    if (!right) {
        play_fails("%s saw %u connects", server->name, connects);
    }
    if (!words_take(words, "connects")) {
        words_take(words, "connect");
    }
}

void server_sentence(struct world *world, struct words *words)
{
    struct server *server = find_server(world, words_next(words));
    if (words_take(words, "hears")) {
        hears(server, words);
    } else if (words_take(words, "heard nothing more")) {
        if (!list_empty(&server->unheard)) {
            play_fails("%s heard more", server->name);
        }
    } else if (words_take(words, "answers")) {
        answers(server, words);
    } else if (words_take(words, "has")) {
        expect("connections", words_number(words), count_connections(server));
        words_next(words);
    } else if (words_take(words, "saw")) {
        check_connects(server, words);
    } else if (words_take(words, "fails the handshake")) {
        fails_handshake(server, words);
    } else if (words_take(words, "loses datagrams")) {
        server->fake->datagram_fate = FAKE_SILENT;
    } else if (words_take(words, "sends bytes")) {
        sends_bytes(server, words);
    } else if (!has_a_fate(server, words) && !ends(server, words)) {
        words_end(words);
        play_fails("what does %s do?", server->name);
    }
    words_end(words);
}
