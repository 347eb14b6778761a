/*
 * One record in the presentation form of zone files (RFC 1035, 5.1), on one line and with whole names: NAME
 * [TTL] [IN] TYPE DATA. Called when the configuration is read and again when its records are built. Types
 * whose data would have to be followed, aliases before all, are refused with words.
 */
#include <string.h>

#include "local/internal.h"

enum { STRING_MAX = 255, TTL_MOST = 0x7fffffff };

static bool number_of(struct span word, uint32_t most, uint32_t *out)
{
    uint64_t value = 0;
    if (word.size == 0 || word.size > 10) {
        return false;
    }
    for (size_t i = 0; i < word.size; i++) {
        if (word.data[i] < '0' || word.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(word.data[i] - '0');
    }
    *out = (uint32_t)value;
    return value <= most;
}

static const char *read_address(struct span *left, struct bytes_writer *data, size_t size)
{
    struct span word;
    uint8_t bytes[16];
    if (!local_word_next(left, &word) || local_address_of(word, bytes) != size) {
        return size == 4 ? "expected an IPv4 address behind A" : "expected an IPv6 address behind AAAA";
    }
    bytes_write(data, span_of(bytes, size));
    return NULL;
}

static const char *read_ipv4(struct span *left, struct bytes_writer *data)
{
    return read_address(left, data, 4);
}

static const char *read_ipv6(struct span *left, struct bytes_writer *data)
{
    return read_address(left, data, 16);
}

static const char *read_name(struct span *left, struct bytes_writer *data)
{
    struct span word;
    struct local_name name;
    if (!local_word_next(left, &word)) {
        return "the name that it points to is missing";
    }
    const char *refusal = local_name_of_zone(word, &name);
    if (refusal == NULL) {
        bytes_write(data, span_of(name.bytes, name.size));
    }
    return refusal;
}

static const char *read_numbers(struct span *left, struct bytes_writer *data, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct span word;
        uint32_t number;
        if (!local_word_next(left, &word) || !number_of(word, UINT16_MAX, &number)) {
            return "expected a number from 0 to 65535";
        }
        bytes_write_u16(data, (uint16_t)number);
    }
    return read_name(left, data);
}

static const char *read_mx(struct span *left, struct bytes_writer *data)
{
    return read_numbers(left, data, 1);
}

static const char *read_srv(struct span *left, struct bytes_writer *data)
{
    return read_numbers(left, data, 3);
}

/* One string, in quotes or as far as the next space. */
static const char *read_string(struct span *left, struct bytes_writer *data)
{
    bool is_quoted = left->data[0] == '"';
    uint8_t string[STRING_MAX], byte;
    size_t size = 0;
    if (is_quoted) {
        *left = span_of(left->data + 1, left->size - 1);
    }
    while (left->size > 0 && (is_quoted || (left->data[0] != ' ' && left->data[0] != '\t'))) {
        bool is_escaped, is_quote = left->data[0] == '"';
        if (is_quoted && is_quote) {
            break;
        }
        if (!is_quoted && (is_quote || left->data[0] == ';')) {
            return "a quote or a semicolon inside of a string: put the string in quotes";
        }
        if (!local_byte_next(left, &byte, &is_escaped)) {
            return "a string holds a byte that is not ASCII, or a broken escape";
        }
        if (size == STRING_MAX) {
            return "a string has at most 255 bytes: part it in several";
        }
        string[size++] = byte;
    }
    if (is_quoted && left->size == 0) {
        return "a closing quote is missing";
    }
    *left = span_of(left->data + is_quoted, left->size - is_quoted);
    bytes_write_u8(data, (uint8_t)size);
    bytes_write(data, span_of(string, size));
    return NULL;
}

static const char *read_txt(struct span *left, struct bytes_writer *data)
{
    struct span word, behind;
    if (behind = *left, !local_word_next(&behind, &word)) {
        return "a string is missing behind TXT";
    }
    while (behind = *left, local_word_next(&behind, &word)) {
        *left = span_of(word.data, (size_t)(left->data + left->size - word.data));
        const char *refusal = read_string(left, data);
        if (refusal != NULL) {
            return refusal;
        }
        if (data->failed) {
            return "is too long";
        }
    }
    return NULL;
}

static const struct reader {
    const char *word;
    uint16_t type;
    const char *(*read)(struct span *left, struct bytes_writer *data);
} readers[] = {
    {"A", DNS_TYPE_A, read_ipv4},    {"AAAA", DNS_TYPE_AAAA, read_ipv6}, {"PTR", LOCAL_TYPE_PTR, read_name},
    {"TXT", DNS_TYPE_TXT, read_txt}, {"MX", LOCAL_TYPE_MX, read_mx},     {"SRV", LOCAL_TYPE_SRV, read_srv},
};

static const struct reader *reader_of(struct span word)
{
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        if (local_word_is(word, readers[i].word)) {
            return &readers[i];
        }
    }
    return NULL;
}

/* TTL and class, in either order, and then the type. */
static const char *read_type(struct span *left, struct local_record *out, const struct reader **reader)
{
    struct span word;
    bool has_ttl = false, has_class = false;
    out->ttl = LOCAL_RECORD_TTL;
    while (local_word_next(left, &word)) {
        if (!has_ttl && word.data[0] >= '0' && word.data[0] <= '9') {
            has_ttl = true;
            if (!number_of(word, TTL_MOST, &out->ttl)) {
                return "expected a TTL in seconds behind the name";
            }
        } else if (!has_class && local_word_is(word, "IN")) {
            has_class = true;
        } else if (local_word_is(word, "CNAME")) {
            return "an alias (CNAME) cannot be followed here: write the records of the name that it points "
                   "to";
        } else {
            *reader = reader_of(word);
            return *reader != NULL ? NULL : "expected one of the types A, AAAA, PTR, TXT, MX and SRV";
        }
    }
    return "the type is missing, as in \"nas.lan A 192.168.1.5\"";
}

const char *local_record_parse(struct span text, struct local_record *out)
{
    struct span word, left = text;
    const struct reader *reader = NULL;
    if (!local_word_next(&left, &word)) {
        return "expected NAME [TTL] TYPE DATA";
    }
    const char *refusal = local_name_of_zone(word, &out->name);
    bool is_wildcard = refusal == NULL && out->name.bytes[0] == 1 && out->name.bytes[1] == '*';
    if (is_wildcard || (refusal == NULL && out->name.size == 1)) {
        refusal = "neither the root nor a wildcard can have records here";
    }
    if (refusal == NULL) {
        refusal = read_type(&left, out, &reader);
    }
    if (refusal != NULL) {
        return refusal;
    }
    struct bytes_writer data = bytes_writer_of(out->data, sizeof out->data);
    out->type = reader->type;
    refusal = reader->read(&left, &data);
    if (refusal == NULL && local_word_next(&left, &word)) {
        refusal = "there is more behind the data";
    }
    out->size = bytes_written(&data);
    return refusal != NULL ? refusal : data.failed ? "is too long" : NULL;
}

const char *local_record_refusal(const char *text)
{
    struct local_record record;
    return local_record_parse(span_text(text), &record);
}
