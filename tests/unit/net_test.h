/* Tests of the room that stand in net_path_test.c. */
#ifndef NET_TEST_H
#define NET_TEST_H

void net_test_news_of_the_network(void **state);
void net_test_silence_of_a_path(void **state);
void net_test_path_of_no_connection(void **state);

#endif
