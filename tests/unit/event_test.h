/* The tests of timers, which stand in a file of their own. */
#ifndef TESTS_UNIT_EVENT_TEST_H
#define TESTS_UNIT_EVENT_TEST_H

void event_test_timer_fires(void **state);
void event_test_timer_moved_and_cleared(void **state);
void event_test_timer_in_callbacks(void **state);
void event_test_timer_far(void **state);
void event_test_timer_model(void **state);
void event_test_timer_order(void **state);

#endif
