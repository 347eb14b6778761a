/*
 * The sandbox from inside: each attempt is made by a thread of a process of its own, which is confined as an
 * engine is, and which tells what came of it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

#include "net/net.h"

#include "engine/calls.h"
#include "engine/engine.h"
#include "engine/landlock.h"
#include "engine/sandbox.h"
#include "engine/trap.h"

#include "engine_test.h"

enum { ARGUMENTS = 6 };

/* What came of a call: 0, errno, or this. */
enum { TRAPPED = 201, NO_SANDBOX = 202, KILLED = 203 };

struct attempt {
    enum calls_thread thread;
    int number;
    long arguments[ARGUMENTS];
};

static const struct attempt *attempted; /* in the child */
static struct sandbox sandbox;

/* At once: a sanitizer's own way out takes a second and looks for threads that are left. */
_Noreturn static void leave(int code)
{
    for (;;) {
        syscall(SYS_exit_group, code);
    }
}

_Noreturn static void make_attempt(void)
{
    const long *a = attempted->arguments;
    long result = syscall(attempted->number, a[0], a[1], a[2], a[3], a[4], a[5]);
    leave(result == -1 ? errno : 0);
}

static void *run_worker(void *unused)
{
    if (sandbox_enter_worker(&sandbox) && attempted->thread == CALLS_WORKER) {
        make_attempt();
    }
    return unused;
}

static void *run_log(void *unused)
{
    if (sandbox_enter_log(&sandbox) && attempted->thread == CALLS_LOG) {
        make_attempt();
    }
    return unused;
}

_Noreturn static void be_engine(void)
{
    pthread_t worker, log;
    sandbox_open(&sandbox, CONFIG_SANDBOX_STRICT, 0);
    if (pthread_create(&worker, NULL, run_worker, NULL) != 0 ||
        pthread_create(&log, NULL, run_log, NULL) != 0) {
        leave(NO_SANDBOX);
    }
    sandbox_shut(&sandbox, 2, CALLS_MAIN);
    if (sandbox_degraded(&sandbox) > 0) {
        leave(NO_SANDBOX);
    }
    if (attempted->thread == CALLS_MAIN) {
        make_attempt();
    }
    pthread_join(worker, NULL);
    pthread_join(log, NULL);
    leave(NO_SANDBOX);
}

_Noreturn static void be_dialler(void)
{
    char reason[ENGINE_REASON_SIZE];
    const struct config config = {.sandbox = CONFIG_SANDBOX_STRICT};
    if (engine_confine_dial(&config, 0, reason) != 0) {
        leave(NO_SANDBOX);
    }
    make_attempt();
}

/* The letter of an engine that made a call it never makes names the call. */
static bool is_told(int channel, int number)
{
    uint8_t letter[64];
    struct engine_trap trap = {0};
    int size = net_local_receive(channel, letter, sizeof letter, NULL);
    return size > 0 && engine_trap_read(span_of(letter, (size_t)size), &trap) == 0 && trap.number == number;
}

