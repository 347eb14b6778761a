/*
 * Faults by the thousand: every story is played once in peace, which tells how often it makes each call, and
 * then again and again with one of these calls failing. See README.md.
 */
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

enum { CASES_MAX = 4 << 20, MEMORY_REPEATS = 12, CALL_REPEATS = 3, JOBS_A_CORE = 12, TROUBLES_TOLD = 50 };

struct options {
    const char *story, *call, *error;
    unsigned nth, times, most, jobs;
};

struct fault_case {
    const struct story *story;
    struct plan plan;
};

/* What the processes that play the cases share. */
struct tally {
    atomic_uint next, fired, strikes, never, refused, right, failed, dropped, troubled;
    unsigned count;
    struct fault_case cases[];
};

static struct run run;

/* ---- one case ---- */

/* Cold stories are the first of all. */
static void warm_up(const struct far_end *far)
{
    static bool warm;
    if (!warm) {
        warm = true;
        far_greet(far);
    }
}

static void play(const struct far_end *far, const struct story *story, const struct plan *plan,
                 bool talkative)
{
    struct fault_page *page = run.page;
    if (!story->cold) {
        warm_up(far);
    }
    memset(page, 0, sizeof *page);
    run = (struct run){.connections = {{.size = 0}}};
    page->talkative = talkative;
    run.page = page;
    run.far = far;
    run_play(&run, story, plan);
}

