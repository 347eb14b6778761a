/* What the files of the monitor's test share, and the tests that stand in files of their own. */
#ifndef TESTS_UNIT_MONITOR_TEST_H
#define TESTS_UNIT_MONITOR_TEST_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

/* What was printed between the two, terminated. */
extern char printed[1 << 20];

/* Standard output and error go to a file until capture_end, which reads it. */
void capture_begin(void);
void capture_end(void);

/* The exit code of a child that does this. */
int run_child(int (*body)(void));

void the_lowest_limit_above_a_process_holds(void **state);
void groups_that_are_not_seen_here_limit_nothing(void **state);

void without_a_manager_nothing_is_read_or_told(void **state);
void what_a_manager_gives_is_read(void **state);
void what_no_manager_would_give_is_refused(void **state);
void a_manager_is_told(void **state);
void a_manager_without_room_is_waited_for_shortly(void **state);
void what_was_stored_comes_back(void **state);
void sockets_that_cannot_be_served_are_refused(void **state);
void passed_sockets_are_found_by_address(void **state);
void passed_sockets_are_shared_out(void **state);
void passed_sockets_must_be_configured(void **state);
void a_pulse_is_asked_for_and_told(void **state);
void a_pulse_that_does_not_come_is_told(void **state);
void a_watchdog_is_fed_by_pulses(void **state);

#endif
