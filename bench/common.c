/*
 * The ground under the programs of the bench; see common.h. A program of the bench that cannot go on ends
 * with a word about why: nobody depends on it staying alive.
 */
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { TYPE_A = 1, TYPE_OPT = 41, BUFFER_SIZE = 8 << 20 };

_Noreturn void bench_fail(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

uint64_t bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * BENCH_SECOND + (uint64_t)now.tv_nsec;
}

/* ---- shared memory ---- */

void *bench_share(const char *path, size_t size)
{
    int descriptor = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (path != NULL && (descriptor < 0 || ftruncate(descriptor, (off_t)size) != 0)) {
        bench_fail(path);
    }
    int flags = path != NULL ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, descriptor, 0);
    if (memory == MAP_FAILED) {
        bench_fail("shared memory");
    }
    if (descriptor >= 0) {
        close(descriptor);
    }
    return memory;
}

/* ---- the command line ---- */

static _Noreturn void usage(const struct bench_option *options)
{
    fputs("bench: the options are", stderr);
    for (const struct bench_option *option = options; option->name != NULL; option++) {
        fprintf(stderr, " --%s%s", option->name, option->flag != NULL ? "" : " VALUE");
    }
    fputc('\n', stderr);
    exit(2);
}

static const struct bench_option *find_option(const struct bench_option *options, const char *argument)
{
    if (strncmp(argument, "--", 2) != 0) {
        usage(options);
    }
    for (const struct bench_option *option = options; option->name != NULL; option++) {
        if (strcmp(option->name, argument + 2) == 0) {
            return option;
        }
    }
    usage(options);
}

static void take_value(const struct bench_option *option, const char *value,
                       const struct bench_option *options)
{
    if (value == NULL) {
        usage(options);
    }
    if (option->text != NULL) {
        *option->text = value;
        return;
    }
    char *end;
    *option->number = strtod(value, &end);
    if (*end != '\0' || *option->number < 0) {
        usage(options);
    }
}

void bench_options(int argc, char **argv, const struct bench_option *options)
{
    for (int i = 1; i < argc; i++) {
        const struct bench_option *option = find_option(options, argv[i]);
        if (option->flag != NULL) {
            *option->flag = true;
        } else {
            i++;
            take_value(option, argv[i], options);
        }
    }
}

/* ---- sockets ---- */

struct sockaddr_in bench_address(const char *text, double port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, text, &address.sin_addr) != 1) {
        errno = EINVAL;
        bench_fail(text);
    }
    return address;
}

static int open_socket(int type)
{
    int descriptor = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) {
        bench_fail("socket");
    }
    return descriptor;
}

/* Beyond the system's limit where we may, else up to it. */
static void set_buffer(int descriptor, int force, int plain)
{
    int size = BUFFER_SIZE;
    if (setsockopt(descriptor, SOL_SOCKET, force, &size, sizeof size) != 0) {
        (void)setsockopt(descriptor, SOL_SOCKET, plain, &size, sizeof size);
    }
}

int bench_udp_socket(void)
{
    int descriptor = open_socket(SOCK_DGRAM);
    set_buffer(descriptor, SO_RCVBUFFORCE, SO_RCVBUF);
    set_buffer(descriptor, SO_SNDBUFFORCE, SO_SNDBUF);
    return descriptor;
}

int bench_udp_bind(const struct sockaddr_in *local)
{
    int descriptor = bench_udp_socket();
    if (bind(descriptor, (const struct sockaddr *)local, sizeof *local) != 0) {
        bench_fail("bind");
    }
    return descriptor;
}

int bench_tcp_listen(const struct sockaddr_in *local)
{
    int descriptor = open_socket(SOCK_STREAM);
    int one = 1;
    (void)setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(descriptor, (const struct sockaddr *)local, sizeof *local) != 0 ||
        listen(descriptor, SOMAXCONN) != 0) {
        bench_fail("listen");
    }
    return descriptor;
}

