/* What the files of the engine's test share, and the tests of its log, which stand in a file of their own. */
#ifndef TESTS_UNIT_ENGINE_TEST_H
#define TESTS_UNIT_ENGINE_TEST_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

enum { TEXT_MAX = 1 << 22 };

/* What was read last, terminated. */
extern char heard_text[TEXT_MAX];

unsigned open_descriptors(void);

/* How often the word stands in it. */
unsigned count_of(const char *word);

/* Reads on behind `at` what comes until nothing came for `patience` milliseconds, or the other end is closed.
 */
size_t read_pipe(int descriptor, size_t at, int patience);

void lines_of_all_rings_come_out(void **state);
void a_writer_without_a_thread_writes_at_its_close(void **state);
void a_writer_that_may_not_go_on_writes_what_waits(void **state);
void a_reader_that_stopped_stops_nobody_else(void **state);
void lines_for_nobody_are_counted(void **state);
void a_line_that_was_cut_short_is_ended_first(void **state);
void a_blocked_log_is_given_up_after_a_while(void **state);
void a_redirected_log_keeps_no_old_file_open(void **state);

#endif
