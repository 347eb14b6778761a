/* The back door: what the workers know together. */
#include <pthread.h>

#include "upstream_test.h"

enum { THREADS = 4, ROUNDS = 20000 };

static struct upstream_facts *facts;
static int facts_descriptor;
static unsigned news[THREADS], probes[THREADS];

int facts_set_up(void **state)
{
    (void)state;
    return upstream_facts_open(&facts, &facts_descriptor);
}

int facts_tear_down(void **state)
{
    (void)state;
    upstream_facts_close(facts, facts_descriptor);
    return 0;
}

void a_turn_is_news_once(void **state)
{
    (void)state;
    struct upstream_fact *fact = upstream_facts_of(facts, 3, false);
    uint64_t since;
    assert_int_equal(upstream_fact_health(fact, &since), UPSTREAM_UNKNOWN);
    assert_false(upstream_facts_is_down(facts, 3));
    assert_true(upstream_fact_turn(fact, UPSTREAM_DOWN, 5 * CLOCK_SECOND));
    assert_false(upstream_fact_turn(fact, UPSTREAM_DOWN, 7 * CLOCK_SECOND));
    assert_int_equal(upstream_fact_health(fact, &since), UPSTREAM_DOWN);
    assert_int_equal(since, 7 * CLOCK_SECOND); /* when it was seen last */
    assert_true(upstream_facts_is_down(facts, 3));
    assert_false(upstream_facts_is_down(facts, 2));
    assert_true(upstream_fact_turn(fact, UPSTREAM_UP, 8 * CLOCK_SECOND));
    assert_false(upstream_facts_is_down(facts, 3));
}

void numbers_come_back(void **state)
{
    (void)state;
    struct upstream_fact *fact = upstream_facts_of(facts, 0, false);
    uint64_t measured_at;
    assert_int_equal(upstream_fact_latency(fact, &measured_at), 0);
    assert_int_equal(measured_at, 0);
    upstream_fact_set_latency(fact, 20 * CLOCK_MILLISECOND, 400000 * CLOCK_SECOND);
    assert_int_equal(upstream_fact_latency(fact, &measured_at), 20 * CLOCK_MILLISECOND);
    assert_int_equal(measured_at, 400000 * CLOCK_SECOND);
    upstream_fact_set_latency(fact, 100 * CLOCK_SECOND, CLOCK_SECOND);
    assert_in_range(upstream_fact_latency(fact, &measured_at), 16 * CLOCK_SECOND, 17 * CLOCK_SECOND);
    assert_int_equal(upstream_fact_idle_limit(fact), 0);
    upstream_fact_set_idle_limit(fact, 9 * CLOCK_SECOND);
    assert_int_equal(upstream_fact_idle_limit(fact), 9 * CLOCK_SECOND);
}

void a_failure_is_told_rarely(void **state)
{
    (void)state;
    struct upstream_fact *fact = upstream_facts_of(facts, 0, false);
    uint64_t now = 100 * CLOCK_SECOND;
    assert_true(upstream_fact_claim_telling(fact, "refused", now, true));
    assert_true(upstream_fact_claim_telling(fact, "refused", now, true));
    assert_false(upstream_fact_claim_telling(fact, "refused", now + 59 * CLOCK_SECOND, false));
    assert_false(upstream_fact_claim_telling(fact, "expired", now + 9 * CLOCK_SECOND, false));
    assert_true(upstream_fact_claim_telling(fact, "expired", now + 10 * CLOCK_SECOND, false));
    assert_false(upstream_fact_claim_telling(fact, "expired", now + 69 * CLOCK_SECOND, false));
    assert_true(upstream_fact_claim_telling(fact, "expired", now + 70 * CLOCK_SECOND, false));
}

/* Each worker reads the clock once a turn, so that what another has noted may be ahead of it. */
void another_worker_may_be_ahead(void **state)
{
    (void)state;
    struct upstream_fact *fact = upstream_facts_of(facts, 2, false);
    uint64_t now = 100 * CLOCK_SECOND, ahead = now + 3 * CLOCK_MILLISECOND;
    assert_true(upstream_fact_claim_telling(fact, "refused", ahead, true));
    assert_false(upstream_fact_claim_telling(fact, "refused", now, false));
    assert_true(upstream_fact_claim_probe(fact, ahead, 30 * CLOCK_SECOND));
    assert_false(upstream_fact_claim_probe(fact, now, 30 * CLOCK_SECOND));
    struct upstream_latency latency = {0};
    for (unsigned i = 0; i < 20; i++) {
        upstream_latency_note(&latency, now, 10 * CLOCK_MILLISECOND);
    }
    upstream_latency_adopt(&latency, 10 * CLOCK_MILLISECOND, ahead);
    upstream_latency_note(&latency, now, 26 * CLOCK_MILLISECOND);
    assert_in_range(latency.mean, 10 * CLOCK_MILLISECOND, 12 * CLOCK_MILLISECOND);
}

