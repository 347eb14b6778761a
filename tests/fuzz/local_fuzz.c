/*
 * Hosts files, block lists and records: whatever the text is, either there are complaints in printable ASCII
 * and nothing is built, or none, and what is built answers every question with a message that stands up to a
 * reader. The first byte says what the rest is.
 */
#include "base/error.h"

#include "dns/dns.h"

#include "local/local.h"
#include "target.h"

enum { TEXT_MAX = 4096 };

struct complaints {
    struct local_report report;
    size_t count;
};

static void note_error(struct local_report *report, const char *line)
{
    ((struct complaints *)(void *)report)->count++;
    for (; *line != '\0'; line++) {
        must(*line >= 0x20 && *line < 0x7f);
    }
}

static int add(struct local_plan *plan, uint8_t kind, struct span text)
{
    if (kind % 4 == 0) {
        return local_plan_hosts(plan, "hosts", text);
    }
    if (kind % 4 == 1) {
        return local_plan_block(plan, "block", text);
    }
    char copy[TEXT_MAX + 1];
    size_t size = text.size < TEXT_MAX ? text.size : TEXT_MAX;
    if (size > 0) {
        memcpy(copy, text.data, size);
    }
    copy[size] = '\0';
    const char *refusal = kind % 4 == 2 ? local_record_refusal(copy) : local_forward_refusal(copy);
    int error =
        kind % 4 == 2 ? local_plan_record(plan, "text", copy) : local_plan_forward(plan, "text", copy);
    must((refusal == NULL) == (error == 0));
    return error;
}

/* Asks for a name whose labels are the text's own bytes. */
static void ask(const struct local *local, struct span text, size_t at)
{
    uint8_t question[DNS_QUESTION_MAX], out[DNS_MESSAGE_MAX];
    size_t size = 0, label = 0, answer_size;
    for (; at < text.size && size < 200 && text.data[at] > ' '; at++) {
        bool is_dot = text.data[at] == '.';
        if (is_dot && size == label + 1) {
            break;
        }
        label = size == 0 || is_dot ? size++ : label;
        question[label] = (uint8_t)(size - label - 1);
        if (!is_dot && question[label] < DNS_LABEL_MAX) {
            question[size++] = text.data[at];
            question[label]++;
        }
    }
    if (size == 0 || question[label] == 0) {
        return;
    }
    static const uint8_t types[] = {1, 2, 6, 12, 16, 28, 43, 255};
    question[size++] = 0;
    for (size_t i = 0; i < sizeof types; i++) {
        struct dns_answer answer;
        bytes_put_u16(question + size, types[i]);
        bytes_put_u16(question + size + 2, DNS_CLASS_IN);
        if (local_answer(local, span_of(question, size + 4), out, sizeof out, &answer_size) !=
            LOCAL_UNKNOWN) {
            must(dns_answer_read(span_of(out, answer_size), &answer) == 0);
            must(dns_answer_matches(&answer, span_of(question, size + 4)));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct complaints complaints = {.report.error = note_error};
    struct local_options options = {.hash_key = {{1, 2}}, .special_use = true};
    struct local_plan *plan;
    struct local *local = NULL;
    if (size == 0) {
        return 0;
    }
    struct span text = span_of(data + 1, size - 1);
    must(local_plan_open(&options, &complaints.report, &plan) == 0);
    int error = add(plan, data[0], text);
    must((error == 0) == (complaints.count == 0));
    if (error == 0 && local_build(plan, &local) == 0) {
        for (size_t at = 0; at < text.size && at < 64; at++) {
            ask(local, text, at);
        }
    }
    local_plan_close(plan);
    local_free(local);
    return 0;
}
