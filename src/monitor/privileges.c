/*
 * Who the engine becomes. The monitor keeps the rights it was started with; the engine loses them before it
 * reads the first byte of a stranger, and cannot get them back.
 */
#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/error.h"

#include "monitor/internal.h"

static struct identity identity_of(const struct passwd *entry)
{
    return (struct identity){.change = true, .user = entry->pw_uid, .group = entry->pw_gid};
}

static int find_user(const char *name, struct identity *out)
{
    struct passwd *entry = getpwnam(name);
    if (entry == NULL) {
        return ERROR_NOT_FOUND;
    }
    *out = identity_of(entry);
    return 0;
}

/* In the machine's own file alone: a directory service may be out of reach as long as this program, which it
 * finds its servers with, does not run. */
static int find_local_user(const char *name, struct identity *out)
{
    FILE *file = fopen("/etc/passwd", "re");
    struct passwd *entry = NULL;
    while (file != NULL && (entry = fgetpwent(file)) != NULL && strcmp(entry->pw_name, name) != 0) {}
    if (entry != NULL) {
        *out = identity_of(entry);
    }
    if (file != NULL) {
        fclose(file);
    }
    return entry == NULL ? ERROR_NOT_FOUND : 0;
}

static int resolve_as_root(const char *user, struct config_report *report, struct identity *out)
{
    if (user[0] == '\0') {
        out->keeps_root = true;
        return 0;
    }
    if (strcmp(user, "auto") == 0) {
        if (find_local_user("dnseal", out) == 0 || find_local_user("nobody", out) == 0 ||
            find_user("nobody", out) == 0) {
            return 0;
        }
        complain_to(
            report,
            "user: there is neither a user dnseal nor a user nobody: create one (useradd --system dnseal) or "
            "name another");
        return ERROR_INVALID;
    }
    if (find_user(user, out) != 0) {
        complain_to(report,
                    "user: %s: there is no such user: create it (useradd --system %s) or name another", user,
                    user);
        return ERROR_INVALID;
    }
    return 0;
}

static int resolve_as_ordinary_user(const char *user, struct config_report *report, struct identity *out)
{
    if (user[0] == '\0' || strcmp(user, "auto") == 0) {
        return 0;
    }
    struct identity wanted;
    if (find_user(user, &wanted) == 0 && wanted.user == geteuid()) {
        return 0;
    }
    out->change = false;
    complain_to(report,
                "user: %s: only root can change the user: start dnseal as root or as that user, or leave the "
                "option out",
                user);
    return ERROR_INVALID;
}

/* Root in a container may be root by name alone. */
static int check_rights(struct config_report *report)
{
    if (capng_get_caps_process() != 0 || (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETUID) != 0 &&
                                          capng_have_capability(CAPNG_EFFECTIVE, CAP_SETGID) != 0)) {
        return 0;
    }
    complain_to(
        report,
        "user: this root cannot become another user, since it has not the capabilities CAP_SETUID and "
        "CAP_SETGID: start dnseal as an ordinary user (docker run --user 65532:65532), leave root "
        "these two (--cap-add SETUID --cap-add SETGID), or let the engine stay root (an empty user)");
    return ERROR_INVALID;
}

int privileges_resolve(const char *user, struct config_report *report, struct identity *out)
{
    *out = (struct identity){0};
    if (geteuid() != 0) {
        return resolve_as_ordinary_user(user, report, out);
    }
    int error = resolve_as_root(user, report, out);
    return error == 0 && out->change ? check_rights(report) : error;
}

static void insist(bool done, const char *what)
{
    if (!done) {
        complain("the engine cannot give up its privileges: %s: %s", what, strerror(errno));
        abort();
    }
}

/* A service whose limit is 0 already may be forbidden to change it. */
static bool forbid_core(void)
{
    struct rlimit limit = {0};
    return setrlimit(RLIMIT_CORE, &limit) == 0 ||
           (getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 0);
}

void privileges_forbid_dumps(void)
{
    insist(forbid_core(), "core dumps");
    insist(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0, "dumpable");
}

/* A service that has none may be forbidden to change them. */
static bool has_capabilities(void)
{
    return capng_get_caps_process() != 0 || capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE;
}

void privileges_drop(const struct identity *identity)
{
    if (identity->change) {
        insist(setgroups(0, NULL) == 0, "setgroups");
        insist(setresgid(identity->group, identity->group, identity->group) == 0, "setresgid");
        insist(setresuid(identity->user, identity->user, identity->user) == 0, "setresuid");
    }
    if (!identity->keeps_root && has_capabilities()) {
        capng_clear(CAPNG_SELECT_ALL);
        insist(capng_apply(CAPNG_SELECT_CAPS) == 0, "capset");
    }
    if (!identity->keeps_root) {
        insist(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0, "ambient capabilities");
    }
    insist(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    privileges_forbid_dumps(); /* a change of ids has allowed what the system's settings allow */
}

static int compare_descriptors(const void *a, const void *b)
{
    const int *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

void privileges_close_other_descriptors(int *kept, size_t count)
{
    enum { FIRST = 3 }; /* standard streams stay */
    qsort(kept, count, sizeof *kept, compare_descriptors);
    unsigned from = FIRST;
    for (size_t i = 0; i < count; i++) {
        if (kept[i] < FIRST) {
            continue;
        }
        if ((unsigned)kept[i] > from) {
            close_range(from, (unsigned)kept[i] - 1, 0);
        }
        from = (unsigned)kept[i] + 1;
    }
    close_range(from, ~0U, 0);
}
