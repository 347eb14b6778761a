/* Tests of the room that stand in files of their own: net_path_test.c, net_datagram_test.c,
 * net_manager_test.c.
 */
#ifndef NET_TEST_H
#define NET_TEST_H

void net_test_news_of_the_network(void **state);
void net_test_silence_of_a_path(void **state);
void net_test_path_of_no_connection(void **state);

void net_test_datagram_of_the_server_alone(void **state);
void net_test_datagram_of_before(void **state);
void net_test_datagram_refused(void **state);

void net_test_words_to_a_manager(void **state);
void net_test_words_never_wait(void **state);
void net_test_names_of_no_manager(void **state);
void net_test_sockets_that_can_be_served(void **state);
void net_test_descriptors_that_cannot_be_served(void **state);
void net_test_adopted_sockets(void **state);

#endif
