/* What plays say of messages, as bytes; see message.h. Called by the ends of clients and of servers. */
#include "message.h"

#include <stdlib.h>
#include <string.h>

#include "dns_records.h"

enum {
    QR = 0x8000,
    AA = 0x400,
    TC = 0x200,
    RD = 0x100,
    RA = 0x80,
    Z = 0x40,
    AD = 0x20,
    CD = 0x10,
    DO = 0x8000
};

enum {
    OPTION_NSID = 3,
    OPTION_COOKIE = 10,
    OPTION_KEEPALIVE = 11,
    OPTION_PADDING = 12,
    OPTION_EXTENDED = 15
};

/* ---- questions ---- */

static size_t skip_name(struct span message, size_t at)
{
    while (at < message.size && message.data[at] != 0) {
        at += message.data[at] + 1U;
    }
    return at + 1;
}

struct span message_question(struct span message)
{
    if (message.size < DNS_HEADER_SIZE || bytes_get_u16(message.data + 4) == 0) {
        return (struct span){0};
    }
    size_t end = skip_name(message, DNS_HEADER_SIZE) + 4;
    return end <= message.size ? span_of(message.data + DNS_HEADER_SIZE, end - DNS_HEADER_SIZE)
                               : (struct span){0};
}

void message_read_question(struct words *words, struct asked *asked)
{
    size_t size = parse_name(words_next(words), asked->question);
    bytes_put_u16(asked->question + size, parse_type(words_next(words)));
    bool known = false;
    uint16_t class = DNS_CLASS_IN;
    if (!words_done(words)) {
        class = parse_class(words->word[words->next], &known);
        words->next += known;
    }
    bytes_put_u16(asked->question + size + 2, class);
    asked->size = size + 4;
}

/* ---- what queries and answers have in common ---- */

struct edns {
    bool there;
    unsigned size, version, copies;
    bool dnssec_ok;
    uint8_t options[MESSAGE_ROOM];
    struct bytes_writer writer;
};

static void begin_edns(struct edns *edns)
{
    edns->there = edns->dnssec_ok = false;
    edns->size = DNS_UDP_MOST;
    edns->version = 0;
    edns->copies = 1;
    edns->writer = bytes_writer_of(edns->options, sizeof edns->options);
}

static void add_option(struct edns *edns, unsigned code, struct span payload)
{
    edns->there = true;
    bytes_write_u16(&edns->writer, (uint16_t)code);
    bytes_write_u16(&edns->writer, (uint16_t)payload.size);
    bytes_write(&edns->writer, payload);
}

static bool read_option(struct words *words, struct edns *edns)
{
    static const uint8_t zeros[4096];
    uint8_t payload[512];
    if (words_take(words, "option")) {
        unsigned code = (unsigned)words_number(words);
        add_option(edns, code, span_of(payload, parse_hex(words_next(words), payload, sizeof payload)));
    } else if (words_take(words, "cookie")) {
        add_option(edns, OPTION_COOKIE, span_text("12345678"));
    } else if (words_take(words, "nsid")) {
        add_option(edns, OPTION_NSID, span_text("ns1"));
    } else if (words_take(words, "padding")) {
        add_option(edns, OPTION_PADDING, span_of(zeros, words_number(words)));
    } else if (words_take(words, "edns")) {
        edns->there = true;
        edns->size = (unsigned)words_number(words);
    } else if (words_take(words, "do")) {
        edns->there = edns->dnssec_ok = true;
    } else {
        return false;
    }
    return true;
}

static void write_edns(struct bytes_writer *writer, const struct edns *edns, unsigned rcode)
{
    bytes_write_u8(writer, 0);
    bytes_write_u16(writer, DNS_TYPE_OPT);
    bytes_write_u16(writer, (uint16_t)edns->size);
    bytes_write_u8(writer, (uint8_t)(rcode >> 4));
    bytes_write_u8(writer, (uint8_t)edns->version);
    bytes_write_u16(writer, edns->dnssec_ok ? DO : 0);
    bytes_write_u16(writer, (uint16_t)bytes_written(&edns->writer));
    bytes_write(writer, span_of(edns->options, bytes_written(&edns->writer)));
}

