/* See run.h. The engine's life in a run, from the outside: as the monitor does it, without its rights and
 * signals. */
#include "run.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

#include "net/net.h"

/* A start takes some milliseconds, an end at most limits.drain_timeout; a loop that turns so often spins. */
enum {
    START_PATIENCE = 10000,
    END_PATIENCE = 9000,
    TURNS_MOST = 20000,
    WORDS_MAX = 4096,
    LETTER_MAX = 512,
    STREAM_BLOCKS = 2048
};

void run_trouble(struct run *run, const char *format, ...)
{
    if (run->trouble[0] == '\0') {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(run->trouble, sizeof run->trouble, format, arguments);
        va_end(arguments);
    }
}

int run_scaled(int milliseconds)
{
    const char *scale = getenv("TIME_SCALE");
    int factor = scale != NULL ? (int)strtol(scale, NULL, 10) : 1;
    return factor > 0 ? factor * milliseconds : milliseconds;
}

/* ---- what the engine is given ---- */

static void report(struct config_report *to, const char *line)
{
    (void)to;
    fprintf(stderr, "fault: the configuration: %s\n", line);
}

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "fault: %s\n", what);
        abort();
    }
}

static void make_config(struct run *run)
{
    char urls[UPSTREAMS_MAX][64], asked[64];
    const char *upstream[UPSTREAMS_MAX];
    static char *quiet[] = {NULL};
    char *named[] = {asked, NULL};
    snprintf(asked, sizeof asked, "DNSEAL_BOOTSTRAP=tls://127.0.0.1:%u#" FAR_NAME, run->far->port[FAR_GOOD]);
    static char *talkative[] = {"DNSEAL_LOG_QUERIES=full", "DNSEAL_LOG_LEVEL=debug", NULL};
    for (size_t i = 0; i < run->story->server_count; i++) {
        enum far_server server = run->story->servers[i];
        if (server == FAR_BARE) {
            snprintf(urls[i], sizeof urls[i], "udp://127.0.0.1:%u", run->far->port[server]);
        } else {
            snprintf(urls[i], sizeof urls[i], "tls://%s:%u#" FAR_NAME,
                     run->story->by_name ? FAR_HOST : "127.0.0.1", run->far->port[server]);
        }
        upstream[i] = urls[i];
    }
    struct config_sources sources = {.upstream = upstream,
                                     .upstream_count = run->story->server_count,
                                     .environment = run->story->logs      ? talkative
                                                    : run->story->by_name ? named
                                                                          : quiet};
    struct config_report to = {.error = report};
    must(config_build(&sources, &to, &run->config) == 0, "no configuration");
}

static void make_sockets(struct run *run)
{
    struct address any, bound;
    size_t granted;
    must(address_parse(span_text("127.0.0.1:0"), 0, &any) == 0, "no address");
    run->sockets[0].udp = true;
    must(net_udp_bind(&any, false, 1 << 20, &run->sockets[0].descriptor, &granted) == 0, "no UDP socket");
    must(net_tcp_listen(&any, false, 128, &run->sockets[1].descriptor) == 0, "no TCP socket");
    for (int i = 0; i < 2; i++) {
        must(net_local_address(run->sockets[i].descriptor, &bound) == 0, "no address");
        run->port[i] = bound.port;
    }
}

static struct engine_setup make_setup(struct run *run, int channel)
{
    return (struct engine_setup){.config = run->config,
                                 .upstream_count = run->story->server_count,
                                 .workers = 1,
                                 .sockets = run->sockets,
                                 .socket_count = 2,
                                 .metrics = run->metrics,
                                 .stream_blocks = STREAM_BLOCKS,
                                 .authorities = run->authorities,
                                 .authorities_size = strlen(run->far->authorities),
                                 .log_descriptor = run->log,
                                 .channel = channel};
}

/* ---- the engine's process ---- */

/* OpenSSL keeps some memory for the whole process: it gives it back here, and what is left then is lost. */
_Noreturn static void be_engine(struct run *run, int channel)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!run->page->talkative) {
        dup2(run->words, STDERR_FILENO);
    }
    struct engine_setup setup = make_setup(run, channel);
    run->page->channel = channel;
    fault_begin(run->page);
    int code = engine_run(&setup);
    atomic_store(&run->page->armed, false);
    OPENSSL_cleanup();
    fault_end();
    _exit(code);
}

static void start(struct run *run)
{
    int pair[2];
    must(net_local_pair(pair) == 0, "no channel");
    run->engine = fork();
    if (run->engine == 0) {
        close(pair[0]);
        be_engine(run, pair[1]);
    }
    must(run->engine > 0, "no process");
    close(pair[1]);
    run->channel = pair[0];
}

