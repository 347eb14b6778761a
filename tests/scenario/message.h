/*
 * Messages as plays describe them: the queries of clients and the answers of servers. Written by a second
 * hand, without the room that is tested, so that both may be wrong in whatever way a play wants.
 */
#ifndef SCENARIO_MESSAGE_H
#define SCENARIO_MESSAGE_H

#include "base/bytes.h"

#include "parse.h"

enum { MESSAGE_ROOM = 70000 };

/* A message under construction; `bytes` has MESSAGE_ROOM bytes. */
struct draft {
    struct bytes_writer writer;
    uint8_t bytes[MESSAGE_ROOM];
};

/* NAME TYPE [CLASS] and what follows it in "asks": the whole query. Returns its size. */
size_t message_write_query(struct words *words, uint16_t default_id, struct draft *draft);

/* What an answer does beyond being one. */
struct answer_manner {
    unsigned copies;
    bool stays_unanswered; /* the right answer may still be asked for */
    size_t cut;            /* bytes of the frame that are sent, 0 for all */
};

/* What follows "answers [NAME [TYPE]]": the answer to `query`. Returns its size. */
size_t message_write_answer(struct words *words, struct span query, struct draft *draft,
                            struct answer_manner *manner);

/* Bounds of the question within a message that has one. */
struct span message_question(struct span message);

/* Whether the question is NAME TYPE [CLASS], byte by byte or in any case; takes the words. */
struct asked {
    uint8_t question[DNS_QUESTION_MAX];
    size_t size;
};
void message_read_question(struct words *words, struct asked *asked);

/* The payload of an EDNS option of a message that is valid; false when it has none. */
bool message_option(struct span message, uint16_t code, struct span *payload);

#endif
