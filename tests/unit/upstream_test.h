/* What the files of the upstream's test share: servers that do what the test says, over sockets of the
 * loopback, and a pool that asks them without TLS. */
#ifndef TESTS_UNIT_UPSTREAM_TEST_H
#define TESTS_UNIT_UPSTREAM_TEST_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "upstream/internal.h"

enum {
    SERVERS = 3,
    CONNECTIONS = 16,
    ASKS = 512,
    HEARD_MAX = 8192,
    BUFFER_SIZE = 1 << 18,
    RING_SIZE = 1 << 16
};

/* ---- servers that do what the test says ---- */

struct connection {
    int descriptor; /* -1 while unused */
    uint8_t input[BUFFER_SIZE];
    size_t input_size;
};

struct server {
    int listener; /* -1: connections are refused */
    struct address address;
    struct connection connections[CONNECTIONS];
    unsigned accepted;
    struct heard {
        struct connection *from;
        size_t size;
        uint8_t message[64];
    } heard[HEARD_MAX];
    size_t heard_count;
};

struct asked {
    struct upstream_ask ask;
    unsigned done;
    bool inside;
    int error;
    unsigned rcode;
    const char *server, *reason;
    uint8_t message[64];
};

extern struct server servers[SERVERS];
extern struct event_loop *loop;
extern struct metrics *metrics;
extern struct upstream_pool *pool;
extern struct asked asked[ASKS];
extern const struct upstream_options usual;

/* A fresh world for each test; the pool is opened by the test and closed after it. */
int set_up(void **state);
int tear_down(void **state);
void open_pool(struct upstream_options options);
void open_pool_of(size_t count);

/* What a pool lives on here. */
struct upstream_surroundings surroundings(void);

void connection_close(struct connection *connection);

/* Connections are refused from here on. */
void server_refuse(struct server *server);

/* The question as its own answer, with this code. */
void server_answer(struct heard *heard, unsigned rcode);
uint16_t id_of(const struct heard *heard);

void ask(struct asked *question, uint64_t patience);
void ask_many(size_t count);
void forget_many(size_t count);

void turn(unsigned times);
void turn_for(uint64_t span);

#define TURN_UNTIL(condition)                                             \
    do {                                                                  \
        for (unsigned turns = 0; turns < 5000 && !(condition); turns++) { \
            turn(1);                                                      \
        }                                                                 \
        assert_true(condition);                                           \
    } while (0)

uint64_t meter(size_t server, enum metrics_upstream_meter which);

void backoff_doubles_within_its_bounds(void **state);
void backoff_is_never_twice_the_same(void **state);
void an_open_link_ends_the_backoff(void **state);
void a_burst_of_handshakes_keeps_the_budget(void **state);
void the_distance_of_connections_is_the_shorter_one(void **state);
void refused_connections_keep_their_distance(void **state);
void the_order_of_the_configuration_decides(void **state);
void a_question_that_lost_time_prefers_an_open_link(void **state);
void what_another_worker_found_out_counts(void **state);

/* ---- upstream_policy_test.c ---- */

int policy_set_up(void **state);
void the_mean_follows_the_answers(void **state);
void a_missing_answer_is_a_slow_one(void **state);
void nineteen_of_twenty_answers_are_not_late(void **state);
void turns_go_by_weight(void **state);
void chance_goes_by_weight(void **state);
void names_go_by_weight_and_only_lost_ones_move(void **state);
void the_fastest_is_asked_and_changes_are_noticed(void **state);
void the_third_is_looked_at_more_rarely(void **state);
void what_is_ahead_is_not_long_ago(void **state);
void a_stream_that_fails_moves_no_lead(void **state);
void ten_instances_do_not_move_in_step(void **state);

/* ---- upstream_facts_test.c ---- */

int facts_set_up(void **state);
int facts_tear_down(void **state);
void a_turn_is_news_once(void **state);
void numbers_come_back(void **state);
void a_failure_is_told_rarely(void **state);
void another_worker_may_be_ahead(void **state);
void workers_share_the_news(void **state);
void a_late_answer_is_measured(void **state);
void a_worker_tells_and_takes(void **state);
void an_answer_contradicts(void **state);

#endif
