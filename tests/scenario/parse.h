/*
 * A line of a play as words, and words as values. What cannot be read ends the play with the place where it
 * stands.
 */
#ifndef SCENARIO_PARSE_H
#define SCENARIO_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"

#include "dns/dns.h"

enum { WORDS_MAX = 96, LINE_MAX_SIZE = 2048 };

struct words {
    char text[LINE_MAX_SIZE];
    char *word[WORDS_MAX];
    size_t count, next;
};

/* Where the play is; printed with every failure. */
struct place {
    const char *path;
    unsigned line;
    const char *text;
};
extern struct place place;

/* Ends the program with the place and the reason. */
_Noreturn void play_fails(const char *format, ...) __attribute__((format(printf, 1, 2)));

void words_split(struct words *words, const char *line);

/* The next word, or the end of the play when there is none. */
const char *words_next(struct words *words);

/* Takes these words, separated by one space, when they are the next ones. */
bool words_take(struct words *words, const char *phrase);

/* Whether all words are used up. */
bool words_done(const struct words *words);

/* The rest must be empty. */
void words_end(const struct words *words);

unsigned long words_number(struct words *words);

/* "1500ms", "2s", "10m" in nanoseconds. */
uint64_t words_duration(struct words *words);

struct address words_address(struct words *words);

/* Wire form of a name with \DDD escapes; returns its size. */
size_t parse_name(const char *text, uint8_t out[DNS_NAME_MAX]);

uint16_t parse_type(const char *text);
uint16_t parse_class(const char *text, bool *known);
unsigned parse_rcode(const char *text);

/* Hexadecimal digits, "-" for none; returns the number of bytes. */
size_t parse_hex(const char *text, uint8_t *out, size_t capacity);

#endif
