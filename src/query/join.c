/*
 * Which questions are out: a table by their keys, so that the same question is not asked twice at a time.
 * Called by wait.c. A leader with as many followers as are answered in one turn is found no more; the next
 * client then leads again.
 */
#include <string.h>

#include "query/internal.h"

static struct query **bucket_of(struct query_hall *hall, uint64_t hash)
{
    return &hall->out[hash % QUERY_OUT_BUCKETS];
}

static bool is_same(const struct query *leader, const struct query_passage *passage)
{
    const struct dns_view *view = &leader->view;
    const struct dns_query *query = &passage->query;
    size_t size = query->question.size, name = size - 4;
    return leader->group == passage->group && view->question.size == size &&
           view->dnssec_ok == query->dnssec_ok && view->cd == query->cd &&
           memcmp(view->question.data + name, query->question.data + name, 4) == 0 &&
           dns_name_equal(view->question.data, query->question.data, name);
}

static uint64_t hash_of(const struct query_passage *passage)
{
    const struct dns_query *query = &passage->query;
    struct dns_key_form form = {.kind = DNS_KEY_ANSWER,
                                .group = (uint8_t)passage->group,
                                .dnssec_ok = query->dnssec_ok,
                                .cd = query->cd};
    uint8_t key[DNS_KEY_MAX];
    size_t size = dns_question_key(query->question, &form, key);
    return hash_bytes(&passage->hall->options.hash_key, span_of(key, size));
}

struct query *query_join_find(struct query_passage *passage)
{
    struct query_hall *hall = passage->hall;
    passage->hash = hash_of(passage);
    uint64_t generation = query_generation(hall); /* after a flush nobody waits for what was asked before */
    struct query *leader = *bucket_of(hall, passage->hash);
    while (leader != NULL && (leader->hash != passage->hash || leader->generation != generation ||
                              leader->follower_count == QUERY_FOLLOWERS_MOST || !is_same(leader, passage))) {
        leader = leader->next_out;
    }
    return leader;
}

void query_join_offer(struct query *leader)
{
    struct query **bucket = bucket_of(leader->hall, leader->hash);
    leader->next_out = *bucket;
    *bucket = leader;
}

void query_join_withdraw(struct query *leader)
{
    struct query **place = bucket_of(leader->hall, leader->hash);
    while (*place != leader) {
        place = &(*place)->next_out;
    }
    *place = leader->next_out;
}
