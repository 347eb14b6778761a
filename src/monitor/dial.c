/*
 * --check --connect: the servers dialled, by a child that has no rights, since what it reads comes from
 * strangers; the monitor itself only waits for it. Called by monitor.c.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"

#include "tls/tls.h"

#include "monitor/internal.h"

#include "probe/probe.h"

static void write_out(struct probe_sink *sink, struct span text)
{
    (void)sink;
    fwrite(text.data, 1, text.size, stdout);
}

/* Only for eyes, and only where they want it (no-color.org). */
static bool wants_colour(void)
{
    const char *refusal = getenv("NO_COLOR"), *terminal = getenv("TERM");
    bool is_plain = terminal == NULL || strcmp(terminal, "dumb") == 0;
    return isatty(STDOUT_FILENO) && !is_plain && (refusal == NULL || refusal[0] == '\0');
}

static int build_trust(const struct plan *plan, struct tls_trust **out)
{
    void *text;
    *out = NULL;
    if (plan->authorities < 0) {
        return 0;
    }
    int error = memory_map(plan->authorities, plan->authorities_size, &text);
    if (error == 0) {
        error = tls_trust_build(span_of(text, plan->authorities_size), out);
        memory_close(text, plan->authorities_size);
    }
    return error;
}

static void tell_sum(size_t upstreams, size_t failed)
{
    if (failed == 0) {
        printf("dnseal: %s\n", upstreams == 1 ? "the upstream works" : "all upstreams work");
    } else {
        printf("dnseal: %zu of %zu upstreams %s\n", failed, upstreams, failed == 1 ? "fails" : "fail");
    }
}

/* Everything is open but what comes in from outside. */
static bool confine(const struct plan *plan, int root)
{
    char reason[ENGINE_REASON_SIZE];
    bool is_loaded = tls_library_load() == 0;
    bool is_confined = is_loaded && engine_confine_dial(plan->config, root, reason) == 0;
    if (!is_loaded) {
        complain("the TLS library cannot be loaded");
    } else if (!is_confined) {
        complain("%s", reason);
    }
    return is_confined;
}

static int dial_with(const struct plan *plan, struct tls_trust *trust, int root)
{
    struct probe_sink sink = {.write = write_out};
    struct probe_setup setup = {
        .config = plan->config,
        .upstream_count = plan->upstreams_used,
        .trust = trust,
        .is_coloured = wants_colour(),
        .sink = &sink,
    };
    if (!confine(plan, root)) {
        return 1;
    }
    size_t failed = 0;
    int error = probe_run(&setup, &failed);
    if (error != 0) {
        complain("the upstreams cannot be dialled: %s", error_text(error));
        return 1;
    }
    tell_sum(plan->upstreams_used, failed);
    return failed > 0;
}

/* Runs in the child. */
static int dial(struct plan *plan, const struct identity *identity, pid_t monitor)
{
    privileges_close_other_descriptors(&plan->authorities, 1);
    int root = engine_leave_root(plan->config);
    privileges_drop(identity);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != monitor) {
        return 1;
    }
    struct tls_trust *trust;
    int error = build_trust(plan, &trust);
    if (error != 0) {
        complain("tls.ca: %s: %s", plan->config->tls.ca, error_text(error));
        return 1;
    }
    int code = dial_with(plan, trust, root);
    tls_trust_free(trust);
    return arguments_are_answered() ? code : 1;
}

static int wait_for(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            return 1;
        }
    }
    if (WIFSIGNALED(status)) {
        complain("the process that dialled the upstreams was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
        return 1;
    }
    return WEXITSTATUS(status);
}

/* An ordinary user need not be the one who will serve. */
static int resolve(const struct config *config, struct identity *out)
{
    struct config_report report = complain_on_standard_error();
    *out = (struct identity){0};
    return geteuid() == 0 ? privileges_resolve(config->user, &report, out) : 0;
}

int dial_upstreams(struct plan *plan)
{
    struct identity identity;
    if (resolve(plan->config, &identity) != 0) {
        return 1;
    }
    fflush(stdout);
    pid_t monitor = getpid();
    pid_t child = fork();
    if (child == 0) {
        exit(dial(plan, &identity, monitor));
    }
    if (child < 0) {
        complain("the upstreams cannot be dialled: %s", strerror(errno));
        return 1;
    }
    return wait_for(child);
}
