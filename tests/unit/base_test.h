/* The tests of the log, which stand in a file of their own. */
#ifndef TESTS_UNIT_BASE_TEST_H
#define TESTS_UNIT_BASE_TEST_H

void base_test_log_text(void **state);
void base_test_log_json(void **state);
void base_test_log_levels(void **state);
void base_test_log_time(void **state);
void base_test_log_cut(void **state);
void base_test_log_any_bytes(void **state);
void base_test_log_full(void **state);
void base_test_log_threads(void **state);

#endif
