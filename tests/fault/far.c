/* See far.h. A thread for each connection, and nothing of dnseal but the fixtures of its unit tests. */
#include "far.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"

#include "tls_fixture.h"

enum { HEADER = 12, RECORD = 16, MESSAGE_MAX = 65535, BRIEF_LIMIT = 12 /* tenths of a second */ };

/* The number in FAR_HOST, and its address. */
enum { HOST_NUMBER = 65535, LOOPBACK = 0x7f000001 };

struct server {
    enum far_server which;
    int listener;
    int datagrams;    /* of FAR_BARE */
    SSL_CTX *context; /* NULL: of FAR_BARE */
};

struct guest {
    const struct server *server;
    int descriptor;
    SSL *tls;
    unsigned answered;
    uint8_t question[MESSAGE_MAX], answer[2 + MESSAGE_MAX];
};

const char *const far_words[FAR_MANNER_COUNT] = {
#define X(name, word) [FAR_##name] = word,
    FAR_MANNERS(X)
#undef X
};

uint32_t far_address(unsigned number, unsigned i)
{
    if (number == HOST_NUMBER) {
        return LOOPBACK;
    }
    return 10u << 24 | ((number * 0x9e37u + i) & 0xffffffu);
}

unsigned far_records(enum far_manner manner)
{
    return manner == FAR_LARGE ? FAR_LARGE_COUNT : manner == FAR_HUGE ? FAR_HUGE_COUNT : 1;
}

static void must(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "far: %s\n", what);
        abort();
    }
}

/* ---- one connection ---- */

static int read_some(struct guest *guest, uint8_t *out, size_t size)
{
    return guest->tls != NULL ? SSL_read(guest->tls, out, (int)size)
                              : (int)recv(guest->descriptor, out, size, 0);
}

static void write_whole(struct guest *guest, const uint8_t *bytes, size_t size)
{
    if (guest->tls != NULL) {
        SSL_write(guest->tls, bytes, (int)size);
    } else {
        (void)send(guest->descriptor, bytes, size, MSG_NOSIGNAL);
    }
}

static int read_whole(struct guest *guest, uint8_t *out, size_t size)
{
    for (size_t at = 0; at < size;) {
        int count = read_some(guest, out + at, size - at);
        if (count <= 0) {
            return 0;
        }
        at += (size_t)count;
    }
    return 1;
}

/* "slow-17", in whatever letters: the manner, and the number. */
static enum far_manner read_name(const uint8_t *name, unsigned *number)
{
    char label[64] = "";
    memcpy(label, name + 1, name[0] & 63);
    char *dash = strchr(label, '-');
    must(dash != NULL, "a question that nobody asked");
    *dash = '\0';
    *number = (unsigned)strtoul(dash + 1, NULL, 10);
    for (int manner = 0; manner < FAR_MANNER_COUNT; manner++) {
        if (strcasecmp(label, far_words[manner]) == 0) {
            return (enum far_manner)manner;
        }
    }
    abort();
}

static uint8_t *write_record(uint8_t *at, uint32_t address)
{
    static const uint8_t head[12] = {0xc0, HEADER, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4};
    memcpy(at, head, sizeof head);
    bytes_put_u32(at + sizeof head, address);
    return at + RECORD;
}

static uint8_t *write_keepalive(uint8_t *at)
{
    static const uint8_t options[] = {0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 6, 0, 11, 0, 2, 0, BRIEF_LIMIT};
    memcpy(at, options, sizeof options);
    return at + sizeof options;
}

/* Head, question and so many records; returns the end. */
static uint8_t *write_answer(const uint8_t *question, uint8_t *message, unsigned count, unsigned number)
{
    size_t name = 0;
    while (question[HEADER + name] != 0) {
        name += 1u + question[HEADER + name];
    }
    uint8_t *at = message + HEADER + name + 5;
    memcpy(message, question, (size_t)(at - message));
    message[2] |= 0x80;
    message[3] = 0x80;
    bytes_put_u16(message + 6, (uint16_t)count);
    bytes_put_u16(message + 8, 0);
    bytes_put_u16(message + 10, 0);
    for (unsigned i = 0; i < count; i++) {
        at = write_record(at, far_address(number, i));
    }
    return at;
}

