/* The monitor's parts: arguments, descriptors, its own log lines, and the control socket. */
#include "monitor_test.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#include "net/net.h"

#include "monitor/control.h"

/* ---- what is printed meanwhile ---- */

char printed[1 << 20];
static int saved[2], captured;

void capture_begin(void)
{
    fflush(stdout);
    fflush(stderr);
    char path[] = "/tmp/dnseal-monitor-XXXXXX";
    captured = mkstemp(path);
    assert_true(captured >= 0);
    unlink(path);
    for (int i = 0; i < 2; i++) {
        saved[i] = dup(STDOUT_FILENO + i);
        dup2(captured, STDOUT_FILENO + i);
    }
}

void capture_end(void)
{
    fflush(stdout);
    fflush(stderr);
    for (int i = 0; i < 2; i++) {
        dup2(saved[i], STDOUT_FILENO + i);
        close(saved[i]);
    }
    ssize_t size = pread(captured, printed, sizeof printed - 1, 0);
    printed[size > 0 ? size : 0] = '\0';
    close(captured);
}

/* ---- arguments ---- */

enum { ARGUMENTS_MAX = 140 };

/* Words between spaces. */
static int read_arguments(const char *line, struct arguments *out)
{
    static char copy[4096];
    static char *words[ARGUMENTS_MAX];
    int count = 0;
    snprintf(copy, sizeof copy, "dnseal %s", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        words[count++] = word;
    }
    words[count] = NULL;
    capture_begin();
    int error = arguments_read(count, words, out);
    capture_end();
    return error;
}

static void every_option_is_read(void **state)
{
    (void)state;
    struct arguments arguments;
    assert_int_equal(read_arguments("", &arguments), 0);
    assert_int_equal(arguments.action, ACTION_RUN);
    assert_null(arguments.file);
    assert_int_equal(
        read_arguments("-c a.yaml --listen 127.0.0.1:1 --listen [::1]:2 --upstream google", &arguments), 0);
    assert_string_equal(arguments.file, "a.yaml");
    assert_int_equal(arguments.listen_count, 2);
    assert_string_equal(arguments.listen[1], "[::1]:2");
    assert_int_equal(arguments.upstream_count, 1);
    static const struct {
        const char *line;
        enum arguments_action action;
    } actions[] = {{"--check", ACTION_CHECK},
                   {"--print-config", ACTION_PRINT_CONFIG},
                   {"--control status", ACTION_CONTROL},
                   {"--version", ACTION_VERSION},
                   {"--help", ACTION_HELP},
                   {"--check --check --config b", ACTION_CHECK}};
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        assert_int_equal(read_arguments(actions[i].line, &arguments), 0);
        assert_int_equal(arguments.action, actions[i].action);
    }
}

static void wrong_usage_is_told_and_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {"--nonsense",     "-x",        "--listen", "--config",
                                        "--check --help", "something", "--control"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct arguments arguments;
        assert_int_equal(read_arguments(lines[i], &arguments), ERROR_INVALID);
        assert_non_null(strstr(printed, "dnseal"));
        assert_non_null(strstr(printed, "Try 'dnseal --help'.\n"));
    }
}

static void a_list_has_an_end(void **state)
{
    (void)state;
    char line[2048] = "";
    struct arguments arguments;
    for (unsigned i = 0; i < ARGUMENTS_LIST_MAX; i++) {
        strncat(line, "--listen a ", sizeof line - strlen(line) - 1);
    }
    assert_int_equal(read_arguments(line, &arguments), 0);
    assert_int_equal(arguments.listen_count, ARGUMENTS_LIST_MAX);
    strncat(line, "--listen a ", sizeof line - strlen(line) - 1);
    assert_int_equal(read_arguments(line, &arguments), ERROR_INVALID);
    assert_non_null(strstr(printed, "--listen"));
}

/* ---- descriptors and identity ---- */

