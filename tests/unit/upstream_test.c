/* The back door: ids, what is forgotten, and a question's way, over real sockets of the loopback. */
#include "upstream_test.h"

#include <string.h>

#include "base/error.h"

static struct upstream_link *first_link(void)
{
    assert_false(list_empty(&pool->server[0].open));
    return container_of(pool->server[0].open.next, struct upstream_link, node);
}

/* ---- ids ---- */

/* Every id differs from those that are out; over thousands, no bit is always the same, no step is common.
 * Shows: pain 25 */
static void ids_are_unpredictable_and_unique_among_those_out(void **state)
{
    (void)state;
    open_pool_of(1);
    unsigned ones[16] = {0}, drawn = 0, next = 0;
    for (unsigned round = 0; round < 8; round++) {
        size_t before = servers[0].heard_count;
        ask_many(ASKS);
        TURN_UNTIL(servers[0].heard_count == before + ASKS);
        static bool out[65536];
        memset(out, 0, sizeof out);
        for (size_t i = before; i < before + ASKS; i++) {
            uint16_t id = id_of(&servers[0].heard[i]);
            assert_false(out[id]);
            out[id] = true;
            for (unsigned bit = 0; bit < 16; bit++) {
                ones[bit] += id >> bit & 1;
            }
            next += i > before && (uint16_t)(id - id_of(&servers[0].heard[i - 1])) <= 1;
            drawn++;
        }
        for (size_t i = before; i < before + ASKS; i++) {
            server_answer(&servers[0].heard[i], 0);
        }
        TURN_UNTIL(asked[ASKS - 1].done == 1);
    }
    for (unsigned bit = 0; bit < 16; bit++) {
        assert_in_range(ones[bit], drawn * 4 / 10, drawn * 6 / 10);
    }
    assert_in_range(next, 0, 20);
    assert_int_equal(meter(0, METRICS_UPSTREAM_ANSWER), drawn);
}

/* Shows: pain 25, regression 1, regression 3 */
static void an_id_is_not_given_again_before_its_answer(void **state)
{
    (void)state;
    struct upstream_options options = usual;
    options.in_flight = 16;
    open_pool(options);
    static bool out[65536];
    memset(out, 0, sizeof out);
    for (unsigned round = 0; round < 4; round++) {
        ask_many(10);
        TURN_UNTIL(servers[0].heard_count == (round + 1) * 10);
        forget_many(10);
    }
    for (size_t i = 0; i < 40; i++) {
        uint16_t id = id_of(&servers[0].heard[i]);
        assert_false(out[id]);
        out[id] = true;
    }
    assert_int_equal(pool->slot_count - first_link()->free_count, 40);
    assert_int_equal(first_link()->in_flight, 0);
    for (size_t i = 0; i < 40; i++) {
        server_answer(&servers[0].heard[i], 0);
    }
    TURN_UNTIL(meter(0, METRICS_UPSTREAM_LATE) == 40);
    assert_int_equal(first_link()->free_count, pool->slot_count);
    assert_int_equal(meter(0, METRICS_UPSTREAM_SUPERSEDED), 40);
}

/* Shows: pain 25, regression 1 */
static void a_link_without_ids_gives_way_to_a_new_one(void **state)
{
    (void)state;
    struct upstream_options options = usual;
    options.in_flight = 16;
    open_pool(options);
    unsigned slots = pool->slot_count;
    for (unsigned i = 0; i < slots; i++) {
        ask(&asked[0], 5 * CLOCK_SECOND);
        TURN_UNTIL(servers[0].heard_count == i + 1);
        upstream_forget(&asked[0].ask);
    }
    assert_int_equal(servers[0].accepted, 1);
    ask(&asked[0], 5 * CLOCK_SECOND);
    TURN_UNTIL(servers[0].heard_count == slots + 1);
    assert_int_equal(servers[0].accepted, 2);
    assert_int_equal(meter(0, METRICS_UPSTREAM_CLOSES_EXHAUSTED), 1);
    assert_int_equal(meter(0, METRICS_UPSTREAM_CONNECTIONS), 1);
    server_answer(&servers[0].heard[slots], 0);
    TURN_UNTIL(asked[0].done == 1);
}

