/*
 * A second reader of DNS messages, slow and simple on purpose: it takes every name apart to its uncompressed
 * form, so that tests and fuzz targets can compare what two messages say without using what they test.
 */
#ifndef SUPPORT_DNS_RECORDS_H
#define SUPPORT_DNS_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum { PLAIN_NAME_MAX = 255, PLAIN_RECORD_MAX = 66000 };

/* One record without compression; names are in lower case, since those that point at the question take its
 * case. */
struct plain_record {
    int section; /* 0 answer, 1 authority, 2 additional */
    uint16_t type, class;
    uint32_t ttl;  /* 0 where the top bit is set */
    size_t ttl_at; /* its offset in the message */
    size_t owner_size, data_size;
    uint8_t owner[PLAIN_NAME_MAX];
    uint8_t data[PLAIN_RECORD_MAX];
};

struct plain_reader {
    struct span message;
    size_t at;
    int section;
    unsigned left[3];
};

/* Stands before the first record; the message has passed dns_answer_read or dns_query_read. Aborts where it
 * does not hold what these promise, a pointer that does not go backwards for one. */
void plain_begin(struct plain_reader *reader, struct span message);

/* The next record; false behind the last one, which must be the end of the message. */
bool plain_next(struct plain_reader *reader, struct plain_record *record);

/* The next record that is not OPT. */
bool plain_next_but_option(struct plain_reader *reader, struct plain_record *record);

bool plain_equal(const struct plain_record *a, const struct plain_record *b);

#endif
