/*
 * The clients of a play: they ask, and look closely at what they get. Every answer must be about a question
 * that this client asked and that has no answer yet, with the very id and letters of it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "dns_records.h"
#include "world.h"

enum { OPTION_KEEPALIVE = 11 };

struct client *client_by_address(struct world *world, const struct address *address)
{
    for (size_t i = 0; i < world->client_count; i++) {
        if (address_equal(&world->client[i].address, address)) {
            return &world->client[i];
        }
    }
    return NULL;
}

/* A client is there as soon as it is named; it has an address of its own. */
static struct client *find_client(struct world *world, const char *name)
{
    for (size_t i = 0; i < world->client_count; i++) {
        if (strcmp(world->client[i].name, name) == 0) {
            return &world->client[i];
        }
    }
    if (world->client_count == CLIENTS_MAX) {
        play_fails("too many clients");
    }
    size_t number = ++world->client_count;
    struct client *client = &world->client[number - 1];
    *client = (struct client){.address = {.family = AF_INET, .port = 40000}};
    uint8_t host[] = {10, 0, (uint8_t)(number >> 8), (uint8_t)number};
    memcpy(client->address.bytes, host, sizeof host);
    snprintf(client->name, sizeof client->name, "%s", name);
    list_init(&client->asked);
    list_init(&client->received);
    return client;
}

/* ---- what came ---- */

void client_receive(struct client *client, struct fake_connection *connection, struct span message)
{
    letter_new(&client->received, connection, message);
}

static struct letter *find_asked(struct client *client, const struct letter *answer)
{
    for (struct list *node = client->asked.next; node != &client->asked; node = node->next) {
        struct letter *asked = container_of(node, struct letter, node);
        if (asked->connection == answer->connection &&
            bytes_get_u16(asked->bytes) == bytes_get_u16(answer->bytes)) {
            return asked;
        }
    }
    return NULL;
}

static void check_belongs(struct client *client, const struct letter *answer)
{
    struct letter *asked = answer->size >= DNS_HEADER_SIZE ? find_asked(client, answer) : NULL;
    if (asked == NULL) {
        play_fails("an answer to nothing that is waited for came, id %u", bytes_get_u16(answer->bytes));
    }
    struct span question = message_question(span_of(answer->bytes, answer->size));
    if (question.size > 0 && !span_equal(question, message_question(span_of(asked->bytes, asked->size)))) {
        play_fails("the answer's question is not the one that was asked, byte by byte");
    }
    letter_free(asked);
}

/* ---- looking at an answer ---- */

struct look {
    struct span message;
    struct dns_answer answer;
    struct span payload;
    size_t expected_addresses;
    unsigned addresses, records;
    uint32_t least_ttl, most_ttl;
};

static bool has_address(const struct look *look, const struct address *address)
{
    static struct plain_reader reader;
    static struct plain_record record;
    size_t size = address->family == AF_INET ? 4 : 16;
    plain_begin(&reader, look->message);
    while (plain_next_but_option(&reader, &record)) {
        if (record.section == 0 && record.data_size == size &&
            memcmp(record.data, address->bytes, size) == 0) {
            return true;
        }
    }
    return false;
}

static void count_records(struct look *look)
{
    static struct plain_reader reader;
    static struct plain_record record;
    look->least_ttl = UINT32_MAX;
    plain_begin(&reader, look->message);
    while (plain_next_but_option(&reader, &record)) {
        look->records++;
        look->addresses += record.section == 0 && (record.type == DNS_TYPE_A || record.type == DNS_TYPE_AAAA);
        look->least_ttl = record.ttl < look->least_ttl ? record.ttl : look->least_ttl;
        look->most_ttl = record.ttl > look->most_ttl ? record.ttl : look->most_ttl;
    }
}

static void expect(const char *what, unsigned long expected, unsigned long found)
{
    if (expected != found) {
        play_fails("expected %s %lu, got %lu", what, expected, found);
    }
}

