/*
 * "Did you mean": the nearest known word by edit distance, where a swap of two neighbours counts as one edit.
 * A word is near when no more than a third of it, and at most three letters, is wrong.
 */
#include "config/table.h"

enum { WORD_MAX = CONFIG_NAME_SIZE - 1, DISTANCE_MAX = 3 };

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment over three rows. Both words are at most WORD_MAX long. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1];
    size_t a_size = strlen(a), b_size = strlen(b);
    for (size_t j = 0; j <= b_size; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_size; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t changed = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least_of(changed, least_of(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = least_of(row[j], before[j - 2] + 1);
            }
        }
    }
    return rows[a_size % 3][b_size];
}

void config_suggestion_init(struct config_suggestion *suggestion, const char *written)
{
    *suggestion = (struct config_suggestion){.written = written, .distance = SIZE_MAX};
}

void config_suggestion_offer(struct config_suggestion *suggestion, const char *word)
{
    size_t size = strlen(word);
    if (strlen(suggestion->written) > WORD_MAX || size > WORD_MAX) {
        return;
    }
    size_t distance = edit_distance(suggestion->written, word);
    size_t allowed = least_of(DISTANCE_MAX, size < 3 ? 1 : size / 3);
    if (distance <= allowed && distance < size && distance < suggestion->distance) {
        suggestion->distance = distance;
        memcpy(suggestion->best, word, size + 1);
    }
}
