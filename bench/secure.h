/*
 * A connection over TLS to a server whose certificate is checked, for the programs of the bench that ask one.
 */
#ifndef BENCH_SECURE_H
#define BENCH_SECURE_H

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Shakes hands on a descriptor that blocks; exits when the server has no certificate for `name` from one of
 * the authorities in that file. */
SSL *secure_open(int descriptor, const char *authorities, const char *name);
void secure_close(SSL *connection);

/* As read and write do on a descriptor that does not block; whatever ends the connection is 0 or an errno
 * other than EAGAIN. What was read ahead is not announced by the descriptor, so read until EAGAIN. */
ssize_t secure_read(SSL *connection, uint8_t *bytes, size_t room);
ssize_t secure_write(SSL *connection, const uint8_t *bytes, size_t size);

#endif