static void write_signature(struct bytes_writer *writer)
{
    static const uint8_t signature[] = {3, 'k', 'e', 'y', 0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4};
    bytes_write(writer, span_of(signature, sizeof signature));
}

static void count_up(struct draft *draft, unsigned section, unsigned amount)
{
    uint8_t *at = draft->bytes + 4 + 2 * section;
    bytes_put_u16(at, (uint16_t)(bytes_get_u16(at) + amount));
}

/* ---- queries ---- */

struct query_form {
    struct asked asked;
    uint16_t id;
    unsigned flags, questions;
    bool is_signed, option_in_answer;
    size_t trailing;
    struct edns edns;
};

static bool read_flag(struct words *words, struct query_form *form)
{
    static const struct {
        const char *word;
        unsigned set, clear;
    } flags[] = {{"ad", AD, 0}, {"cd", CD, 0}, {"norecurse", 0, RD}, {"qr", QR, 0}, {"z", Z, 0}};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (words_take(words, flags[i].word)) {
            form->flags = (form->flags | flags[i].set) & ~flags[i].clear;
            return true;
        }
    }
    return false;
}

static void read_query_word(struct words *words, struct query_form *form)
{
    if (read_flag(words, form) || read_option(words, &form->edns)) {
        return;
    }
    if (words_take(words, "id")) {
        form->id = (uint16_t)words_number(words);
    } else if (words_take(words, "as")) {
        parse_name(words_next(words), form->asked.question);
    } else if (words_take(words, "keepalive")) {
        add_option(&form->edns, OPTION_KEEPALIVE, (struct span){0});
    } else if (words_take(words, "opcode")) {
        form->flags |= (unsigned)words_number(words) << 11;
    } else if (words_take(words, "version")) {
        form->edns.there = true;
        form->edns.version = (unsigned)words_number(words);
    } else if (words_take(words, "opts")) {
        form->edns.there = true;
        form->edns.copies = (unsigned)words_number(words);
    } else if (words_take(words, "opt in answer")) {
        form->edns.there = form->option_in_answer = true;
    } else if (words_take(words, "questions")) {
        form->questions = (unsigned)words_number(words);
    } else if (words_take(words, "trailing")) {
        form->trailing = words_number(words);
    } else if (words_take(words, "signed")) {
        form->is_signed = true;
    } else {
        words_end(words);
    }
}

static struct query_form *read_query(struct words *words, uint16_t default_id)
{
    static struct query_form form;
    form = (struct query_form){.id = default_id, .flags = RD, .questions = 1};
    begin_edns(&form.edns);
    message_read_question(words, &form.asked);
    while (!words_done(words)) {
        read_query_word(words, &form);
    }
    return &form;
}

size_t message_write_query(struct words *words, uint16_t default_id, struct draft *draft)
{
    const struct query_form *form = read_query(words, default_id);
    draft->writer = bytes_writer_of(draft->bytes, sizeof draft->bytes);
    bytes_write_u16(&draft->writer, form->id);
    bytes_write_u16(&draft->writer, (uint16_t)form->flags);
    bytes_write_u16(&draft->writer, (uint16_t)form->questions);
    bytes_write_zero(&draft->writer, 6);
    for (unsigned i = 0; i < form->questions && i < 2; i++) {
        bytes_write(&draft->writer, span_of(form->asked.question, form->asked.size));
    }
    for (unsigned i = 0; form->edns.there && i < form->edns.copies; i++) {
        write_edns(&draft->writer, &form->edns, 0);
        count_up(draft, form->option_in_answer ? 1 : 3, 1);
    }
    if (form->is_signed) {
        write_signature(&draft->writer);
        count_up(draft, 3, 1);
    }
    bytes_write_zero(&draft->writer, form->trailing);
    return bytes_written(&draft->writer);
}

/* ---- answers ---- */

struct answer_form {
    unsigned flags, rcode, ttl;
    uint16_t type;
    size_t big, address_count;
    struct address address[32];
    bool soa, no_question, no_edns, folded, garbage, is_signed;
    enum { RIGHT, WRONG_ID, WRONG_NAME, WRONG_TYPE, WRONG_CLASS } wrong;
    uint8_t alias[DNS_NAME_MAX];
    size_t alias_size;
    struct edns edns;
};