static void make_page(void)
{
    run.page = mmap(NULL, sizeof *run.page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void tell_repeat(const struct fault_case *one)
{
    printf("FAILED: fault_test --story %s --call %s --nth %u --error %s --times %u: %s\n", one->story->name,
           fault_kinds[one->plan.call].name, one->plan.first, fault_error_name(one->plan.error),
           one->plan.times, run.trouble);
    fflush(stdout);
    backtrace_symbols_fd(run.page->frames, run.page->frame_count, STDOUT_FILENO);
}

static void count_case(struct tally *tally, const struct fault_case *one)
{
    unsigned fired = run.page->fired;
    if (run.trouble[0] == '\0' && fired == 0 &&
        (run.refused || run.counts[ASKED_FAILED] + run.counts[ASKED_DROPPED] > 0)) {
        run_trouble(&run, "no fault, and no service: %s, %u right, %u SERVFAIL, %u dropped",
                    run.refused ? "refused" : "started", run.counts[ASKED_RIGHT], run.counts[ASKED_FAILED],
                    run.counts[ASKED_DROPPED]);
    }
    tally->fired += fired > 0;
    tally->strikes += fired;
    tally->never += fired == 0;
    tally->refused += run.refused;
    tally->right += run.counts[ASKED_RIGHT];
    tally->failed += run.counts[ASKED_FAILED];
    tally->dropped += run.counts[ASKED_DROPPED];
    if (run.trouble[0] != '\0' && tally->troubled++ < TROUBLES_TOLD) {
        tell_repeat(one);
    }
}

/* ---- all of them ---- */

static void play_some(struct tally *tally, const struct far_end *far)
{
    make_page();
    for (unsigned i; (i = tally->next++) < tally->count;) {
        play(far, tally->cases[i].story, &tally->cases[i].plan, false);
        count_case(tally, &tally->cases[i]);
    }
}

static bool play_all(struct tally *tally, const struct far_end *far, unsigned jobs)
{
    bool good = true;
    fflush(stdout);
    for (unsigned i = 0; i < jobs; i++) {
        pid_t process = fork();
        if (process == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            play_some(tally, far);
            _exit(0);
        }
    }
    int status;
    for (pid_t gone; (gone = wait(&status)) > 0;) {
        good = good && gone != far->process && status == 0;
        jobs -= gone != far->process;
        if (jobs == 0) {
            break;
        }
    }
    return good;
}

static struct tally *make_tally(void)
{
    size_t size = sizeof(struct tally) + CASES_MAX * sizeof(struct fault_case);
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        perror("fault_test");
        exit(1);
    }
    return memory;
}

/* ---- which cases ---- */

static bool is_wanted(const char *wanted, const char *name)
{
    return wanted == NULL || strcmp(wanted, name) == 0;
}

static void add_case(struct tally *tally, const struct story *story, struct plan plan)
{
    if (tally->count < CASES_MAX) {
        tally->cases[tally->count++] = (struct fault_case){.story = story, .plan = plan};
    }
}

static void add_call(struct tally *tally, const struct options *options, const struct story *story, int call)
{
    for (const int *error = fault_kinds[call].errors; *error != 0; error++) {
        for (unsigned i = 1;
             i <= run.page->counts[call] && is_wanted(options->error, fault_error_name(*error)); i++) {
            struct plan plan = {.call = call, .error = *error, .first = i, .times = 1};
            add_case(tally, story, plan);
            plan.times = call <= FAULT_aligned_alloc ? MEMORY_REPEATS : CALL_REPEATS;
            add_case(tally, story, plan);
        }
    }
}

/* In peace everything is answered, and what is called can be counted. */
static bool add_story(struct tally *tally, const struct options *options, const struct far_end *far,
                      const struct story *story)
{
    const struct plan none = {.call = -1};
    fflush(stdout);
    play(far, story, &none, false);
    if (run.trouble[0] == '\0' &&
        (run.refused || run.counts[ASKED_RIGHT] + run.counts[ASKED_LEFT] != run.asked_count)) {
        run_trouble(&run, "%u of %u questions were answered", run.counts[ASKED_RIGHT], run.asked_count);
    }
    if (run.trouble[0] != '\0') {
        printf("FAILED: %s without any fault: %s\n", story->name, run.trouble);
        return false;
    }
    for (int call = 0; call < FAULT_CALL_COUNT; call++) {
        if (is_wanted(options->call, fault_kinds[call].name)) {
            add_call(tally, options, story, call);
        }
    }
    return true;
}

/* Evenly over the whole list, so that each call of each story is among them. */
static void thin_out(struct tally *tally, unsigned most)
{
    unsigned all = tally->count;
    if (most == 0 || all <= most) {
        return;
    }
    for (unsigned i = 0; i < most; i++) {
        tally->cases[i] = tally->cases[(uint64_t)i * all / most];
    }
    tally->count = most;
}

/* A process of its own plays in peace, so that the library is cold in the others. */
static bool gather(struct tally *tally, const struct options *options, const struct far_end *far)
{
    pid_t process = fork();
    if (process == 0) {
        bool good = true;
        make_page();
        for (size_t i = 0; i < story_count; i++) {
            if (is_wanted(options->story, stories[i].name)) {
                good = add_story(tally, options, far, &stories[i]) && good;
            }
        }
        fflush(stdout);
        _exit(good ? 0 : 1);
    }
    int status;
    return waitpid(process, &status, 0) == process && status == 0;
}

/* ---- the command line ---- */

static int run_many(const struct options *options, const struct far_end *far)
{
    struct tally *tally = make_tally();
    bool good = gather(tally, options, far);
    unsigned all = tally->count;
    thin_out(tally, options->most);
    good = play_all(tally, far, options->jobs) && good;
    printf("faults: %u of %u cases played; in %u of them a fault struck (%u in all), in %u it was never "
           "reached\n",
           tally->count, all, tally->fired, tally->strikes, tally->never);
    printf("faults: %u starts refused; %u right answers, %u SERVFAIL, %u counted drops; %u cases failed\n",
           tally->refused, tally->right, tally->failed, tally->dropped, tally->troubled);
    return good && tally->fired > 0 && tally->troubled == 0 ? 0 : 1;
}

static const struct story *find_story(const char *name)
{
    for (size_t i = 0; i < story_count; i++) {
        if (strcmp(stories[i].name, name) == 0) {
            return &stories[i];
        }
    }
    return NULL;
}

static int find_call(const char *name)
{
    for (int call = 0; call < FAULT_CALL_COUNT; call++) {
        if (strcmp(fault_kinds[call].name, name) == 0) {
            return call;
        }
    }
    return -1;
}

static int find_error(int call, const char *name)
{
    for (const int *error = fault_kinds[call].errors; *error != 0; error++) {
        if (is_wanted(name, fault_error_name(*error))) {
            return *error;
        }
    }
    return 0;
}

static int run_one(const struct options *options, const struct far_end *far)
{
    struct fault_case one = {.story = find_story(options->story), .plan = {.call = find_call(options->call)}};
    if (one.story == NULL || one.plan.call < 0) {
        return 2;
    }
    one.plan = (struct plan){.call = one.plan.call,
                             .error = find_error(one.plan.call, options->error),
                             .first = options->nth,
                             .times = options->times};
    make_page();
    play(far, one.story, &one.plan, true);
    printf("%s; the fault struck %u times; %u right answers, %u SERVFAIL, %u counted drops\n",
           run.refused ? "refused" : "served", run.page->fired, run.counts[ASKED_RIGHT],
           run.counts[ASKED_FAILED], run.counts[ASKED_DROPPED]);
    if (run.trouble[0] != '\0') {
        tell_repeat(&one);
    }
    return run.trouble[0] == '\0' ? 0 : 1;
}

static int help(void)
{
    fputs("Usage: fault_test [--story NAME] [--call NAME] [--error NAME] [--most COUNT] [--jobs COUNT]\n"
          "       fault_test --story NAME --call NAME --nth N [--error NAME] [--times N]\n",
          stderr);
    return 2;
}

static bool read_option(struct options *options, const char *name, const char *value)
{
    const struct {
        const char *name;
        const char **text;
        unsigned *number;
    } known[] = {
        {"--story", &options->story, NULL}, {"--call", &options->call, NULL},
        {"--error", &options->error, NULL}, {"--nth", NULL, &options->nth},
        {"--times", NULL, &options->times}, {"--most", NULL, &options->most},
        {"--jobs", NULL, &options->jobs},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) == 0 && value != NULL) {
            if (known[i].text != NULL) {
                *known[i].text = value;
            } else {
                *known[i].number = (unsigned)strtoul(value, NULL, 10);
            }
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    struct options options = {.times = 1, .jobs = JOBS_A_CORE * (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};
    for (int i = 1; i < argc; i += 2) {
        if (!read_option(&options, argv[i], argv[i + 1])) {
            return help();
        }
    }
    signal(SIGPIPE, SIG_IGN);
    if (tls_library_open() != 0) {
        return 1;
    }
    struct far_end *far = far_raise();
    bool single = options.nth > 0 && options.story != NULL && options.call != NULL;
    int code = single ? run_one(&options, far) : run_many(&options, far);
    far_raze(far);
    return code;
}