/* A letter of the engine into `letter`, terminated; 0 at its end, -1 when it says nothing. */
static int hear(struct run *run, char letter[LETTER_MAX], int patience)
{
    struct pollfd ready = {.fd = run->channel, .events = POLLIN};
    letter[0] = '\0';
    if (poll(&ready, 1, run_scaled(patience)) != 1) {
        return -1;
    }
    int size = net_local_receive(run->channel, (uint8_t *)letter, LETTER_MAX - 1, NULL);
    letter[size > 0 ? size : 0] = '\0';
    return size > 0 ? size : 0;
}

static void await_ready(struct run *run)
{
    char letter[LETTER_MAX];
    int size = hear(run, letter, START_PATIENCE);
    if (size < 0) {
        run_trouble(run, "the start hangs");
    } else if (size == 0 || letter[0] == ENGINE_FAILED) {
        run->refused = true;
        if (size > 0 && letter[1] == '\0') {
            run_trouble(run, "the start was refused without a reason");
        }
    }
}

void run_drain(struct run *run)
{
    uint8_t letter = ENGINE_DRAIN;
    run->draining = true;
    net_local_send(run->channel, span_of(&letter, 1), -1);
}

static void read_words(struct run *run, char words[WORDS_MAX])
{
    ssize_t size = pread(run->words, words, WORDS_MAX - 1, 0);
    words[size > 0 ? size : 0] = '\0';
}

static void judge_end(struct run *run, int status)
{
    char words[WORDS_MAX];
    read_words(run, words);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!run->page->ended && !killed) {
        run->trouble[0] = '\0'; /* whatever else was seen comes from the crash */
    }
    if (WIFSIGNALED(status) && !killed) {
        run_trouble(run, "crash: signal %d: %s", WTERMSIG(status), words);
    } else if (!run->page->ended && !killed) {
        run_trouble(run, "crash: exit code %d: %s", WEXITSTATUS(status), words);
    } else if (WEXITSTATUS(status) != (run->refused ? 1 : 0)) {
        run_trouble(run, "exit code %d", WEXITSTATUS(status));
    } else if (run->page->memory_lost > 0 && !run->story->cold) {
        run_trouble(run, "%u pieces of memory are lost", run->page->memory_lost);
    } else if (run->page->descriptors_lost > 0) {
        run_trouble(run, "%u descriptors are lost", run->page->descriptors_lost);
    } else if (run->page->turns > TURNS_MOST) {
        run_trouble(run, "the loops turned %u times", run->page->turns);
    }
}

/* The channel ends with the process. */
static void end(struct run *run)
{
    char letter[LETTER_MAX];
    int size = 1, status;
    if (!run->refused && !run->draining) {
        run_drain(run);
    }
    while (size > 0) {
        size = hear(run, letter, END_PATIENCE);
    }
    if (size < 0) {
        run_trouble(run, "the end hangs");
        size_t told = strlen(run->trouble);
        snprintf(run->trouble + told, sizeof run->trouble - told, ", and it does not end");
        kill(run->engine, SIGKILL);
    }
    waitpid(run->engine, &status, 0);
    judge_end(run, status);
}

/* ---- the whole ---- */

static void arm(struct run *run, const struct plan *plan)
{
    run->page->call = plan->call;
    run->page->error = plan->error;
    run->page->first = plan->first;
    run->page->times = plan->times;
    atomic_store(&run->page->armed, true);
}

/* When the fault is over, nothing of it is left. */
static void ask_some_more(struct run *run)
{
    client_forget_drops(run);
    run->strict = true;
    client_ask(run, FAR_PLAIN, 5);
    client_await(run);
    client_leave(run, 0, false);
    client_connect(run, 0);
    client_ask_over(run, 0, FAR_PLAIN, 5);
    client_ask(run, FAR_PLAIN, 5);
    client_await(run);
}

static void serve(struct run *run, const struct plan *plan)
{
    if (!run->story->from_start) {
        arm(run, plan);
    }
    client_open(run);
    run->story->play(run);
    atomic_store(&run->page->armed, false);
    if (!run->draining && run->trouble[0] == '\0') {
        ask_some_more(run);
    }
    client_close(run);
}

void run_play(struct run *run, const struct story *story, const struct plan *plan)
{
    run->story = story;
    run->log = memfd_create("log", MFD_CLOEXEC);
    run->words = memfd_create("words", MFD_CLOEXEC);
    make_config(run);
    make_sockets(run);
    must(metrics_open(1, &run->metrics, &run->metrics_descriptor) == 0, "no meters");
    must(memory_store(span_text(run->far->authorities), "authorities", &run->authorities) == 0, "no memory");
    if (story->from_start) {
        arm(run, plan);
    }
    start(run);
    await_ready(run);
    if (!run->refused && run->trouble[0] == '\0') {
        serve(run, plan);
    }
    end(run);
    metrics_close(run->metrics, run->metrics_descriptor);
    memory_close_shared(run->authorities);
    config_free(run->config);
    close(run->sockets[0].descriptor);
    close(run->sockets[1].descriptor);
    close(run->channel);
    close(run->log);
    close(run->words);
}