int run_child(int (*body)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(body());
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool is_open(int descriptor)
{
    return fcntl(descriptor, F_GETFD) >= 0;
}

/* Out of order, twice the same, a standard stream among them. */
static int keep_some(void)
{
    int opened[20];
    for (int i = 0; i < 20; i++) {
        opened[i] = fcntl(0, F_DUPFD, 100 + 10 * i);
    }
    int kept[] = {opened[15], opened[3], 1, opened[4], opened[3]};
    privileges_close_other_descriptors(kept, sizeof kept / sizeof kept[0]);
    for (int i = 0; i < 20; i++) {
        if (is_open(opened[i]) != (i == 15 || i == 3 || i == 4)) {
            return 1;
        }
    }
    for (int i = 3; i < 100; i++) {
        if (is_open(i)) {
            return 2;
        }
    }
    return is_open(0) && is_open(1) && is_open(2) ? 0 : 3;
}

static int keep_none(void)
{
    int opened = fcntl(0, F_DUPFD, 500);
    int kept[] = {2};
    privileges_close_other_descriptors(kept, 1);
    return is_open(opened) || !is_open(2);
}

static void only_named_descriptors_stay_open(void **state)
{
    (void)state;
    assert_int_equal(run_child(keep_some), 0);
    assert_int_equal(run_child(keep_none), 0);
}

static void a_user_that_is_none_is_refused(void **state)
{
    (void)state;
    struct config_report report = complain_on_standard_error();
    struct identity identity;
    capture_begin();
    int error = privileges_resolve("no-such-user-here", &report, &identity);
    capture_end();
    assert_int_equal(error, ERROR_INVALID);
    assert_non_null(strstr(printed, "no-such-user-here"));
    assert_int_equal(privileges_resolve("auto", &report, &identity), 0);
    assert_int_equal(identity.change, geteuid() == 0);
    assert_int_equal(privileges_resolve("", &report, &identity), 0);
    assert_int_equal(identity.keeps_root, geteuid() == 0);
}

/* ---- the journal ---- */

static void say(struct journal *journal, unsigned number)
{
    if (log_begin(&journal->log, LOG_INFO, "start")) {
        log_number(&journal->log, "number", number);
        journal_end(journal);
    }
}

static void a_journal_line_is_written_at_once(void **state)
{
    (void)state;
    int ends[2];
    char line[LOG_LINE_MAX + 1];
    struct journal journal;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(journal_open(&journal, LOG_INFO, LOG_FORMAT_JSON, ends[1]), 0);
    say(&journal, 7);
    ssize_t size = read(ends[0], line, sizeof line - 1);
    assert_true(size > 0);
    line[size] = '\0';
    assert_non_null(strstr(line, "\"event\":\"start\""));
    assert_int_equal(line[size - 1], '\n');
    journal_close(&journal);
    close(ends[0]);
    close(ends[1]);
}

/* The pipe is blocking, as another program's is: were it waited for, this test would never end.
 * Shows: O06 */
static void a_journal_never_waits_for_a_full_pipe(void **state)
{
    (void)state;
    int ends[2];
    struct journal journal;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(journal_open(&journal, LOG_INFO, LOG_FORMAT_TEXT, ends[1]), 0);
    for (unsigned i = 0; i < 5000; i++) {
        say(&journal, i);
    }
    assert_false(log_waiting(&journal.log));
    close(ends[0]);
    say(&journal, 1); /* and nobody is there at all */
    journal_close(&journal);
    close(ends[1]);
}

/* A terminal whose reader has stopped says that it can be written to while there is room for less than a
 * line: as with a pipe that another process fills in between, asking first does not help. Were it waited for,
 * this test would never end.
 * Shows: O06 */
static void a_journal_never_waits_for_a_descriptor_that_promised_room(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_true(terminal >= 0);
    struct termios raw;
    char bytes[64] = "";
    struct pollfd ready = {.fd = terminal, .events = POLLOUT};
    assert_int_equal(tcgetattr(terminal, &raw), 0);
    cfmakeraw(&raw);
    assert_int_equal(tcsetattr(terminal, TCSANOW, &raw), 0);
    while (write(terminal, bytes, sizeof bytes) > 0) {}
    assert_int_equal(fcntl(terminal, F_SETFL, O_RDWR), 0);
    for (unsigned i = 0; poll(&ready, 1, 10) == 0; i++) {
        assert_true(i < 1000 && read(master, bytes, 1) == 1);
    }
    struct journal journal;
    assert_int_equal(journal_open(&journal, LOG_INFO, LOG_FORMAT_TEXT, terminal), 0);
    say(&journal, 1);
    say(&journal, 2);
    assert_int_equal(read(master, bytes, 1), 1);
    journal_close(&journal);
    close(terminal);
    close(master);
}

/* ---- the control socket ---- */

struct room {
    struct boot boot;
    struct plan plan;
    struct config config;
    struct config_report report;
    unsigned reloads; /* that were ordered */
    char path[64];
    struct event_loop *loop;
    struct control *control;
    pthread_t thread;
    atomic_bool ending;
};

static void *turn_loop(void *argument)
{
    struct room *room = argument;
    while (!atomic_load(&room->ending)) {
        event_loop_turn(room->loop, 5 * CLOCK_MILLISECOND);
    }
    return NULL;
}

static void on_reload(void *owner)
{
    struct room *room = owner;
    room->reloads++;
}

static int listen_at(struct room *room, struct control **out)
{
    room->report = complain_on_standard_error();
    struct control_setup setup = {.config = &room->config,
                                  .report = &room->report,
                                  .loop = room->loop,
                                  .reload = on_reload,
                                  .upgrade = on_reload,
                                  .owner = room};
    return control_open(&room->boot, &setup, out);
}

static void open_control(struct room *room, size_t upstreams)
{
    *room = (struct room){0};
    room->boot.plan = &room->plan;
    room->plan.config = &room->config;
    snprintf(room->path, sizeof room->path, "/tmp/dnseal-control-%d.socket", (int)getpid());
    room->config.control.socket = room->path;
    assert_int_equal(metrics_open(0, &room->boot.total, &room->boot.total_descriptor), 0);
    for (size_t i = 0; i < upstreams; i++) {
        char label[METRICS_LABEL_MAX];
        memset(label, '\\', sizeof label);
        snprintf(label, sizeof label, "%zu", i);
        label[strlen(label)] = '\\';
        label[sizeof label - 1] = '\0';
        metrics_label_upstream(room->boot.total, i, label);
    }
    assert_int_equal(event_loop_open(&room->loop), 0);
    assert_int_equal(listen_at(room, &room->control), 0);
    assert_int_equal(pthread_create(&room->thread, NULL, turn_loop, room), 0);
}

static void close_control(struct room *room)
{
    atomic_store(&room->ending, true);
    pthread_join(room->thread, NULL);
    control_close(room->control);
    event_loop_close(room->loop);
    assert_int_equal(access(room->path, F_OK), -1);
    metrics_close(room->boot.total, room->boot.total_descriptor);
}

static int command(const struct room *room, const char *word)
{
    capture_begin();
    int code = ask_send(room->path, word);
    capture_end();
    return code;
}

static void a_command_is_answered(void **state)
{
    (void)state;
    struct room room;
    open_control(&room, 1);
    struct stat status;
    assert_int_equal(stat(room.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(command(&room, "status"), 0);
        assert_non_null(strstr(printed, "# TYPE dnseal_queries_total counter\n"));
        assert_non_null(strstr(printed, "dnseal_build_info{version="));
    }
    assert_int_equal(command(&room, "stat"), 2);
    assert_non_null(strstr(printed, "unknown command"));
    assert_int_equal(command(&room, "status "), 2);
    assert_int_equal(command(&room, "flushed"), 2);
    assert_non_null(strstr(printed, "unknown command"));
    assert_int_equal(command(&room, "flush"), 1);
    assert_non_null(strstr(printed, "cache.size is 0"));
    close_control(&room);
}

/* A command with more behind it is another command, or none. */
static void a_command_that_goes_on_behind_its_end_is_none(void **state)
{
    (void)state;
    static const char packet[] = "flush\0 www.example";
    struct room room;
    open_control(&room, 1);
    int asking;
    uint32_t head[2];
    assert_int_equal(net_local_connect(room.path, &asking), 0);
    assert_int_equal(net_local_send(asking, span_of(packet, sizeof packet - 1), -1), 0);
    struct pollfd ready = {.fd = asking, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 5000), 1);
    assert_int_equal(net_local_receive(asking, (uint8_t *)head, sizeof head, NULL), sizeof head);
    assert_int_equal(head[1], 2);
    net_close(asking);
    close_control(&room);
}

/* The longest that the meters can say, to a client that reads it as fast as it can. */
static void the_longest_answer_arrives_whole(void **state)
{
    (void)state;
    struct room room;
    open_control(&room, METRICS_UPSTREAMS_MAX);
    assert_int_equal(command(&room, "status"), 0);
    assert_true(strlen(printed) > 200000);
    assert_non_null(strstr(printed, "dnseal_build_info{version="));
    assert_null(strstr(printed, "broke off"));
    close_control(&room);
}

static void garbage_and_silence_hurt_nobody(void **state)
{
    (void)state;
    struct room room;
    open_control(&room, 1);
    static uint8_t bytes[8192];
    memset(bytes, 0xff, sizeof bytes);
    memcpy(bytes, "status", 6);
    int silent, gone;
    assert_int_equal(net_local_connect(room.path, &silent), 0);
    assert_int_equal(net_local_connect(room.path, &gone), 0);
    net_close(gone);
    for (size_t size = 1; size <= sizeof bytes; size *= 2) {
        int client;
        uint32_t head[2] = {0, 2};
        assert_int_equal(net_local_connect(room.path, &client), 0);
        assert_int_equal(net_local_send(client, span_of(bytes, size), -1), 0);
        struct pollfd ready = {.fd = client, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, 5000), 1);
        assert_int_equal(net_local_receive(client, (uint8_t *)head, sizeof head, NULL), sizeof head);
        assert_int_equal(head[1], 2);
        net_close(client);
    }
    assert_int_equal(command(&room, "status"), 0);
    net_close(silent);
    close_control(&room);
}