static void answer(struct guest *guest, unsigned count, unsigned number, unsigned rcode)
{
    uint8_t *message = guest->answer + 2;
    uint8_t *end = write_answer(guest->question, message, rcode == 0 ? count : 0, number);
    message[3] |= (uint8_t)rcode;
    if (guest->server->which == FAR_BRIEF) {
        bytes_put_u16(message + 10, 1);
        end = write_keepalive(end);
    }
    bytes_put_u16(guest->answer, (uint16_t)(end - message));
    write_whole(guest, guest->answer, (size_t)(end - guest->answer));
    guest->answered++;
}

static void reset(struct guest *guest)
{
    struct linger now = {.l_onoff = 1};
    setsockopt(guest->descriptor, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    SSL_set_quiet_shutdown(guest->tls, 1);
}

static void pause_for(unsigned milliseconds)
{
    struct timespec time = {.tv_nsec = (long)milliseconds * 1000000};
    nanosleep(&time, NULL);
}

/* False when the connection is to end. */
static int treat(struct guest *guest)
{
    unsigned number, moody = guest->server->which == FAR_MOODY;
    enum far_manner manner = read_name(guest->question + HEADER, &number);
    if ((manner == FAR_CLOSE || manner == FAR_RESET) && guest->answered > 0) {
        if (manner == FAR_RESET) {
            reset(guest);
        }
        return 0;
    }
    if (manner == FAR_MUTE && moody) {
        return 1;
    }
    if (manner == FAR_SLOW && !SSL_has_pending(guest->tls)) {
        pause_for(FAR_PAUSE);
    }
    answer(guest, far_records(manner), number, manner == FAR_FAIL && moody ? 2 : 0);
    return 1;
}

static void *entertain(void *argument)
{
    struct guest *guest = argument;
    uint8_t length[2];
    if (guest->tls == NULL || SSL_accept(guest->tls) == 1) {
        while (read_whole(guest, length, 2) && read_whole(guest, guest->question, bytes_get_u16(length)) &&
               treat(guest)) {}
    }
    if (guest->tls != NULL) {
        SSL_shutdown(guest->tls);
        SSL_free(guest->tls);
    }
    close(guest->descriptor);
    free(guest);
    return NULL;
}

/* ---- the process ---- */

static void *serve(void *argument)
{
    const struct server *server = argument;
    static const int one = 1;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (;;) {
        int descriptor = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        if (descriptor < 0) {
            continue;
        }
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct guest *guest = malloc(sizeof *guest);
        must(guest != NULL, "memory");
        guest->server = server;
        guest->descriptor = descriptor;
        guest->answered = 0;
        guest->tls = server->context != NULL ? SSL_new(server->context) : NULL;
        if (guest->tls != NULL) {
            SSL_set_fd(guest->tls, descriptor);
        }
        pthread_t thread;
        must(pthread_create(&thread, &detached, entertain, guest) == 0, "a thread");
    }
    return NULL;
}

/* What does not fit is truncated. */
static void *serve_datagrams(void *argument)
{
    const struct server *server = argument;
    static uint8_t question[MESSAGE_MAX], message[MESSAGE_MAX];
    for (;;) {
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        unsigned number;
        if (recvfrom(server->datagrams, question, sizeof question, 0, (struct sockaddr *)&from, &size) <=
            HEADER) {
            continue; /* a datagram that was cut on its way out */
        }
        unsigned count = far_records(read_name(question + HEADER, &number));
        uint8_t *end = write_answer(question, message, count == 1 ? count : 0, number);
        message[2] |= count == 1 ? 0 : 0x02;
        (void)sendto(server->datagrams, message, (size_t)(end - message), 0, (struct sockaddr *)&from, size);
    }
    return NULL;
}

static int listen_somewhere(uint16_t *port, int serves)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(listener, (struct sockaddr *)&name, size) == 0, "a port");
    must(!serves || listen(listener, 512) == 0, "listening");
    must(getsockname(listener, (struct sockaddr *)&name, &size) == 0, "a name");
    *port = ntohs(name.sin_port);
    return listener;
}

