/*
 * The empty root: a process of its own leaves the root of all others, while a tracer keeps its dead thread
 * from being buried, as a busy machine does now and then.
 */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

#include "engine/engine.h"

#include "engine_test.h"

enum { EVENT_SHIFT = 8 };

static const struct timespec WAKE = {.tv_nsec = 50000000};

/* In the child: 0 if it is where nothing is, and else why not. */
static int leave_root(void)
{
    const struct config config = {.sandbox = CONFIG_SANDBOX_STRICT};
    if (geteuid() != 0) {
        (void)unshare(CLONE_NEWUSER); /* the rights of root, where everybody may have them */
    }
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 || raise(SIGSTOP) != 0) {
        return 1;
    }
    int error = engine_leave_root(&config);
    return geteuid() != 0 && error == ERROR_PERMISSION ? 0 : -error;
}

/* The thread that was just made runs, and nobody asks what has become of it until later. */
static void hold_dead_thread(pid_t child)
{
    unsigned long thread;
    int status;
    assert_int_equal(ptrace(PTRACE_GETEVENTMSG, child, NULL, &thread), 0);
    assert_int_equal(waitpid((pid_t)thread, &status, __WALL), (pid_t)thread);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(ptrace(PTRACE_CONT, (pid_t)thread, NULL, NULL), 0);
    assert_int_equal(ptrace(PTRACE_CONT, child, NULL, NULL), 0);
    nanosleep(&WAKE, NULL);
    assert_int_equal(waitpid((pid_t)thread, &status, __WALL), (pid_t)thread);
    assert_true(WIFEXITED(status));
}

static void a_thread_that_is_buried_late_is_waited_for(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        _exit(leave_root());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL), 0);
    assert_int_equal(ptrace(PTRACE_CONT, child, NULL, NULL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSTOPPED(status)) {
        assert_int_equal(status >> EVENT_SHIFT, SIGTRAP | PTRACE_EVENT_CLONE << EVENT_SHIFT);
        hold_dead_thread(child);
        assert_int_equal(waitpid(child, &status, 0), child);
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_thread_that_is_buried_late_is_waited_for)};
    return cmocka_run_group_tests_name("engine_root", tests, NULL, NULL);
}