static bool look_at_flag(struct look *look, struct words *words)
{
    const struct {
        const char *word;
        bool value;
    } flags[] = {{"tc", look->answer.tc},
                 {"ad", look->answer.ad},
                 {"cd", look->answer.cd},
                 {"aa", look->answer.aa},
                 {"rd", look->answer.rd},
                 {"ra", look->answer.ra},
                 {"edns", look->answer.option_record != 0},
                 {"ede", look->answer.extended.code != DNS_EXTENDED_NONE}};
    bool no = words_take(words, "no");
    if (no && words_take(words, "option")) {
        expect("option", 0, message_option(look->message, (uint16_t)words_number(words), &look->payload));
        return true;
    }
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        bool is_code = !no && strcmp(flags[i].word, "ede") == 0;
        if (!is_code && words_take(words, flags[i].word)) {
            expect(flags[i].word, !no, flags[i].value);
            return true;
        }
    }
    return false;
}

static void look_at_ede(struct look *look, struct words *words)
{
    const char *text = words_next(words);
    char *rest;
    bool found = false;
    for (unsigned long code = strtoul(text, &rest, 10); !found; code = strtoul(rest + 1, &rest, 10)) {
        found = (int)code == look->answer.extended.code;
        if (!found && *rest != '/') {
            play_fails("expected extended error %s, got %d", text, look->answer.extended.code);
        }
    }
}

static bool look_at_option(struct look *look, struct words *words)
{
    if (words_take(words, "keepalive")) {
        expect("a keepalive option", 1, message_option(look->message, OPTION_KEEPALIVE, &look->payload));
        expect("keepalive", words_number(words), bytes_get_u16(look->payload.data));
    } else if (words_take(words, "option")) {
        expect("option", 1, message_option(look->message, (uint16_t)words_number(words), &look->payload));
    } else {
        return false;
    }
    return true;
}

static bool look_at_value(struct look *look, struct words *words)
{
    if (words_take(words, "rcode")) {
        expect("response code", parse_rcode(words_next(words)), look->answer.rcode);
    } else if (words_take(words, "ede")) {
        look_at_ede(look, words);
    } else if (words_take(words, "ttl")) {
        unsigned long ttl = words_number(words);
        expect("ttl", ttl, look->least_ttl);
        expect("ttl", ttl, look->most_ttl);
    } else if (words_take(words, "size <=")) {
        size_t most = words_number(words);
        if (look->message.size > most) {
            play_fails("expected at most %zu bytes, got %zu", most, look->message.size);
        }
    } else if (words_take(words, "size")) {
        expect("size", words_number(words), look->message.size);
    } else if (words_take(words, "records")) {
        expect("records", words_number(words), look->records);
    } else if (words_take(words, "question as sent")) {
        expect("questions", 1, look->answer.question.size > 0);
    } else {
        return look_at_option(look, words);
    }
    return true;
}

static void look_at(struct look *look, struct words *words)
{
    if (look_at_value(look, words) || look_at_flag(look, words)) {
        return;
    }
    struct address address = words_address(words);
    if (!has_address(look, &address)) {
        play_fails("the answer does not hold %s (response code %u, %u records)", words->word[words->next - 1],
                   look->answer.rcode, look->records);
    }
    look->expected_addresses++;
}

static void look_closely(const struct letter *letter, struct words *words)
{
    static struct look look;
    static uint8_t message[DNS_MESSAGE_MAX];
    memcpy(message, letter->bytes, letter->size);
    message[2] &= 0x87; /* the opcode, which a refusal repeats and the reader of answers does not take */
    look = (struct look){.message = span_of(message, letter->size)};
    int error = dns_answer_read(look.message, &look.answer);
    if (error != 0) {
        play_fails("the answer cannot be read: %s", error_text(error));
    }
    count_records(&look);
    while (!words_done(words)) {
        look_at(&look, words);
    }
    if (look.expected_addresses > 0) {
        expect("addresses", look.expected_addresses, look.addresses);
        expect("response code", 0, look.answer.rcode);
    }
    if (look.answer.rcode != DNS_RCODE_FORMERR && look.answer.question.size == 0) {
        play_fails("the answer has no question");
    }
}

static struct letter *take_received(struct client *client, struct words *words)
{
    struct asked about = {.size = 0};
    unsigned long id = UINT16_MAX + 1;
    if (words_take(words, "about")) {
        about.size = parse_name(words_next(words), about.question);
    } else if (words_take(words, "id")) {
        id = words_number(words);
    }
    for (struct list *node = client->received.next; node != &client->received; node = node->next) {
        struct letter *letter = container_of(node, struct letter, node);
        struct span question = message_question(span_of(letter->bytes, letter->size));
        bool right = about.size == 0 || (question.size == about.size + 4 &&
                                         memcmp(question.data, about.question, about.size) == 0);
        if (right && (id > UINT16_MAX || id == bytes_get_u16(letter->bytes))) {
            return letter;
        }
    }
    play_fails("%s got no such answer", client->name);
}