static void *turn_and_turn(void *argument)
{
    unsigned number = *(unsigned *)argument;
    struct upstream_fact *fact = upstream_facts_of(facts, 1, false);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        enum upstream_health health = i % 2 == 0 ? UPSTREAM_UP : UPSTREAM_DOWN;
        news[number] += upstream_fact_turn(fact, health, i * CLOCK_MILLISECOND);
        probes[number] += upstream_fact_claim_probe(fact, i * CLOCK_SECOND, 100 * ROUNDS * CLOCK_SECOND);
        uint64_t measured_at;
        upstream_fact_set_latency(fact, i * CLOCK_MICROSECOND, i * CLOCK_SECOND);
        upstream_fact_latency(fact, &measured_at);
    }
    return NULL;
}

/* Ups and downs alternate, whoever brings them: each worker that is told of one logs it alone. */
void workers_share_the_news(void **state)
{
    (void)state;
    pthread_t thread[THREADS];
    unsigned number[THREADS], all_news = 0, all_probes = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        number[i] = i;
        news[i] = probes[i] = 0;
        assert_int_equal(pthread_create(&thread[i], NULL, turn_and_turn, &number[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        all_news += news[i];
        all_probes += probes[i];
    }
    assert_int_equal(all_probes, 1);
    assert_in_range(all_news, ROUNDS, THREADS * ROUNDS);
    uint64_t since;
    assert_int_equal(upstream_fact_health(upstream_facts_of(facts, 1, false), &since), UPSTREAM_UP);
    assert_int_equal(all_news % 2, 0); /* from unknown to up again: as many of the one as of the other */
}

/* ---- with a server ---- */

/* An answer that nobody waits for any more still tells how fast its server is. */
void a_late_answer_is_measured(void **state)
{
    (void)state;
    open_pool_of(1);
    struct upstream_server *server = &pool->server[0];
    ask(&asked[0], 5 * CLOCK_SECOND);
    TURN_UNTIL(servers[0].heard_count == 1);
    turn_for(20 * CLOCK_MILLISECOND);
    forget_many(1);
    assert_int_equal(server->latency.counted, 0);
    turn_for(40 * CLOCK_MILLISECOND);
    server_answer(&servers[0].heard[0], 0);
    TURN_UNTIL(meter(0, METRICS_UPSTREAM_LATE) == 1);
    assert_int_equal(server->latency.counted, 1);
    assert_true(upstream_latency_late(&server->latency) >= 60 * CLOCK_MILLISECOND);
}

static void answer_one(void)
{
    size_t before = servers[0].heard_count;
    ask(&asked[0], 5 * CLOCK_SECOND);
    TURN_UNTIL(servers[0].heard_count == before + 1);
    server_answer(&servers[0].heard[before], 0);
    TURN_UNTIL(asked[0].done == 1);
}

/* What is known is told the others, and begun with. */
void a_worker_tells_and_takes(void **state)
{
    (void)state;
    open_pool_of(1);
    struct upstream_server *server = &pool->server[0];
    uint64_t moment;
    upstream_fact_set_idle_limit(server->fact, 3 * CLOCK_SECOND);
    answer_one();
    assert_int_equal(server->idle_limit, 3 * CLOCK_SECOND);
    assert_int_equal(upstream_fact_health(server->fact, &moment), UPSTREAM_UP);
    upstream_fact_latency(server->fact, &moment);
    assert_true(moment > 0);
}

/* Another worker finds it down while it answers here: for a moment that stands, and then it is up again. */
void an_answer_contradicts(void **state)
{
    (void)state;
    open_pool_of(1);
    struct upstream_server *server = &pool->server[0];
    uint64_t since, now = event_now(loop);
    answer_one();
    upstream_fact_turn(server->fact, UPSTREAM_DOWN, now);
    answer_one();
    assert_int_equal(upstream_fact_health(server->fact, &since), UPSTREAM_DOWN);
    upstream_fact_turn(server->fact, UPSTREAM_DOWN, now - UPSTREAM_LOG_DISTANCE);
    answer_one();
    assert_int_equal(upstream_fact_health(server->fact, &since), UPSTREAM_UP);
}
