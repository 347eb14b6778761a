/*
 * The ring behind delayed.h. The server of the bench calls it for every answer when it was told to be slow;
 * without that nothing of the ring is ever touched.
 */
#include "delayed.h"

struct delayed_answer *delayed_push(struct delayed *delayed)
{
    if (delayed->count == DELAYED_MAX) {
        return NULL;
    }
    size_t at = (delayed->first + delayed->count) % DELAYED_MAX;
    delayed->count++;
    return &delayed->answers[at];
}

const struct delayed_answer *delayed_due(const struct delayed *delayed, uint64_t now)
{
    const struct delayed_answer *answer = &delayed->answers[delayed->first];
    return delayed->count > 0 && answer->due <= now ? answer : NULL;
}

void delayed_drop(struct delayed *delayed)
{
    delayed->first = (delayed->first + 1) % DELAYED_MAX;
    delayed->count--;
}

int64_t delayed_wait(const struct delayed *delayed, uint64_t now)
{
    if (delayed->count == 0) {
        return INT64_MAX;
    }
    uint64_t due = delayed->answers[delayed->first].due;
    return due > now ? (int64_t)(due - now) : 0;
}
