/*
 * A second reader of DNS messages; see dns_records.h. It aborts where a message that was accepted is not what
 * it has to be, so that a fuzzer stops there and a unit test fails.
 */
#include "dns_records.h"

#include <stdlib.h>
#include <string.h>

enum { TYPE_OPT = 41 };

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Returns the offset behind the name as it stands in the message. */
static size_t expand(struct span message, size_t at, uint8_t *out, size_t *size)
{
    size_t behind = 0, run = at;
    *size = 0;
    for (;;) {
        must(at < message.size);
        uint8_t label = message.data[at];
        if (label >= 0xc0) {
            must(at + 2 <= message.size);
            behind = behind != 0 ? behind : at + 2;
            at = bytes_get_u16(message.data + at) & 0x3fff;
            must(at >= 12 && at < run);
            run = at;
            continue;
        }
        must(label <= 63 && *size + label + 1 <= PLAIN_NAME_MAX && at + label + 1 <= message.size);
        for (size_t i = 0; i <= label; i++) {
            uint8_t byte = message.data[at + i];
            out[*size + i] = byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + 'a' - 'A') : byte;
        }
        *size += label + 1u;
        at += label + 1u;
        if (label == 0) {
            return behind != 0 ? behind : at;
        }
    }
}

static void expand_data(struct span message, size_t at, size_t end, struct plain_record *record)
{
    static const char *const forms[16] = {
        [2] = "n", [3] = "n", [4] = "n",  [5] = "n",   [6] = "nn", [7] = "n",
        [8] = "n", [9] = "n", [12] = "n", [14] = "nn", [15] = "2n"};
    record->data_size = 0;
    for (const char *form = record->type < 16 ? forms[record->type] : NULL; form != NULL && *form; form++) {
        if (*form == '2') {
            memcpy(record->data, message.data + at, 2);
            record->data_size = 2;
            at += 2;
        } else {
            size_t size;
            at = expand(message, at, record->data + record->data_size, &size);
            record->data_size += size;
        }
    }
    must(at <= end);
    memcpy(record->data + record->data_size, message.data + at, end - at);
    record->data_size += end - at;
}

void plain_begin(struct plain_reader *reader, struct span message)
{
    *reader = (struct plain_reader){.message = message, .at = 12};
    uint8_t name[PLAIN_NAME_MAX];
    size_t size;
    for (unsigned i = bytes_get_u16(message.data + 4); i > 0; i--) {
        reader->at = expand(message, reader->at, name, &size) + 4;
    }
    for (int section = 0; section < 3; section++) {
        reader->left[section] = bytes_get_u16(message.data + 6 + 2 * section);
    }
}

bool plain_next(struct plain_reader *reader, struct plain_record *record)
{
    while (reader->section < 3 && reader->left[reader->section] == 0) {
        reader->section++;
    }
    if (reader->section == 3) {
        must(reader->at == reader->message.size);
        return false;
    }
    reader->left[reader->section]--;
    const uint8_t *data = reader->message.data;
    size_t at = expand(reader->message, reader->at, record->owner, &record->owner_size);
    must(at + 10 <= reader->message.size);
    record->section = reader->section;
    record->type = bytes_get_u16(data + at);
    record->class = bytes_get_u16(data + at + 2);
    record->ttl_at = at + 4;
    record->ttl = bytes_get_u32(data + at + 4);
    record->ttl = record->ttl >> 31 ? 0 : record->ttl;
    reader->at = at + 10 + bytes_get_u16(data + at + 8);
    must(reader->at <= reader->message.size);
    expand_data(reader->message, at + 10, reader->at, record);
    return true;
}

bool plain_next_but_option(struct plain_reader *reader, struct plain_record *record)
{
    while (plain_next(reader, record)) {
        if (record->type != TYPE_OPT) {
            return true;
        }
    }
    return false;
}

bool plain_equal(const struct plain_record *a, const struct plain_record *b)
{
    return a->section == b->section && a->type == b->type && a->class == b->class && a->ttl == b->ttl &&
           span_equal(span_of(a->owner, a->owner_size), span_of(b->owner, b->owner_size)) &&
           span_equal(span_of(a->data, a->data_size), span_of(b->data, b->data_size));
}