void bench_tcp_options(int descriptor)
{
    int one = 1;
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* ---- batches ---- */

void bench_batch_prepare(struct bench_batch *batch, bool with_peers)
{
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        batch->parts[i] = (struct iovec){.iov_base = batch->bytes[i], .iov_len = BENCH_DATAGRAM_MAX};
        batch->messages[i].msg_hdr = (struct msghdr){.msg_iov = &batch->parts[i], .msg_iovlen = 1};
        if (with_peers) {
            batch->messages[i].msg_hdr.msg_name = &batch->peers[i];
            batch->messages[i].msg_hdr.msg_namelen = sizeof batch->peers[i];
        }
    }
}

size_t bench_batch_receive(struct bench_batch *batch, int descriptor)
{
    for (size_t i = 0; i < BENCH_BATCH; i++) {
        batch->parts[i].iov_len = BENCH_DATAGRAM_MAX;
    }
    int count = recvmmsg(descriptor, batch->messages, BENCH_BATCH, 0, NULL);
    return count > 0 ? (size_t)count : 0;
}

void bench_batch_send(struct bench_batch *batch, int descriptor, size_t count)
{
    size_t sent = 0;
    while (sent < count) {
        int now = sendmmsg(descriptor, batch->messages + sent, (unsigned)(count - sent), 0);
        if (now > 0) {
            sent += (size_t)now;
        } else if (errno == ECONNREFUSED || errno == EPERM) {
            sent++; /* the other side is away: what was sent is lost */
        } else if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR) {
            bench_fail("sendmmsg");
        }
    }
}

/* ---- bytes of DNS ---- */

uint16_t bench_get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

uint32_t bench_get32(const uint8_t *at)
{
    return (uint32_t)bench_get16(at) << 16 | bench_get16(at + 2);
}

void bench_put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

void bench_put32(uint8_t *at, uint32_t value)
{
    bench_put16(at, (uint16_t)(value >> 16));
    bench_put16(at + 2, (uint16_t)value);
}

uint32_t bench_name_address(const uint8_t *name, size_t size)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = name[i] >= 'A' && name[i] <= 'Z' ? (uint8_t)(name[i] + ('a' - 'A')) : name[i];
        hash = (hash ^ byte) * 16777619U;
    }
    return hash;
}

size_t bench_question_end(const uint8_t *message, size_t size)
{
    if (size < BENCH_HEADER_SIZE || bench_get16(message + 4) != 1) {
        return 0;
    }
    size_t at = BENCH_HEADER_SIZE;
    while (at < size && message[at] != 0) {
        if (message[at] > 63) {
            return 0;
        }
        at += 1U + message[at];
    }
    return at + 5 <= size ? at + 5 : 0;
}

static size_t write_address(uint8_t *record, uint32_t address)
{
    bench_put16(record, 0xc000 | BENCH_HEADER_SIZE); /* the question's name */
    bench_put16(record + 2, TYPE_A);
    bench_put16(record + 4, 1);
    bench_put32(record + 6, BENCH_TTL);
    bench_put16(record + 10, 4);
    bench_put32(record + 12, address);
    return 16;
}

static size_t write_opt(uint8_t *record)
{
    memset(record, 0, BENCH_OPT_SIZE);
    bench_put16(record + 1, TYPE_OPT);
    bench_put16(record + 3, 1232);
    return BENCH_OPT_SIZE;
}

size_t bench_answer(const uint8_t *query, size_t size, uint8_t *answer)
{
    size_t question_end = size <= BENCH_QUERY_MAX ? bench_question_end(query, size) : 0;
    if (question_end == 0) {
        return 0;
    }
    bool is_address = bench_get16(query + question_end - 4) == TYPE_A;
    bool has_opt = bench_get16(query + 10) > 0;
    memcpy(answer, query, question_end);
    answer[2] = (uint8_t)(answer[2] | 0x80);          /* QR */
    answer[3] = (uint8_t)((answer[3] & 0x10) | 0x80); /* RA, and CD as it was asked */
    bench_put16(answer + 6, is_address);
    bench_put16(answer + 8, 0);
    bench_put16(answer + 10, has_opt);
    size_t end = question_end;
    if (is_address) {
        const uint8_t *name = query + BENCH_HEADER_SIZE;
        end += write_address(answer + end, bench_name_address(name, question_end - 4 - BENCH_HEADER_SIZE));
    }
    return has_opt ? end + write_opt(answer + end) : end;
}
