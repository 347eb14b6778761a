/* The back door: distances between connections, budgets, and the choice of a server. */
#include "base/error.h"

#include "upstream_test.h"

/* ---- distances and budgets ---- */

void backoff_doubles_within_its_bounds(void **state)
{
    (void)state;
    open_pool_of(1);
    struct upstream_server *server = &pool->server[0];
    uint64_t expected = usual.backoff_min;
    for (unsigned i = 0; i < 8; i++) {
        upstream_server_failed(server, ERROR_TLS, NULL, "expired");
        uint64_t distance = server->retry_at - event_now(loop);
        assert_int_equal(server->backoff, expected);
        assert_in_range(distance, expected * 8 / 10, expected * 12 / 10);
        expected = 2 * expected < usual.backoff_max ? 2 * expected : usual.backoff_max;
    }
    uint64_t since;
    assert_true(server->failing && server->handshake_failing);
    assert_int_equal(upstream_fact_health(server->fact, &since), UPSTREAM_DOWN);
    assert_true(pool->server[0].failing);
}

void backoff_is_never_twice_the_same(void **state)
{
    (void)state;
    open_pool_of(1);
    struct upstream_server *server = &pool->server[0];
    uint64_t least = UINT64_MAX, most = 0;
    for (unsigned i = 0; i < 300; i++) {
        server->backoff = 0;
        upstream_server_failed(server, ERROR_REFUSED, NULL, "refused");
        uint64_t distance = server->retry_at - event_now(loop);
        least = distance < least ? distance : least;
        most = distance > most ? distance : most;
    }
    assert_in_range(least, usual.backoff_min * 80 / 100, usual.backoff_min * 85 / 100);
    assert_in_range(most, usual.backoff_min * 115 / 100, usual.backoff_min * 120 / 100);
}

void an_open_link_ends_the_backoff(void **state)
{
    (void)state;
    open_pool_of(1);
    upstream_server_failed(&pool->server[0], ERROR_REFUSED, NULL, "refused");
    ask(&asked[0], CLOCK_SECOND);
    TURN_UNTIL(servers[0].heard_count == 1);
    assert_int_equal(pool->server[0].backoff, 0);
    assert_false(pool->server[0].failing);
    assert_int_equal(meter(0, METRICS_UPSTREAM_UP), 1);
    assert_false(event_timer_pending(&pool->server[0].retry));
    forget_many(1);
}

/* Shows: pain 9 */
void a_burst_of_handshakes_keeps_the_budget(void **state)
{
    (void)state;
    struct upstream_options options = usual;
    options.handshakes_per_second = 5;
    open_pool(options);
    struct upstream_server *server = &pool->server[0];
    unsigned begun = 0;
    for (unsigned i = 0; i < 20; i++) {
        upstream_server_connect(server, 0);
        if (upstream_server_is_dialing(server)) {
            begun++;
            upstream_dial_end(server);
        }
    }
    assert_int_equal(begun, 5);
    assert_false(event_timer_pending(&server->retry)); /* nobody waits */
}

/* A connection goes out again after the back-off, or after `most`, whichever is sooner. */
void the_distance_of_connections_is_the_shorter_one(void **state)
{
    (void)state;
    open_pool_of(1);
    struct upstream_server *server = &pool->server[0];
    uint64_t now = event_now(loop);
    server->failing = true;
    server->last_attempt_at = now;
    server->retry_at = now + CLOCK_SECOND;
    upstream_server_connect(server, 100 * CLOCK_MILLISECOND);
    assert_false(upstream_server_is_dialing(server));
    assert_false(event_timer_pending(&server->retry)); /* nobody waits for it */
    ask(&asked[0], 5 * CLOCK_SECOND);                  /* waits in the pool, with the shortest distance */
    assert_true(event_timer_pending(&server->retry));
    assert_int_equal(server->retry.due, now + usual.refused_retry);
    upstream_server_connect(server, 10 * CLOCK_SECOND); /* a later moment does not move it */
    assert_int_equal(server->retry.due, now + usual.refused_retry);
    server->last_attempt_at = now - CLOCK_SECOND;
    upstream_server_connect(server, CLOCK_SECOND);
    assert_true(upstream_server_is_dialing(server));
    forget_many(1);
}