static int outcome_of(const struct attempt *attempt)
{
    int channel[2], status;
    assert_int_equal(net_local_pair(channel), 0);
    pid_t child = fork();
    if (child == 0) {
        attempted = attempt;
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        trap_open(channel[1]);
        if (attempt->thread == CALLS_DIAL) {
            be_dialler();
        }
        be_engine();
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && is_told(channel[0], attempt->number);
    net_close(channel[0]);
    net_close(channel[1]);
    return aborted ? TRAPPED : WIFSIGNALED(status) ? KILLED : WEXITSTATUS(status);
}

static bool is_of_tools(const char *name)
{
    struct calls_list tools = engine_tools_calls();
    for (size_t i = 0; i < tools.count; i++) {
        if (strcmp(tools.rules[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- forty calls and more ---- */

#define UNKNOWN ENOSYS

static const struct {
    const char *name;
    int expected;
    long arguments[ARGUMENTS];
} forbidden[] = {
    {"execve", TRAPPED, {0}},
    {"execveat", TRAPPED, {-1}},
    {"fork", TRAPPED, {0}},
    {"vfork", TRAPPED, {0}},
    {"clone", TRAPPED, {SIGCHLD}},
    {"clone3", TRAPPED, {0}},
    {"ptrace", TRAPPED, {-1}},
    {"process_vm_readv", TRAPPED, {-1}},
    {"process_vm_writev", TRAPPED, {-1}},
    {"kill", TRAPPED, {1, 0}},
    {"tgkill", UNKNOWN, {1, 1, 0}},
    {"open", UNKNOWN, {(long)"/etc/passwd", O_RDONLY}},
    {"open", TRAPPED, {(long)"/nowhere/x", O_WRONLY | O_CREAT, 0600}},
    {"openat", UNKNOWN, {AT_FDCWD, (long)"/etc/passwd", O_RDONLY | O_CLOEXEC}},
    {"openat", TRAPPED, {AT_FDCWD, (long)"/nowhere/x", O_WRONLY | O_CREAT | O_CLOEXEC, 0600}},
    {"openat", TRAPPED, {AT_FDCWD, (long)"/nowhere/x", O_RDWR}},
    {"openat2", TRAPPED, {AT_FDCWD}},
    {"creat", TRAPPED, {(long)"/nowhere/x", 0600}},
    {"mkdirat", UNKNOWN, {AT_FDCWD, (long)"/nowhere/x", 0700}},
    {"unlinkat", UNKNOWN, {AT_FDCWD, (long)"/nowhere/x", 0}},
    {"renameat2", UNKNOWN, {AT_FDCWD, (long)"/nowhere/x", AT_FDCWD, (long)"/nowhere/y", 0}},
    {"fchmodat", UNKNOWN, {AT_FDCWD, (long)"/nowhere/x", 0700}},
    {"fchownat", UNKNOWN, {AT_FDCWD, (long)"/nowhere/x", 0, 0, 0}},
    {"truncate", UNKNOWN, {(long)"/nowhere/x", 0}},
    {"statx", UNKNOWN, {AT_FDCWD, (long)"/", 0, 0, 0}},
    {"readlinkat", UNKNOWN, {AT_FDCWD, (long)"/proc/self/exe", 0, 0}},
    {"getdents64", UNKNOWN, {-1}},
    {"ioctl", UNKNOWN, {0, 0x5413}},
    {"fcntl", UNKNOWN, {0, F_SETFL, 0}},
    {"dup", UNKNOWN, {0}},
    {"memfd_create", UNKNOWN, {(long)"x", 0}},
    {"socket", TRAPPED, {AF_NETLINK, SOCK_RAW, 0}},
    {"socket", TRAPPED, {AF_INET, SOCK_RAW, IPPROTO_ICMP}},
    {"socket", TRAPPED, {AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6}},
    {"socket", TRAPPED, {AF_UNIX, SOCK_STREAM, 0}},
    {"socket", TRAPPED, {AF_PACKET, SOCK_RAW, 0}},
    {"socket", TRAPPED, {AF_VSOCK, SOCK_STREAM, 0}},
    {"socket", TRAPPED, {AF_ALG, SOCK_SEQPACKET, 0}},
    {"socket", UNKNOWN, {AF_INET, SOCK_STREAM, 0}},
    {"socket", UNKNOWN, {AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_SCTP}},
    {"socketpair", TRAPPED, {AF_UNIX, SOCK_STREAM, 0, 0}},
    {"listen", TRAPPED, {-1, 1}},
    {"setsockopt", UNKNOWN, {-1, SOL_SOCKET, SO_ATTACH_FILTER, 0, 0}},
    {"setsockopt", UNKNOWN, {-1, IPPROTO_TCP, 31 /* TCP_ULP */, 0, 0}},
    {"getsockopt", UNKNOWN, {-1, SOL_SOCKET, SO_PEERCRED, 0, 0}},
    {"shutdown", UNKNOWN, {-1, 0}},
    {"mmap", TRAPPED, {0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
    {"mmap", TRAPPED, {0, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
    {"mmap", UNKNOWN, {0, 4096, PROT_READ, MAP_PRIVATE, 0, 0}},
    {"mprotect", TRAPPED, {0, 0, PROT_READ | PROT_EXEC}},
    {"pkey_mprotect", TRAPPED, {0, 0, PROT_READ, -1}},
    {"madvise", UNKNOWN, {0, 0, MADV_HUGEPAGE}},
    {"mlockall", UNKNOWN, {0}},
    {"shmget", UNKNOWN, {0, 4096, 0600}},
    {"bpf", TRAPPED, {-1}},
    {"perf_event_open", TRAPPED, {0, 0, -1, -1, 0}},
    {"userfaultfd", TRAPPED, {-1}},
    {"io_uring_setup", TRAPPED, {0}},
    {"io_uring_enter", TRAPPED, {-1}},
    {"init_module", TRAPPED, {0}},
    {"finit_module", TRAPPED, {-1}},
    {"kexec_load", TRAPPED, {-1, -1, 0, -1}},
    {"reboot", TRAPPED, {0}},
    {"mount", TRAPPED, {0}},
    {"umount2", TRAPPED, {0}},
    {"chroot", TRAPPED, {(long)"/nowhere"}},
    {"pivot_root", TRAPPED, {0}},
    {"unshare", TRAPPED, {0}},
    {"setns", TRAPPED, {-1}},
    {"setuid", TRAPPED, {0}},
    {"setresuid", TRAPPED, {-1, -1, -1}},
    {"setresgid", TRAPPED, {-1, -1, -1}},
    {"setgroups", TRAPPED, {0, 0}},
    {"capset", TRAPPED, {0}},
    {"keyctl", TRAPPED, {-1}},
    {"personality", UNKNOWN, {-1}},
    {"prctl", UNKNOWN, {PR_GET_DUMPABLE}},
    {"seccomp", UNKNOWN, {-1}},
    {"landlock_create_ruleset", UNKNOWN, {0, 0, 1}},
    {"setrlimit", UNKNOWN, {0}},
    {"clock_settime", TRAPPED, {0}},
    {"uname", UNKNOWN, {0}},
};

/* Shows: S02 */
static void forbidden_calls_are_trapped_or_unknown(void **state)
{
    (void)state;
    unsigned tried = 0;
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        struct attempt attempt = {.thread = CALLS_WORKER,
                                  .number = seccomp_syscall_resolve_name(forbidden[i].name)};
        memcpy(attempt.arguments, forbidden[i].arguments, sizeof attempt.arguments);
        if (attempt.number < 0 || is_of_tools(forbidden[i].name)) {
            continue; /* not of this kind of machine, or of this kind of build */
        }
        int outcome = outcome_of(&attempt);
        if (outcome != forbidden[i].expected) {
            fail_msg("%s (number %zu of the list): %d", forbidden[i].name, i, outcome);
        }
        tried++;
    }
    assert_true(tried >= 40);
}

/* ---- the lists ---- */

/* Arguments that a rule bears, and that make no sense beyond that. */
static struct attempt attempt_of(const struct calls_rule *rule, enum calls_thread thread)
{
    struct attempt attempt = {.thread = thread,
                              .number = seccomp_syscall_resolve_name(rule->name),
                              .arguments = {-1, -1, -1, -1, -1, -1}};
    for (unsigned i = 0; i < CALLS_CONDITIONS_MAX && rule->conditions[i].mask != 0; i++) {
        attempt.arguments[rule->conditions[i].argument] = (long)rule->conditions[i].value;
    }
    if (attempt.number == SYS_futex) {
        attempt.arguments[1] = 1; /* the call knows ENOSYS itself */
    }
    return attempt;
}

static bool ends_the_thread(const char *name)
{
    return strcmp(name, "exit") == 0 || strcmp(name, "exit_group") == 0 || strcmp(name, "tgkill") == 0;
}

static bool may_make(const char *name, enum calls_thread thread)
{
    struct calls_list list = calls_allowed();
    bool found = is_of_tools(name);
    for (size_t i = 0; i < list.count; i++) {
        found |= strcmp(list.rules[i].name, name) == 0 && (list.rules[i].threads & thread) != 0;
    }
    return found;
}

static void check_rule(const struct calls_rule *rule, enum calls_thread thread)
{
    struct attempt attempt = attempt_of(rule, thread);
    int outcome = attempt.number < 0 || ends_the_thread(rule->name) ? -1 : outcome_of(&attempt);
    bool is_made = outcome != ENOSYS && outcome < TRAPPED;
    if (outcome >= 0 && is_made != may_make(rule->name, thread)) {
        fail_msg("%s (%s) by thread %u: %d", rule->name, rule->when != NULL ? rule->when : "always",
                 (unsigned)thread, outcome);
    }
}

/* Shows: S02 */
static void each_thread_makes_its_own_calls_and_no_others(void **state)
{
    (void)state;
    struct calls_list list = calls_allowed();
    for (size_t i = 0; i < list.count; i++) {
        for (enum calls_thread thread = CALLS_WORKER; thread <= CALLS_DIAL; thread *= 2) {
            check_rule(&list.rules[i], thread);
        }
    }
}

/* Shows: S02 */
static void every_trap_is_one_for_every_thread(void **state)
{
    (void)state;
    struct calls_list list = calls_trapped();
    for (size_t i = 0; i < list.count; i++) {
        const struct calls_rule *rule = &list.rules[i];
        for (enum calls_thread thread = CALLS_WORKER; thread <= CALLS_DIAL; thread *= 2) {
            struct attempt attempt = attempt_of(rule, thread);
            bool is_here = attempt.number >= 0 && !is_of_tools(rule->name);
            if (is_here && outcome_of(&attempt) != TRAPPED) {
                fail_msg("%s by thread %u", rule->name, (unsigned)thread);
            }
        }
    }
}

static unsigned count_names(enum calls_thread thread)
{
    struct calls_list list = calls_allowed();
    unsigned count = 0;
    for (size_t i = 0; i < list.count; i++) {
        bool is_new = i == 0 || strcmp(list.rules[i].name, list.rules[i - 1].name) != 0;
        bool is_here = seccomp_syscall_resolve_name(list.rules[i].name) >= 0;
        count += is_new && is_here && (list.rules[i].threads & thread) != 0;
    }
    return count;
}

/* Shows: S02 */
static void the_lists_are_short(void **state)
{
    (void)state;
    assert_in_range(count_names(CALLS_WORKER), 20, 45);
    assert_true(count_names(CALLS_MAIN) < count_names(CALLS_WORKER));
    assert_true(count_names(CALLS_LOG) < count_names(CALLS_MAIN));
}

/* A misspelt name would be left out in silence. */
static void every_name_is_known(void **state)
{
    (void)state;
    const struct calls_list lists[] = {calls_allowed(), calls_trapped(), engine_tools_calls()};
    for (size_t list = 0; list < sizeof lists / sizeof lists[0]; list++) {
        for (size_t i = 0; i < lists[list].count; i++) {
            if (seccomp_syscall_resolve_name(lists[list].rules[i].name) == __NR_SCMP_ERROR) {
                fail_msg("nobody knows %s", lists[list].rules[i].name);
            }
        }
    }
}

/* ---- letters ---- */

/* Whoever reads it has more rights than whoever wrote it. */
static void the_last_word_of_an_engine_is_read(void **state)
{
    (void)state;
    uint8_t letter[6] = {ENGINE_TRAPPED};
    struct engine_trap trap;
    int32_t number = SYS_execve;
    memcpy(letter + 1, &number, sizeof number);
    assert_int_equal(engine_trap_read(span_of(letter, 5), &trap), 0);
    assert_int_equal(trap.number, SYS_execve);
    assert_string_equal(trap.name, "execve");
    number = -7;
    memcpy(letter + 1, &number, sizeof number);
    assert_int_equal(engine_trap_read(span_of(letter, 5), &trap), 0);
    assert_int_equal(trap.number, -7);
    assert_string_equal(trap.name, "");
    for (size_t size = 0; size <= 6; size++) {
        assert_int_equal(engine_trap_read(span_of(letter, size), &trap), size == 5 ? 0 : ERROR_MALFORMED);
    }
    letter[0] = ENGINE_READY;
    assert_int_equal(engine_trap_read(span_of(letter, 5), &trap), ERROR_MALFORMED);
}

/* ---- files ---- */

/* Runs in a process of its own; the number of the first thing that is not as it should be, or 0. */
static int look_at_files(int readable)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, bound;
    socklen_t size = sizeof bound;
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&any, sizeof any) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&bound, &size) != 0) {
        return 1;
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (landlock_take(readable) != 0) {
        return 2;
    }
    bool is_read = open("/etc/passwd", O_RDONLY) >= 0 && open("/", O_RDONLY | O_DIRECTORY) >= 0;
    if (is_read != (readable >= 0)) {
        return 3;
    }
    if (open("/tmp/dnseal-landlock", O_WRONLY | O_CREAT, 0600) >= 0 || errno != EACCES) {
        return 4;
    }
    if (mkdir("/tmp/dnseal-landlock", 0700) == 0 || errno != EACCES) {
        return 5;
    }
    if (connect(client, (struct sockaddr *)&bound, sizeof bound) != 0) {
        return 6; /* it is what links do */
    }
    return 0;
}

static int look_in_child(int readable)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        _exit(look_at_files(readable));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : KILLED;
}

static void no_file_is_left(void **state)
{
    (void)state;
    assert_int_equal(look_in_child(-1), 0);
}

static void tools_read_and_write_nothing(void **state)
{
    (void)state;
    int root = open("/", O_PATH | O_CLOEXEC);
    assert_int_equal(look_in_child(root), 0);
    close(root);
}

/* ---- layers that are missing ---- */

static void a_missing_layer_is_told(void **state)
{
    (void)state;
    char reason[ENGINE_REASON_SIZE];
    struct sandbox lacking = {.mode = CONFIG_SANDBOX_AUTO, .missing = {[SANDBOX_ROOT] = ERROR_PERMISSION}};
    assert_int_equal(sandbox_degraded(&lacking), 0); /* it was never owed */
    lacking.missing[SANDBOX_ROOT] = ERROR_NOT_FOUND;
    lacking.missing[SANDBOX_LANDLOCK] = ERROR_PERMISSION;
    assert_int_equal(sandbox_degraded(&lacking), 2);
    assert_int_equal(sandbox_judge(&lacking, reason, sizeof reason), 0);
    lacking.mode = CONFIG_SANDBOX_STRICT;
    assert_int_equal(sandbox_judge(&lacking, reason, sizeof reason), ERROR_UNSUPPORTED);
    assert_non_null(strstr(reason, "sandbox: strict: root: no such file or entry: "));
    lacking.missing[SANDBOX_ROOT] = 0;
    assert_int_equal(sandbox_judge(&lacking, reason, sizeof reason), ERROR_UNSUPPORTED);
    assert_non_null(strstr(reason, "sandbox: strict: landlock: permission denied: "));
    assert_non_null(strstr(reason, "set sandbox to auto")); /* none is cut */
}

static void *enter_lacking(void *unused)
{
    leave(sandbox_enter_worker(&sandbox) ? NO_SANDBOX : 0);
    return unused;
}

_Noreturn static void start_without_root(void)
{
    pthread_t thread;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    sandbox_open(&sandbox, CONFIG_SANDBOX_STRICT, ERROR_NOT_FOUND);
    if (pthread_create(&thread, NULL, enter_lacking, NULL) == 0) {
        sandbox_shut(&sandbox, 1, CALLS_MAIN);
        pthread_join(thread, NULL);
    }
    leave(KILLED);
}

/* Not for the moment that it takes to refuse the start. Shows: S06 */
static void where_a_layer_is_insisted_on_no_thread_goes_on_without(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        start_without_root();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static struct sandbox refusing;

static void *enter_refused(void *went_on)
{
    *(bool *)went_on = sandbox_enter_worker(&refusing);
    return NULL;
}

/* A thread that waits while another cannot be started goes away. */
static void refused_threads_do_not_go_on(void **state)
{
    (void)state;
    pthread_t thread;
    bool went_on = true;
    sandbox_open(&refusing, CONFIG_SANDBOX_OFF, 0);
    assert_int_equal(pthread_create(&thread, NULL, enter_refused, &went_on), 0);
    sandbox_refuse(&refusing);
    pthread_join(thread, NULL);
    sandbox_close(&refusing);
    assert_false(went_on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forbidden_calls_are_trapped_or_unknown),
        cmocka_unit_test(each_thread_makes_its_own_calls_and_no_others),
        cmocka_unit_test(every_trap_is_one_for_every_thread),
        cmocka_unit_test(the_lists_are_short),
        cmocka_unit_test(every_name_is_known),
        cmocka_unit_test(the_last_word_of_an_engine_is_read),
        cmocka_unit_test(no_file_is_left),
        cmocka_unit_test(tools_read_and_write_nothing),
        cmocka_unit_test(a_missing_layer_is_told),
        cmocka_unit_test(where_a_layer_is_insisted_on_no_thread_goes_on_without),
        cmocka_unit_test(refused_threads_do_not_go_on),
    };
    return cmocka_run_group_tests_name("engine_sandbox", tests, NULL, NULL);
}
