/* Words and values of plays; see parse.h. Called by everything that reads a line. */
#include "parse.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct place place;

_Noreturn void play_fails(const char *format, ...)
{
    va_list arguments;
    fflush(stdout);
    fprintf(stderr, "%s:%u: %s\n  ", place.path, place.line, place.text != NULL ? place.text : "");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    fflush(stderr);
    _Exit(1);
}

void words_split(struct words *words, const char *line)
{
    words->count = words->next = 0;
    if (strlen(line) >= sizeof words->text) {
        play_fails("the line is too long");
    }
    memcpy(words->text, line, strlen(line) + 1);
    char *rest = words->text, *word;
    while ((word = strtok_r(rest, " \t\r\n", &rest)) != NULL) {
        if (words->count == WORDS_MAX) {
            play_fails("too many words");
        }
        words->word[words->count++] = word;
    }
}

bool words_done(const struct words *words)
{
    return words->next == words->count;
}

const char *words_next(struct words *words)
{
    if (words_done(words)) {
        play_fails("a word is missing at the end");
    }
    return words->word[words->next++];
}

bool words_take(struct words *words, const char *phrase)
{
    size_t at = words->next;
    while (*phrase != '\0') {
        size_t size = strcspn(phrase, " ");
        if (at == words->count || strlen(words->word[at]) != size ||
            memcmp(words->word[at], phrase, size) != 0) {
            return false;
        }
        at++;
        phrase += size + (phrase[size] == ' ');
    }
    words->next = at;
    return true;
}

void words_end(const struct words *words)
{
    if (!words_done(words)) {
        play_fails("\"%s\" is not understood here", words->word[words->next]);
    }
}

unsigned long words_number(struct words *words)
{
    const char *text = words_next(words);
    char *end;
    unsigned long number = strtoul(text, &end, 0);
    if (strcmp(end, "KiB") == 0) {
        return number * 1024;
    }
    if (end == text || *end != '\0') {
        play_fails("\"%s\" is not a number", text);
    }
    return number;
}

uint64_t words_duration(struct words *words)
{
    static const struct {
        const char *unit;
        uint64_t nanoseconds;
    } units[] = {{"ms", CLOCK_MILLISECOND}, {"s", CLOCK_SECOND}, {"m", 60 * CLOCK_SECOND}};
    const char *text = words_next(words);
    char *end;
    uint64_t number = strtoull(text, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0] && end != text; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            return number * units[i].nanoseconds;
        }
    }
    play_fails("\"%s\" is not a duration", text);
}

struct address words_address(struct words *words)
{
    const char *text = words_next(words);
    struct address address;
    if (address_parse(span_text(text), 40000, &address) != 0) {
        play_fails("\"%s\" is not an address", text);
    }
    return address;
}

static uint8_t name_byte(const char **text)
{
    if (**text != '\\') {
        return (uint8_t) * (*text)++;
    }
    if (isdigit((unsigned char)(*text)[1])) {
        char digits[4] = {(*text)[1], (*text)[2], (*text)[3], '\0'};
        *text += 4;
        return (uint8_t)strtoul(digits, NULL, 10);
    }
    *text += 2;
    return (uint8_t)(*text)[-1];
}

size_t parse_name(const char *text, uint8_t out[DNS_NAME_MAX])
{
    size_t size = 0;
    while (*text != '\0' && strcmp(text, ".") != 0) {
        size_t length_at = size++;
        while (*text != '.' && *text != '\0' && size < DNS_NAME_MAX - 1) {
            out[size++] = name_byte(&text);
        }
        size_t length = size - length_at - 1;
        if (length == 0 || length > DNS_LABEL_MAX || *text != '.') {
            play_fails("a name has labels of 1 to 63 bytes and a dot behind each");
        }
        out[length_at] = (uint8_t)length;
        text++;
    }
    out[size++] = 0;
    return size;
}

uint16_t parse_type(const char *text)
{
    char name[16];
    for (unsigned type = 0; type <= UINT16_MAX; type++) {
        if (strcmp(dns_type_text((uint16_t)type, name), text) == 0) {
            return (uint16_t)type;
        }
    }
    play_fails("\"%s\" is not a type", text);
}

uint16_t parse_class(const char *text, bool *known)
{
    *known = true;
    if (strcmp(text, "CH") == 0) {
        return DNS_CLASS_CHAOS;
    }
    if (strncmp(text, "CLASS", 5) == 0) {
        return (uint16_t)strtoul(text + 5, NULL, 10);
    }
    *known = strcmp(text, "IN") == 0;
    return DNS_CLASS_IN;
}

unsigned parse_rcode(const char *text)
{
    char name[16];
    for (unsigned rcode = 0; rcode < 4096; rcode++) {
        if (strcmp(dns_rcode_text(rcode, name), text) == 0) {
            return rcode;
        }
    }
    play_fails("\"%s\" is not a response code", text);
}

size_t parse_hex(const char *text, uint8_t *out, size_t capacity)
{
    size_t size = 0;
    for (; strcmp(text, "-") != 0 && *text != '\0'; text += 2) {
        char digits[3] = {text[0], text[1], '\0'}, *end;
        unsigned long byte = strtoul(digits, &end, 16);
        if (end != digits + 2 || size == capacity) {
            play_fails("not hexadecimal digits, or too many of them");
        }
        out[size++] = (uint8_t)byte;
    }
    return size;
}