static bool read_fault(struct words *words, struct answer_form *form, struct answer_manner *manner)
{
    static const char *const wrongs[] = {[WRONG_ID] = "wrong id",
                                         [WRONG_NAME] = "wrong name",
                                         [WRONG_TYPE] = "wrong type",
                                         [WRONG_CLASS] = "wrong class"};
    for (unsigned i = WRONG_ID; i <= WRONG_CLASS; i++) {
        if (words_take(words, wrongs[i])) {
            form->wrong = i;
            manner->stays_unanswered = true;
            return true;
        }
    }
    if (words_take(words, "qr 0")) {
        form->flags &= ~(unsigned)QR;
        manner->stays_unanswered = true;
    } else if (words_take(words, "no question")) {
        form->no_question = true;
    } else if (words_take(words, "folded")) {
        form->folded = true;
    } else if (words_take(words, "garbage")) {
        form->garbage = true;
    } else if (words_take(words, "twice")) {
        manner->copies = 2;
    } else if (words_take(words, "cut")) {
        manner->cut = words_number(words);
    } else {
        return false;
    }
    return true;
}

static bool read_content(struct words *words, struct answer_form *form)
{
    if (words_take(words, "rcode")) {
        form->rcode = parse_rcode(words_next(words));
    } else if (words_take(words, "nxdomain")) {
        form->rcode = DNS_RCODE_NXDOMAIN;
        form->soa = true;
    } else if (words_take(words, "nodata")) {
        form->soa = true;
    } else if (words_take(words, "ttl")) {
        form->ttl = (unsigned)words_number(words);
    } else if (words_take(words, "big")) {
        form->big = words_number(words);
    } else if (words_take(words, "cname")) {
        form->alias_size = parse_name(words_next(words), form->alias);
    } else if (words_take(words, "signed")) {
        form->is_signed = true;
    } else {
        return false;
    }
    return true;
}

static bool read_answer_flag(struct words *words, struct answer_form *form)
{
    static const struct {
        const char *word;
        unsigned set;
    } flags[] = {{"tc", TC}, {"aa", AA}, {"ad", AD}, {"cd", CD}};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (words_take(words, flags[i].word)) {
            form->flags |= flags[i].set;
            return true;
        }
    }
    return false;
}

static void read_answer_word(struct words *words, struct answer_form *form, struct answer_manner *manner)
{
    uint8_t payload[2];
    if (read_fault(words, form, manner) || read_content(words, form) || read_answer_flag(words, form)) {
        return;
    }
    if (words_take(words, "no edns")) {
        form->no_edns = true;
    } else if (words_take(words, "ede")) {
        bytes_put_u16(payload, (uint16_t)words_number(words));
        add_option(&form->edns, OPTION_EXTENDED, span_of(payload, sizeof payload));
    } else if (words_take(words, "keepalive")) {
        bytes_put_u16(payload, (uint16_t)words_number(words));
        add_option(&form->edns, OPTION_KEEPALIVE, span_of(payload, sizeof payload));
    } else if (!read_option(words, &form->edns)) {
        if (form->address_count == sizeof form->address / sizeof form->address[0]) {
            play_fails("too many addresses");
        }
        form->address[form->address_count++] = words_address(words);
    }
}

/* A record of the question's name, or of the alias. */
static void write_record(struct draft *draft, const struct answer_form *form, unsigned type, struct span data)
{
    if (form->alias_size > 0 && type != DNS_TYPE_CNAME) {
        bytes_write(&draft->writer, span_of(form->alias, form->alias_size));
    } else {
        bytes_write_u16(&draft->writer, 0xc000 | DNS_HEADER_SIZE);
    }
    bytes_write_u16(&draft->writer, (uint16_t)type);
    bytes_write_u16(&draft->writer, DNS_CLASS_IN);
    bytes_write_u32(&draft->writer, form->ttl);
    bytes_write_u16(&draft->writer, (uint16_t)data.size);
    bytes_write(&draft->writer, data);
    count_up(draft, 1, 1);
}

