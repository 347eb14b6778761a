/*
 * The options that are lists of texts: files of names, names of special use, records. What an entry may be is
 * the matter of the room that will use it; here it is told with its place. A list replaces the list of a
 * lower layer as a whole.
 */
#include "config/table.h"

static const char *refusal_of(const struct config_option *option, const char *text)
{
    switch (option->type) {
    case CONFIG_NAMES:
        return local_forward_refusal(text);
    case CONFIG_RECORDS:
        return local_record_refusal(text);
    default:
        return text[0] == '\0'                  ? "expected the path of a file"
               : strlen(text) > CONFIG_TEXT_MAX ? "is too long"
                                                : NULL;
    }
}

static void text_add(struct config_work *work, const struct config_option *option,
                     const struct config_node *node, struct config_texts *texts)
{
    const char *text = config_node_text(work, node);
    if (text == NULL) {
        return;
    }
    const char *refusal = refusal_of(option, text);
    if (refusal != NULL) {
        config_complain(work, &node->place, "\"%.80s\": %s", text, refusal);
        return;
    }
    char *copy = config_arena_text(work->arena, span_text(text));
    if (copy == NULL) {
        config_complain_memory(work);
        return;
    }
    texts->places[texts->count] = node->place;
    texts->items[texts->count++] = copy;
}

void config_texts_set(struct config_work *work, const struct config_option *option,
                      const struct config_node *list)
{
    struct config_texts *texts =
        (struct config_texts *)(void *)((char *)&work->snapshot->config + option->offset);
    *texts = (struct config_texts){0};
    if (list->count > option->most) {
        config_complain(work, &list->place, "holds %zu entries; the most is %zu", list->count,
                        (size_t)option->most);
        return;
    }
    texts->items = config_arena_take(work->arena, (list->count + 1) * sizeof *texts->items);
    texts->places = config_arena_take(work->arena, (list->count + 1) * sizeof *texts->places);
    if (texts->items == NULL || texts->places == NULL) {
        config_complain_memory(work);
        return;
    }
    for (const struct config_node *node = list->first; node != NULL; node = node->next) {
        text_add(work, option, node, texts);
    }
}