static bool takes_datagrams(struct server *server, uint16_t port)
{
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    server->datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(server->datagrams, (struct sockaddr *)&name, sizeof name) == 0) {
        return true;
    }
    close(server->datagrams);
    return false;
}

/* Over UDP at the port that it has over TCP: one that nobody else has for datagrams. */
static void raise_bare(struct server *server, uint16_t *port)
{
    pthread_t thread;
    server->listener = listen_somewhere(port, true);
    while (!takes_datagrams(server, *port)) {
        close(server->listener);
        server->listener = listen_somewhere(port, true);
    }
    must(pthread_create(&thread, NULL, serve_datagrams, server) == 0, "a thread");
}

static SSL_CTX *make_context(const struct fixture_certificate *authority, const char *names)
{
    int64_t now = (int64_t)time(NULL);
    struct fixture_certificate leaf;
    struct fixture_wish wish = {
        .issuer = authority, .names = names, .from = now - FIXTURE_DAY, .to = now + FIXTURE_DAY};
    fixture_issue(&leaf, &wish);
    return fixture_server(&leaf, NULL);
}

static void live(struct far_end *far, int ready)
{
    static struct server servers[FAR_SERVER_COUNT];
    int64_t now = (int64_t)time(NULL);
    struct fixture_certificate authority;
    struct fixture_wish wish = {.common_name = "authority",
                                .basic = "critical,CA:TRUE",
                                .from = now - FIXTURE_DAY,
                                .to = now + FIXTURE_DAY};
    fixture_issue(&authority, &wish);
    BIO *text = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(text, authority.certificate);
    must(BIO_read(text, far->authorities, sizeof far->authorities - 1) > 0, "PEM");
    for (int i = 0; i < FAR_SERVER_COUNT; i++) {
        servers[i] = (struct server){.which = (enum far_server)i};
        if (i == FAR_BARE) {
            raise_bare(&servers[i], &far->port[i]);
        } else {
            servers[i].listener = listen_somewhere(&far->port[i], i != FAR_ABSENT);
            servers[i].context =
                make_context(&authority, i == FAR_STRANGER ? "DNS:other.test" : "DNS:" FAR_NAME);
        }
        pthread_t thread;
        if (i != FAR_ABSENT) {
            must(pthread_create(&thread, NULL, serve, &servers[i]) == 0, "a thread");
        }
    }
    must(write(ready, "R", 1) == 1, "a word");
    for (;;) {
        pause();
    }
}

struct far_end *far_raise(void)
{
    struct far_end *far = mmap(NULL, sizeof *far, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int ready[2];
    char word;
    must(far != MAP_FAILED && pipe(ready) == 0, "memory");
    pid_t process = fork();
    if (process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        live(far, ready[1]);
    }
    must(process > 0, "no process");
    far->process = process;
    close(ready[1]);
    must(read(ready[0], &word, 1) == 1, "it did not come up");
    close(ready[0]);
    return far;
}

void far_greet(const struct far_end *far)
{
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons(far->port[FAR_GOOD]),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(connect(descriptor, (struct sockaddr *)&name, sizeof name) == 0, "nobody to greet");
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    BIO *text = BIO_new_mem_buf(far->authorities, -1);
    X509 *authority = PEM_read_bio_X509(text, NULL, NULL, NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL *tls = SSL_new(context);
    SSL_set_fd(tls, descriptor);
    must(SSL_set1_host(tls, FAR_NAME) == 1 && SSL_connect(tls) == 1, "a greeting");
    SSL_free(tls);
    X509_free(authority);
    BIO_free(text);
    SSL_CTX_free(context);
    close(descriptor);
}

void far_raze(struct far_end *far)
{
    kill(far->process, SIGKILL);
    waitpid(far->process, NULL, 0);
    munmap(far, sizeof *far);
}