/* The most questions on one link that the configuration takes. */
static void the_largest_table_of_ids_works(void **state)
{
    (void)state;
    struct upstream_options options = usual;
    options.in_flight = UPSTREAM_IN_FLIGHT_MAX;
    open_pool(options);
    assert_int_equal(pool->slot_count, 8192);
    ask_many(ASKS);
    TURN_UNTIL(servers[0].heard_count == ASKS);
    for (size_t i = 0; i < ASKS; i++) {
        server_answer(&servers[0].heard[i], 0);
    }
    TURN_UNTIL(meter(0, METRICS_UPSTREAM_ANSWER) == ASKS);
    assert_int_equal(first_link()->free_count, 8192);
}

static void a_twin_of_an_answer_is_counted_and_nothing_else(void **state)
{
    (void)state;
    open_pool_of(1);
    ask(&asked[0], CLOCK_SECOND);
    TURN_UNTIL(servers[0].heard_count == 1);
    server_answer(&servers[0].heard[0], 0);
    server_answer(&servers[0].heard[0], 0);
    TURN_UNTIL(meter(0, METRICS_UPSTREAM_MISMATCH) == 1);
    assert_int_equal(asked[0].done, 1);
    assert_int_equal(meter(0, METRICS_UPSTREAM_CONNECTIONS), 1);
}

/* ---- forgetting and closing ---- */

static void a_forgotten_question_leaves_nothing_behind(void **state)
{
    (void)state;
    open_pool_of(2);
    ask_many(3);
    forget_many(3); /* before there is a link */
    assert_true(list_empty(&pool->server[0].waiting) && list_empty(&pool->waiting));
    TURN_UNTIL(servers[0].accepted == 1);
    ask_many(3);
    TURN_UNTIL(servers[0].heard_count == 3);
    forget_many(3); /* on a link */
    assert_true(list_empty(&first_link()->attempts));
    memset(asked, 0xa5, sizeof asked);
    server_answer(&servers[0].heard[1], 0);
    TURN_UNTIL(meter(0, METRICS_UPSTREAM_LATE) == 1);
    turn_for(200 * CLOCK_MILLISECOND); /* no timer of theirs comes any more */
    server_refuse(&servers[0]);
    server_refuse(&servers[1]);
    connection_close(&servers[0].connections[0]);
    TURN_UNTIL(list_empty(&pool->server[0].open));
    ask_many(2);
    TURN_UNTIL(!list_empty(&pool->waiting));
    forget_many(2); /* nowhere */
    assert_true(list_empty(&pool->waiting));
}

static void a_pool_closes_with_links_in_every_state(void **state)
{
    (void)state;
    open_pool_of(3);
    ask_many(1);
    TURN_UNTIL(servers[0].heard_count == 1);
    turn_for(usual.attempt_timeout + 50 * CLOCK_MILLISECOND); /* the first is suspect, or asked elsewhere */
    forget_many(1);
    ask_many(1); /* perhaps on its way to a new link */
    forget_many(1);
    assert_true(pool->links.taken > 0);
}

/* ---- a question's way ---- */

/* Shows: F07 */
static void a_failure_is_asked_once_more_elsewhere(void **state)
{
    (void)state;
    open_pool_of(3);
    ask(&asked[0], 2 * CLOCK_SECOND);
    TURN_UNTIL(servers[0].heard_count == 1);
    server_answer(&servers[0].heard[0], DNS_RCODE_SERVFAIL);
    TURN_UNTIL(servers[1].heard_count == 1);
    server_answer(&servers[1].heard[0], DNS_RCODE_REFUSED);
    TURN_UNTIL(asked[0].done == 1);
    assert_int_equal(asked[0].rcode, DNS_RCODE_REFUSED);
    assert_int_equal(servers[2].heard_count, 0);
    assert_int_equal(meter(0, METRICS_UPSTREAM_FAILURE) + meter(1, METRICS_UPSTREAM_FAILURE), 2);
}