static void write_records(struct draft *draft, const struct answer_form *form)
{
    uint8_t text[201] = {200};
    if (form->alias_size > 0) {
        write_record(draft, form, DNS_TYPE_CNAME, span_of(form->alias, form->alias_size));
    }
    for (size_t i = 0; i < form->address_count; i++) {
        bool v4 = form->address[i].family == AF_INET;
        write_record(draft, form, v4 ? DNS_TYPE_A : DNS_TYPE_AAAA,
                     span_of(form->address[i].bytes, v4 ? 4 : 16));
    }
    while (bytes_written(&draft->writer) < form->big) {
        text[1]++;
        write_record(draft, form, DNS_TYPE_TXT, span_of(text, sizeof text));
    }
}

static void write_authority(struct draft *draft)
{
    static const uint8_t soa[] = {0, 0, 6, 0, 1, 0, 0, 3, 132, 0, 22, 0, 0, /* TTL 900 */
                                  0, 0, 0, 1, 0, 0, 0, 1, 0,   0, 0,  1, 0, 0, 0, 1, 0, 0, 0, 60};
    bytes_write(&draft->writer, span_of(soa, sizeof soa));
    count_up(draft, 2, 1);
}

static void write_head(struct draft *draft, const struct answer_form *form, struct span query)
{
    struct span question = message_question(query);
    uint16_t id = bytes_get_u16(query.data);
    draft->writer = bytes_writer_of(draft->bytes, sizeof draft->bytes);
    bytes_write_u16(&draft->writer, form->wrong == WRONG_ID ? id ^ 0x8000 : id);
    bytes_write_u16(&draft->writer, (uint16_t)(form->flags | (form->rcode & 0xf)));
    bytes_write_u16(&draft->writer, !form->no_question);
    bytes_write_zero(&draft->writer, 6);
    if (form->no_question) {
        return;
    }
    bytes_write(&draft->writer, question);
    uint8_t *end = draft->bytes + bytes_written(&draft->writer);
    if (form->folded) {
        dns_name_to_lower(draft->bytes + DNS_HEADER_SIZE, question.size - 4);
    }
    draft->bytes[DNS_HEADER_SIZE + 1] ^= form->wrong == WRONG_NAME ? 1 : 0;
    end[-3] ^= form->wrong == WRONG_TYPE ? 1 : 0;
    end[-1] ^= form->wrong == WRONG_CLASS ? 2 : 0;
}

size_t message_write_answer(struct words *words, struct span query, struct draft *draft,
                            struct answer_manner *manner)
{
    static struct answer_form form;
    form = (struct answer_form){.flags = QR | RD | RA, .ttl = 300};
    *manner = (struct answer_manner){.copies = 1};
    begin_edns(&form.edns);
    form.edns.there = true;
    while (!words_done(words)) {
        read_answer_word(words, &form, manner);
    }
    write_head(draft, &form, query);
    if (form.garbage) {
        count_up(draft, 1, 5);
        return bytes_written(&draft->writer);
    }
    write_records(draft, &form);
    if (form.soa) {
        write_authority(draft);
    }
    if (!form.no_edns) {
        write_edns(&draft->writer, &form.edns, form.rcode);
        count_up(draft, 3, 1);
    }
    if (form.is_signed) {
        write_signature(&draft->writer);
        count_up(draft, 3, 1);
    }
    return bytes_written(&draft->writer);
}

/* ---- looking into messages ---- */

bool message_option(struct span message, uint16_t code, struct span *payload)
{
    static struct plain_reader reader;
    static struct plain_record record;
    plain_begin(&reader, message);
    while (plain_next(&reader, &record)) {
        struct bytes_reader options = bytes_reader_of(span_of(record.data, record.data_size));
        while (record.type == DNS_TYPE_OPT && bytes_left(&options) > 0 && !options.failed) {
            uint16_t found = bytes_read_u16(&options);
            *payload = bytes_read(&options, bytes_read_u16(&options));
            if (found == code) {
                return true;
            }
        }
    }
    return false;
}