/* Turns of the loop in a fifth of a second. */
static unsigned count_turns(struct event_loop *loop)
{
    unsigned turns = 0;
    for (uint64_t end = clock_monotonic() + CLOCK_SECOND / 5; clock_monotonic() < end; turns++) {
        event_loop_turn(loop, CLOCK_SECOND / 5);
    }
    return turns;
}

/* Without a descriptor nobody can be taken in; the loop must not spin on it, and the client is served later.
 * Shows: O03 */
static void without_descriptors_it_waits(void **state)
{
    (void)state;
    struct room room = {.path = "/tmp/dnseal-control-few.socket"};
    room.boot.plan = &room.plan;
    room.plan.config = &room.config;
    room.config.control.socket = room.path;
    assert_int_equal(event_loop_open(&room.loop), 0);
    assert_int_equal(listen_at(&room, &room.control), 0);
    int client;
    assert_int_equal(net_local_connect(room.path, &client), 0);
    assert_int_equal(net_local_send(client, span_text("garbage"), -1), 0);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit few = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    unsigned turns = count_turns(room.loop);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_in_range(turns, 1, 10);
    count_turns(room.loop);
    struct pollfd ready = {.fd = client, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 0), 1);
    net_close(client);
    control_close(room.control);
    event_loop_close(room.loop);
}

