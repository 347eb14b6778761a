/*
 * Text of files and options as lines, words, names and addresses. Called with whatever an operator or the
 * maker of a list has written: nothing is read outside of the text, and what is wrong is told, not guessed.
 */
#include <arpa/inet.h>
#include <string.h>

#include "local/internal.h"

enum { ADDRESS_TEXT_MAX = INET6_ADDRSTRLEN, IPV4_SIZE = 4, IPV6_SIZE = 16 };

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static struct span skip(struct span text, size_t size)
{
    return span_of(text.data + size, text.size - size);
}

/* ---- lines and words ---- */

struct local_lines local_lines_of(struct span text)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf}; /* what some editors write before UTF-8 */
    bool has_mark = text.size >= sizeof mark && memcmp(text.data, mark, sizeof mark) == 0;
    return (struct local_lines){.left = has_mark ? skip(text, sizeof mark) : text};
}

bool local_lines_next(struct local_lines *lines, struct span *line)
{
    struct span left = lines->left;
    if (left.size == 0) {
        return false;
    }
    const uint8_t *end = memchr(left.data, '\n', left.size);
    size_t size = end == NULL ? left.size : (size_t)(end - left.data);
    lines->left = skip(left, end == NULL ? size : size + 1);
    lines->number++;
    *line = span_of(left.data, size > 0 && left.data[size - 1] == '\r' ? size - 1 : size);
    return true;
}

bool local_word_next(struct span *left, struct span *word)
{
    size_t begin = 0;
    while (begin < left->size && is_blank(left->data[begin])) {
        begin++;
    }
    size_t end = begin;
    while (end < left->size && !is_blank(left->data[end])) {
        end += left->data[end] == '\\' && end + 1 < left->size ? 2 : 1;
    }
    *word = span_of(left->data + begin, end - begin);
    *left = skip(*left, end);
    return end > begin;
}

bool local_word_is(struct span word, const char *text)
{
    return word.size == strlen(text) && dns_name_equal(word.data, (const uint8_t *)text, word.size);
}

/* ---- names ---- */

static bool is_of_host(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || is_digit(byte) || byte == '-' ||
           byte == '_';
}

/* A name being written, label by label. */
struct writer {
    struct local_name *name;
    size_t label; /* where the length of the open label stands */
};

static bool label_open(struct writer *writer)
{
    writer->label = writer->name->size++;
    return writer->label < DNS_NAME_MAX - 1;
}

static bool label_close(struct writer *writer)
{
    size_t size = writer->name->size - writer->label - 1;
    if (size == 0 || size > DNS_LABEL_MAX) {
        return false;
    }
    writer->name->bytes[writer->label] = (uint8_t)size;
    return true;
}

/* The last byte is kept for the root. */
static bool label_add(struct writer *writer, uint8_t byte)
{
    if (writer->name->size >= DNS_NAME_MAX - 1) {
        return false;
    }
    writer->name->bytes[writer->name->size++] = byte;
    return true;
}

static void name_close(struct local_name *name)
{
    dns_name_to_lower(name->bytes, name->size);
    name->bytes[name->size++] = 0;
}

bool local_name_of_host(struct span text, struct local_name *out)
{
    out->size = 0;
    struct writer writer = {.name = out};
    if (text.size > 1 && text.data[text.size - 1] == '.') {
        text.size--;
    }
    if (!label_open(&writer)) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        bool fits = text.data[i] == '.' ? label_close(&writer) && label_open(&writer)
                                        : is_of_host(text.data[i]) && label_add(&writer, text.data[i]);
        if (!fits) {
            return false;
        }
    }
    if (!label_close(&writer)) {
        return false;
    }
    name_close(out);
    return true;
}

static bool decimal_next(struct span *left, uint8_t *out)
{
    if (left->size < 3 || !is_digit(left->data[1]) || !is_digit(left->data[2])) {
        return false;
    }
    unsigned value = (left->data[0] - '0') * 100u + (left->data[1] - '0') * 10u + (left->data[2] - '0');
    *out = (uint8_t)value;
    *left = skip(*left, 3);
    return value <= UINT8_MAX;
}

bool local_byte_next(struct span *left, uint8_t *out, bool *is_escaped)
{
    *is_escaped = left->data[0] == '\\';
    if (!*is_escaped) {
        *out = left->data[0];
        *left = skip(*left, 1);
        return *out >= ' ' && *out < 0x7f;
    }
    *left = skip(*left, 1);
    if (left->size == 0) {
        return false;
    }
    if (is_digit(left->data[0])) {
        return decimal_next(left, out);
    }
    *out = left->data[0];
    *left = skip(*left, 1);
    return *out >= ' ' && *out < 0x7f;
}

const char *local_name_of_zone(struct span text, struct local_name *out)
{
    out->size = 0;
    struct writer writer = {.name = out};
    if (text.size == 1 && text.data[0] == '.') {
        name_close(out);
        return NULL;
    }
    if (text.size == 1 && text.data[0] == '@') {
        return "there is no origin that @ could stand for: write the whole name";
    }
    label_open(&writer);
    while (text.size > 0) {
        uint8_t byte;
        bool is_escaped;
        if (!local_byte_next(&text, &byte, &is_escaped)) {
            return "holds a byte that is none of a name, or a broken escape";
        }
        bool is_dot = byte == '.' && !is_escaped;
        if (is_dot ? !label_close(&writer) || (text.size > 0 && !label_open(&writer))
                   : !label_add(&writer, byte)) {
            return "is no name: a label has 1 to 63 bytes, a name at most 255";
        }
        if (is_dot && text.size == 0) {
            name_close(out);
            return NULL;
        }
    }
    if (!label_close(&writer)) {
        return "is no name: a label has 1 to 63 bytes, a name at most 255";
    }
    name_close(out);
    return NULL;
}

/* ---- addresses ---- */

size_t local_address_of(struct span text, uint8_t out[16])
{
    char copy[ADDRESS_TEXT_MAX];
    if (text.size == 0 || text.size >= sizeof copy || memchr(text.data, '\0', text.size) != NULL) {
        return 0;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (inet_pton(AF_INET, copy, out) == 1) {
        return IPV4_SIZE;
    }
    return inet_pton(AF_INET6, copy, out) == 1 ? IPV6_SIZE : 0;
}

static void add_number(struct writer *writer, unsigned number)
{
    if (number >= 100) {
        label_add(writer, (uint8_t)('0' + number / 100));
    }
    if (number >= 10) {
        label_add(writer, (uint8_t)('0' + number / 10 % 10));
    }
    label_add(writer, (uint8_t)('0' + number % 10));
}

void local_name_reverse(const uint8_t *address, size_t size, struct local_name *out)
{
    static const char digits[] = "0123456789abcdef";
    static const uint8_t ipv4_end[] = "\7in-addr\4arpa", ipv6_end[] = "\3ip6\4arpa";
    struct writer writer = {.name = out};
    out->size = 0;
    for (size_t i = size; i-- > 0;) {
        label_open(&writer);
        if (size == IPV4_SIZE) {
            add_number(&writer, address[i]);
        } else {
            label_add(&writer, (uint8_t)digits[address[i] & 15]);
            label_close(&writer);
            label_open(&writer);
            label_add(&writer, (uint8_t)digits[address[i] >> 4]);
        }
        label_close(&writer);
    }
    bool is_ipv4 = size == IPV4_SIZE;
    size_t end = is_ipv4 ? sizeof ipv4_end : sizeof ipv6_end;
    memcpy(out->bytes + out->size, is_ipv4 ? ipv4_end : ipv6_end, end);
    out->size += end;
}
