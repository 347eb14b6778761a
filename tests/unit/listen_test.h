/* What the two files of the listen test share: one loop, doors of one hall with a UDP and a TCP socket, and
 * clients. */
#ifndef LISTEN_TEST_H
#define LISTEN_TEST_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "base/clock.h"

#include "listen/internal.h"

enum { CONNECTIONS = 4, PER_CLIENT = 3 };

#define IDLE    (300 * CLOCK_MILLISECOND)
#define MESSAGE (150 * CLOCK_MILLISECOND)
#define TIMEOUT (600 * CLOCK_MILLISECOND)

extern struct event_loop *loop;
extern struct stream_shop shop;
extern struct log quiet;
extern struct metrics_worker *page;
extern struct guard_connections *counts;
extern struct query_hall *hall;
extern struct listen_hall *doors;
extern int tcp_socket;

struct address address_of(const char *text);

/* A hall without a door, and the one of the test with two. */
struct listen_hall *open_empty_doors(void);
void open_doors(const char *udp, const char *tcp);

uint64_t meter(enum metrics_meter which);
void turn_for(uint64_t span);
void turn_until(enum metrics_meter which, uint64_t wanted);

/* A transfer, which the hall refuses at once, or an address, which waits. */
size_t write_query(uint8_t *out, uint16_t type);
int connect_client(void);
void send_bytes(int descriptor, const uint8_t *bytes, size_t size);
void send_query(int descriptor, uint16_t type);
bool is_closed(int descriptor);

/* The answer's code, after which nothing more waits. */
unsigned read_answer(int descriptor);

/* ---- listen_passing_test.c ---- */

void an_idle_connection_goes_on_with_the_heir(void **state);
void what_was_read_of_a_question_goes_along(void **state);
void a_question_is_answered_before_its_connection_goes(void **state);
void connections_wait_for_an_heir_that_is_busy(void **state);
void an_heir_that_is_gone_takes_nothing(void **state);
void one_that_lost_an_answer_is_closed(void **state);
void an_heir_passes_on_when_it_ends_itself(void **state);
void what_belongs_to_no_door_is_closed(void **state);
void connections_may_come_from_several(void **state);

#endif
