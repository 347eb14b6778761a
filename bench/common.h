/*
 * What the programs of the bench share: the command line, the clock, sockets on IPv4, and the few bytes of
 * DNS that they must agree about. The rule of every answer: the address of a name is a hash of the name in
 * lower case, its TTL is BENCH_TTL; so whoever asks can tell a right answer from a wrong one without a zone.
 *
 * Nothing here is used by dnseal, and nothing of dnseal is used here: what measures shares no fault with what
 * is measured.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    BENCH_TTL = 300,
    BENCH_BATCH = 64,          /* datagrams in one call */
    BENCH_HEADER_SIZE = 12,    /* RFC 1035 section 4.1.1 */
    BENCH_QUERY_MAX = 512,     /* of what is asked */
    BENCH_DATAGRAM_MAX = 2048, /* of what is answered */
    BENCH_OPT_SIZE = 11,       /* RFC 6891 section 6.1.2, without options */
    BENCH_PADDED_SIZE = 128    /* RFC 8467 section 4.1 */
};

/* In nanoseconds; numbers that are divided by, and no enumerators. */
#define BENCH_SECOND      1000000000
#define BENCH_MILLISECOND 1000000

/* ---- failing, the clock ---- */

/* Tells what failed and errno on standard error, and exits with 1. */
_Noreturn void bench_fail(const char *what);

/* Monotonic nanoseconds. */
uint64_t bench_now(void);

/* Memory that is a file, which others read and write while the program runs; without a path it is the
 * program's alone. What was not written yet is zero. */
void *bench_share(const char *path, size_t size);

/* ---- the command line ---- */

/* `--name VALUE`; exactly one of the three places is set. The last of a table has no name. */
struct bench_option {
    const char *name;
    double *number;
    const char **text;
    bool *flag; /* takes no value */
};

/* Exits with 2 when the arguments are not those of the table. */
void bench_options(int argc, char **argv, const struct bench_option *options);

/* ---- sockets ---- */

struct sockaddr_in bench_address(const char *text, double port);

/* Without blocking, the kernel's buffers as large as it allows. */
int bench_udp_socket(void);
int bench_udp_bind(const struct sockaddr_in *local);

/* The first listens; of the second the caller says whether it blocks. */
int bench_tcp_listen(const struct sockaddr_in *local);
void bench_tcp_options(int descriptor);

/* Room for one recvmmsg or sendmmsg. */
struct bench_batch {
    struct mmsghdr messages[BENCH_BATCH];
    struct iovec parts[BENCH_BATCH];
    struct sockaddr_in peers[BENCH_BATCH];
    uint8_t bytes[BENCH_BATCH][BENCH_DATAGRAM_MAX];
};

void bench_batch_prepare(struct bench_batch *batch, bool with_peers);

/* How many came; 0 when none waits. */
size_t bench_batch_receive(struct bench_batch *batch, int descriptor);

/* The first `count` slots, each with the length of its part. */
void bench_batch_send(struct bench_batch *batch, int descriptor, size_t count);

/* ---- bytes of DNS ---- */

uint16_t bench_get16(const uint8_t *at);
uint32_t bench_get32(const uint8_t *at);
void bench_put16(uint8_t *at, uint16_t value);
void bench_put32(uint8_t *at, uint32_t value);

/* FNV-1a of the name in lower case. */
uint32_t bench_name_address(const uint8_t *name, size_t size);

/* Where the only question of a message ends; 0 when there is not exactly one that is whole and uncompressed.
 */
size_t bench_question_end(const uint8_t *message, size_t size);

/* Writes the answer to a query: question, address for type A, an OPT record when the query has records behind
 * the question. Its size, at most BENCH_QUERY_MAX + 32; 0 when the query cannot be read. */
size_t bench_answer(const uint8_t *query, size_t size, uint8_t *answer);

#endif