static void without_a_program_the_command_says_so(void **state)
{
    (void)state;
    struct room room = {.path = "/tmp/dnseal-nobody-there.socket"};
    assert_int_equal(command(&room, "status"), 1);
    assert_non_null(strstr(printed, room.path));
    room.path[0] = '\0';
    assert_int_equal(command(&room, "status"), 1);
    assert_non_null(strstr(printed, "switched off"));
}

static void a_path_that_cannot_be_had_refuses(void **state)
{
    (void)state;
    struct room room = {.path = "/no/such/directory/control.socket"};
    struct control *control;
    room.boot.plan = &room.plan;
    room.plan.config = &room.config;
    room.config.control.socket = room.path;
    assert_int_equal(event_loop_open(&room.loop), 0);
    capture_begin();
    int error = listen_at(&room, &control);
    capture_end();
    assert_true(error < 0);
    assert_null(control);
    assert_non_null(strstr(printed, "control.socket: /no/such/directory/control.socket: "));
    room.path[0] = '\0';
    assert_int_equal(listen_at(&room, &control), 0);
    assert_null(control);
    control_close(control);
    event_loop_close(room.loop);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_option_is_read),
        cmocka_unit_test(wrong_usage_is_told_and_refused),
        cmocka_unit_test(a_list_has_an_end),
        cmocka_unit_test(only_named_descriptors_stay_open),
        cmocka_unit_test(a_user_that_is_none_is_refused),
        cmocka_unit_test(a_journal_line_is_written_at_once),
        cmocka_unit_test(a_journal_never_waits_for_a_full_pipe),
        cmocka_unit_test(a_journal_never_waits_for_a_descriptor_that_promised_room),
        cmocka_unit_test(a_command_is_answered),
        cmocka_unit_test(a_command_that_goes_on_behind_its_end_is_none),
        cmocka_unit_test(the_longest_answer_arrives_whole),
        cmocka_unit_test(garbage_and_silence_hurt_nobody),
        cmocka_unit_test(without_descriptors_it_waits),
        cmocka_unit_test(without_a_program_the_command_says_so),
        cmocka_unit_test(a_path_that_cannot_be_had_refuses),
        cmocka_unit_test(the_lowest_limit_above_a_process_holds),
        cmocka_unit_test(groups_that_are_not_seen_here_limit_nothing),
        cmocka_unit_test(without_a_manager_nothing_is_read_or_told),
        cmocka_unit_test(what_a_manager_gives_is_read),
        cmocka_unit_test(what_no_manager_would_give_is_refused),
        cmocka_unit_test(a_manager_is_told),
        cmocka_unit_test(a_manager_without_room_is_waited_for_shortly),
        cmocka_unit_test(what_was_stored_comes_back),
        cmocka_unit_test(sockets_that_cannot_be_served_are_refused),
        cmocka_unit_test(passed_sockets_are_found_by_address),
        cmocka_unit_test(passed_sockets_are_shared_out),
        cmocka_unit_test(passed_sockets_must_be_configured),
        cmocka_unit_test(a_pulse_is_asked_for_and_told),
        cmocka_unit_test(a_pulse_that_does_not_come_is_told),
        cmocka_unit_test(a_watchdog_is_fed_by_pulses),
    };
    return cmocka_run_group_tests_name("monitor", tests, NULL, NULL);
}