static void gets(struct client *client, struct words *words)
{
    if (words_take(words, "nothing")) {
        if (!list_empty(&client->received)) {
            play_fails("%s got an answer", client->name);
        }
        return;
    }
    struct letter *letter = take_received(client, words);
    check_belongs(client, letter);
    look_closely(letter, words);
    letter_free(letter);
}

/* ---- what clients do ---- */

static void connect_client(struct client *client)
{
    client->connection = fake_net_dial(&client->address);
}

static void send_frame(struct client *client, struct span message)
{
    uint8_t length[2];
    bytes_put_u16(length, (uint16_t)message.size);
    fake_connection_send(client->connection, span_of(length, sizeof length));
    fake_connection_send(client->connection, message);
}

static void send_message(struct client *client, bool tcp, struct span message)
{
    if (tcp) {
        send_frame(client, message);
    } else {
        struct net_peer peer = {.remote = client->address};
        fake_net_put(&peer, message);
    }
}

static void asks(struct world *world, struct client *client, bool tcp, struct words *words)
{
    static struct draft draft;
    size_t size = message_write_query(words, ++world->last_id, &draft);
    struct span message = span_of(draft.bytes, size);
    letter_new(&client->asked, tcp ? client->connection : NULL, message);
    send_message(client, tcp, message);
}

static void sends(struct client *client, bool tcp, struct words *words)
{
    static uint8_t bytes[MESSAGE_ROOM];
    size_t size;
    if (words_take(words, "zeros")) {
        size = words_number(words);
        memset(bytes, 0, sizeof bytes);
    } else {
        words_take(words, "bytes");
        size = parse_hex(words_next(words), bytes, sizeof bytes);
    }
    size_t head = tcp ? 2 : 0;
    if (size >= head + DNS_HEADER_SIZE) {
        letter_new(&client->asked, tcp ? client->connection : NULL, span_of(bytes + head, size - head));
    }
    if (tcp) {
        fake_connection_send(client->connection, span_of(bytes, size));
    } else {
        send_message(client, false, span_of(bytes, size));
    }
}

static struct fake_connection *connection_of(struct client *client)
{
    if (client->connection == NULL || client->connection->closed) {
        play_fails("%s has no connection", client->name);
    }
    return client->connection;
}

static void speaks(struct world *world, struct client *client, struct words *words)
{
    bool udp = words_take(words, "udp"),
         tcp = words_take(words, "tcp") || (!udp && client->connection != NULL);
    if (tcp && (client->connection == NULL || client->connection->closed)) {
        connect_client(client);
    }
    if (words_take(words, "asks")) {
        asks(world, client, tcp, words);
    } else if (words_take(words, "sends")) {
        sends(client, tcp, words);
    } else {
        words_end(words);
        play_fails("what does %s do?", client->name);
    }
}

static bool handles_connection(struct client *client, struct words *words)
{
    if (words_take(words, "connects")) {
        connect_client(client);
    } else if (words_take(words, "half-closes")) {
        connection_of(client)->end = 1;
    } else if (words_take(words, "resets")) {
        connection_of(client)->end = ERROR_RESET;
    } else if (words_take(words, "stops reading")) {
        connection_of(client)->reads = false;
    } else if (words_take(words, "reads again")) {
        connection_of(client)->reads = true;
    } else if (words_take(words, "takes")) {
        connection_of(client)->takes = words_number(words);
    } else if (words_take(words, "is closed")) {
        expect("closed", 1, client->connection != NULL && client->connection->closed);
    } else if (words_take(words, "is connected")) {
        expect("connected", 1, client->connection != NULL && !client->connection->closed);
    } else {
        return false;
    }
    return true;
}

void client_sentence(struct world *world, struct words *words)
{
    struct client *client = find_client(world, words_next(words));
    if (words_take(words, "from")) {
        client->address = words_address(words);
    } else if (words_take(words, "gets")) {
        gets(client, words);
    } else if (!handles_connection(client, words)) {
        speaks(world, client, words);
    }
    words_end(words);
}
