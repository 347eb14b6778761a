/* What the files of the tls test share: one world of certificates, and the tests of all but the first file.
 */
#ifndef TLS_TEST_H
#define TLS_TEST_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "tls/tls.h"

#include "tls_fixture.h"

extern struct fixture_certificate authority, middle, good;
extern struct tls_trust *trust;
extern const struct tls_identity by_name;

struct tls_client *client_for(const struct tls_identity *identity);

/* Meets the server once and expects this outcome, and that the server hears nothing where it is refused. */
void expect(const struct tls_identity *identity, SSL_CTX *server, enum tls_reason reason);

void sessions_are_resumed_by_their_own_identity_alone(void **state);
void a_resumption_ends_with_the_certificates(void **state);
void tickets_of_a_cut_connection_are_good(void **state);
void nothing_is_kept_of_a_refused_server(void **state);
void an_emptied_socket_is_not_read_again(void **state);
void connections_take_the_memory_they_say(void **state);
void authorities_take_the_memory_they_say(void **state);
void bytes_pass_both_ways(void **state);
void a_write_that_waits_is_given_again(void **state);
void the_ends_are_told_apart(void **state);
void renegotiation_is_not_taken_part_in(void **state);
void a_flood_without_data_ends_the_connection(void **state);

/* ---- tls_clock_test.c ---- */

void a_wrong_clock_is_named(void **state);
void a_clock_behind_excuses_no_end(void **state);
void pins_are_believed_without_a_clock(void **state);
void without_a_clock_all_but_dates_is_checked(void **state);

/* ---- tls_peer_test.c ---- */

void a_verified_chain_is_told(void **state);
void a_refused_chain_is_told(void **state);
void names_of_strangers_are_printable_and_bounded(void **state);
void what_was_agreed_on_is_told(void **state);

#endif