/* Shows: L06, pain 6 */
static void questions_of_a_closed_link_go_elsewhere_at_once(void **state)
{
    (void)state;
    struct upstream_options options = usual;
    options.attempt_timeout = 4 * CLOCK_SECOND;
    options.server_count = 2;
    open_pool(options);
    ask_many(20);
    TURN_UNTIL(servers[0].heard_count == 20);
    connection_close(servers[0].heard[0].from);
    TURN_UNTIL(servers[0].heard_count + servers[1].heard_count == 40);
    for (size_t i = 0; i < servers[1].heard_count; i++) {
        server_answer(&servers[1].heard[i], 0);
    }
    for (size_t i = 20; i < servers[0].heard_count; i++) {
        server_answer(&servers[0].heard[i], 0);
    }
    for (size_t i = 0; i < 20; i++) {
        TURN_UNTIL(asked[i].done == 1);
        assert_int_equal(asked[i].error, 0);
    }
    assert_int_equal(meter(0, METRICS_UPSTREAM_CLOSED), 20);
    assert_int_equal(meter(0, METRICS_UPSTREAM_CLOSES_IN_FLIGHT), 1);
}

/* Shows: pain 5, F02 */
static void an_idle_close_is_no_failure(void **state)
{
    (void)state;
    open_pool_of(2);
    for (unsigned i = 0; i < 5; i++) {
        ask(&asked[0], CLOCK_SECOND);
        TURN_UNTIL(servers[0].heard_count == i + 1);
        server_answer(&servers[0].heard[i], 0);
        TURN_UNTIL(asked[0].done == 1);
        connection_close(servers[0].heard[i].from);
        TURN_UNTIL(list_empty(&pool->server[0].open));
    }
    assert_int_equal(meter(0, METRICS_UPSTREAM_CLOSES_IDLE), 5);
    assert_int_equal(meter(0, METRICS_UPSTREAM_UP), 1);
    assert_int_equal(servers[1].accepted, 0);
    assert_false(pool->server[0].failing);
}

#define TEST(name)        cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define POLICY_TEST(name) cmocka_unit_test_setup(name, policy_set_up)
#define FACTS_TEST(name)  cmocka_unit_test_setup_teardown(name, facts_set_up, facts_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ids_are_unpredictable_and_unique_among_those_out),
        TEST(an_id_is_not_given_again_before_its_answer),
        TEST(a_link_without_ids_gives_way_to_a_new_one),
        TEST(the_largest_table_of_ids_works),
        TEST(a_twin_of_an_answer_is_counted_and_nothing_else),
        TEST(a_forgotten_question_leaves_nothing_behind),
        TEST(a_pool_closes_with_links_in_every_state),
        TEST(backoff_doubles_within_its_bounds),
        TEST(backoff_is_never_twice_the_same),
        TEST(an_open_link_ends_the_backoff),
        TEST(a_burst_of_handshakes_keeps_the_budget),
        TEST(the_distance_of_connections_is_the_shorter_one),
        TEST(refused_connections_keep_their_distance),
        TEST(the_order_of_the_configuration_decides),
        TEST(a_question_that_lost_time_prefers_an_open_link),
        TEST(what_another_worker_found_out_counts),
        TEST(a_failure_is_asked_once_more_elsewhere),
        TEST(questions_of_a_closed_link_go_elsewhere_at_once),
        TEST(an_idle_close_is_no_failure),
        POLICY_TEST(the_mean_follows_the_answers),
        POLICY_TEST(a_missing_answer_is_a_slow_one),
        POLICY_TEST(nineteen_of_twenty_answers_are_not_late),
        POLICY_TEST(turns_go_by_weight),
        POLICY_TEST(chance_goes_by_weight),
        POLICY_TEST(names_go_by_weight_and_only_lost_ones_move),
        POLICY_TEST(the_fastest_is_asked_and_changes_are_noticed),
        POLICY_TEST(the_third_is_looked_at_more_rarely),
        POLICY_TEST(what_is_ahead_is_not_long_ago),
        POLICY_TEST(a_stream_that_fails_moves_no_lead),
        POLICY_TEST(ten_instances_do_not_move_in_step),
        FACTS_TEST(a_turn_is_news_once),
        FACTS_TEST(numbers_come_back),
        FACTS_TEST(a_failure_is_told_rarely),
        FACTS_TEST(another_worker_may_be_ahead),
        FACTS_TEST(workers_share_the_news),
        TEST(a_late_answer_is_measured),
        TEST(a_worker_tells_and_takes),
        TEST(an_answer_contradicts),
    };
    return cmocka_run_group_tests_name("upstream", tests, NULL, NULL);
}
