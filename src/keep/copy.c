/* From one cache into another of another size. Called when the size is changed while the program runs. */
#include "base/list.h"

#include "keep/internal.h"

struct copying {
    struct cache_visitor visitor;
    struct cache *to;
    uint64_t generation;
};

static bool show(struct cache_visitor *visitor, struct span key, struct span value,
                 const struct cache_life *life)
{
    struct copying *copying = container_of(visitor, struct copying, visitor);
    cache_store(copying->to, copying->generation, key, value, life);
    return true;
}

void keep_copy(struct cache *from, struct cache *to)
{
    struct copying copying = {.visitor.visit = show, .to = to, .generation = cache_generation(to)};
    cache_visit(from, &copying.visitor);
}
