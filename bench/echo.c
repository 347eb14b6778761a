/*
 * The least that a DNS server over UDP can do: turn each query around with one bit flipped, BENCH_BATCH at a
 * time. Its speed is the limit of the machine's UDP for a program on one core. Started by run.py, ends by
 * signal.
 */
#include <poll.h>

#include "common.h"

static void turn_around(struct bench_batch *batch, int descriptor)
{
    size_t count = bench_batch_receive(batch, descriptor);
    for (size_t i = 0; i < count; i++) {
        batch->parts[i].iov_len = batch->messages[i].msg_len;
        batch->bytes[i][2] |= 0x80; /* QR */
    }
    bench_batch_send(batch, descriptor, count);
}

int main(int argc, char **argv)
{
    static struct bench_batch batch;
    double port = 5300;
    const struct bench_option options[] = {{.name = "port", .number = &port}, {0}};
    bench_options(argc, argv, options);
    struct sockaddr_in local = bench_address("127.0.0.1", port);
    struct pollfd ready = {.fd = bench_udp_bind(&local), .events = POLLIN};
    bench_batch_prepare(&batch, true);
    for (;;) {
        (void)poll(&ready, 1, -1);
        turn_around(&batch, ready.fd);
    }
}