/* Shows: F08, regression 8 */
void refused_connections_keep_their_distance(void **state)
{
    (void)state;
    open_pool(usual);
    server_refuse(&servers[0]);
    ask(&asked[0], 1200 * CLOCK_MILLISECOND);
    uint64_t last = 0;
    unsigned attempts = 0;
    for (unsigned i = 0; i < 5000 && asked[0].done == 0; i++) {
        turn(1);
        if (pool->server[0].last_attempt_at != last) {
            last = pool->server[0].last_attempt_at;
            attempts++;
        }
    }
    assert_int_equal(asked[0].done, 1);
    assert_int_equal(asked[0].error, ERROR_TIMEOUT);
    assert_string_equal(asked[0].server, "one");
    assert_string_equal(asked[0].reason, "refused");
    assert_in_range(attempts, 3, 12);
}

/* ---- the choice ---- */

void the_order_of_the_configuration_decides(void **state)
{
    (void)state;
    open_pool_of(3);
    struct upstream_ask question = {.pool = pool};
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[0]);
    pool->server[0].failing = true;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[1]);
    question.tries[1] = 1;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[2]);
    question.tries[2] = 1;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[1]);
    assert_false(upstream_has_untried(pool, &question));
    question.tries[1] = UPSTREAM_TRIES;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[2]);
    question.tries[2] = UPSTREAM_TRIES;
    assert_null(upstream_choose(pool, &question));
    assert_true(upstream_has_tries(pool, &question)); /* the failing one may come back */
    question.tries[0] = UPSTREAM_TRIES;
    assert_false(upstream_has_tries(pool, &question));
}

void a_question_that_lost_time_prefers_an_open_link(void **state)
{
    (void)state;
    open_pool_of(3);
    struct upstream_link open = {.server = &pool->server[1], .state = UPSTREAM_LINK_OPEN};
    struct upstream_link slow = {.server = &pool->server[0], .state = UPSTREAM_LINK_CONNECTING};
    struct upstream_ask question = {.pool = pool};
    pool->server[0].dial.begun_at = event_now(loop);
    list_append(&pool->server[1].open, &open.node);
    list_append(&pool->server[0].connecting, &slow.node);
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[0]);
    question.retried = true;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[1]);
    question.attempt[2] =
        (struct upstream_attempt){.server = &pool->server[1], .link = &open}; /* out there */
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[0]);
    pool->server[0].dial.begun_at -= usual.attempt_timeout; /* stalled: the last resort */
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[2]);
    question.tries[2] = 1;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[2]);
    question.tries[2] = UPSTREAM_TRIES;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[0]);
    assert_false(upstream_has_untried(pool, &question));
    list_remove(&slow.node);
    list_remove(&open.node);
}

/* Shows: F01 */
void what_another_worker_found_out_counts(void **state)
{
    (void)state;
    open_pool_of(2);
    struct upstream_ask question = {.pool = pool};
    uint64_t now = event_now(loop);
    upstream_fact_turn(pool->server[0].fact, UPSTREAM_DOWN, now - 5 * CLOCK_SECOND);
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[0]); /* that was long ago */
    upstream_fact_turn(pool->server[0].fact, UPSTREAM_DOWN, now);
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[1]);
    pool->server[1].failing = true;
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[0]); /* better than none */
    pool->server[1].last_attempt_at = now - CLOCK_SECOND;
    upstream_fact_turn(pool->server[1].fact, UPSTREAM_UP, now - 2 * CLOCK_SECOND);
    upstream_server_hear(&pool->server[1]);
    assert_true(pool->server[1].failing); /* it was up before it failed here */
    upstream_fact_turn(pool->server[1].fact, UPSTREAM_UP, now);
    upstream_server_hear(&pool->server[1]);
    assert_false(pool->server[1].failing);
    assert_ptr_equal(upstream_choose(pool, &question), &pool->server[1]);
}
