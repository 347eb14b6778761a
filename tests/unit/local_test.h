/* What the files of this program share: building from text, asking, and looking at what is said. */
#ifndef LOCAL_TEST_H
#define LOCAL_TEST_H

#include "base/error.h"

#include "local/internal.h"

struct built {
    struct local_report report;
    int error;
    unsigned complaints;
    char first[512], last[512]; /* complaint */
    struct local *local;
};

struct texts {
    const char *records[8], *forward[8];
    const char *hosts, *block;
    bool no_special_use;
    enum local_block_answer block_answer;
};

struct built build_texts(const struct texts *texts);

struct said {
    enum local_verdict verdict;
    uint8_t message[DNS_MESSAGE_MAX];
    struct dns_answer answer;
};

/* The name as in a zone file. */
void ask(const struct local *local, const char *name, uint16_t type, struct said *out);

extern const struct CMUnitTest local_text_tests[];
extern const size_t local_text_count;

#endif
