/*
 * A name's life: looked up, kept for its time, looked up again. A look-up asks every server for IPv6 and for
 * IPv4 addresses at once; the first answer with an address serves its family, and that there is none is
 * believed when nobody says otherwise. The server is told as soon as one family is known and the other has
 * had its chance (RFC 8305, section 3).
 *
 * Without use there is no timer: a name that nobody needed is looked up when its server is connected to
 * again, and serves with its old addresses meanwhile. Only while there are none it is looked up on and on, as
 * any server that is down is looked at.
 */
#include <assert.h>
#include <string.h>

#include "base/error.h"

#include "bootstrap/internal.h"

/* RFC 8305, section 8: the Resolution Delay. */
#define RESOLUTION_DELAY (50 * CLOCK_MILLISECOND)

/* How long the servers have for an answer, and how long it lasts, at least and at most. */
#define PATIENCE       (5 * CLOCK_SECOND)
#define LIFETIME_LEAST 60
#define LIFETIME_MOST  86400

/* Between the beginnings of two look-ups of a name that is needed now; and after one that failed, doubled
 * with each further one, of a name that is needed later. */
#define DISTANCE_LEAST (500 * CLOCK_MILLISECOND)
#define RETRY_FIRST    CLOCK_SECOND
#define RETRY_MOST     (60 * CLOCK_SECOND)

static struct event_loop *loop_of(const struct bootstrap_name *name)
{
    return name->bootstrap->around.loop;
}

static bool is_out(const struct bootstrap_name *name)
{
    return name->family[0].out + name->family[1].out > 0;
}

/* ---- what was found ---- */

/* From one family to the other and back, so that the most are not of one alone. */
static struct address_list merge(const struct bootstrap_name *name)
{
    struct address_list all = {0};
    for (size_t i = 0; i < ADDRESS_LIST_MAX; i++) {
        for (size_t k = 0; k < BOOTSTRAP_FAMILIES; k++) {
            const struct address_list *list = &name->family[k].addresses;
            if (i < list->count) {
                address_list_add(&all, &list->items[i]);
            }
        }
    }
    return all;
}

/* Of what is known; what could not be found out is worth another try soon. */
static uint64_t lifetime_of(const struct bootstrap_name *name)
{
    uint64_t lifetime = LIFETIME_MOST;
    for (size_t k = 0; k < BOOTSTRAP_FAMILIES; k++) {
        const struct bootstrap_family *family = &name->family[k];
        if (family->is_settled || family->out == 0) {
            uint64_t own = family->is_settled ? family->lifetime : LIFETIME_LEAST;
            lifetime = own < lifetime ? own : lifetime;
        }
    }
    return lifetime > LIFETIME_LEAST ? lifetime : LIFETIME_LEAST;
}

/* Gives the server what is known now, where that is anything, and anything new. */
static void give(struct bootstrap_name *name)
{
    const struct bootstrap_options *options = &name->bootstrap->options;
    struct address_list all = merge(name);
    if (all.count == 0 || address_list_same(&all, &name->given)) {
        return;
    }
    name->given = all;
    name->is_wanted = false; /* what was asked for is there now */
    event_timer_clear(&name->due);
    bootstrap_tell_found(name, lifetime_of(name));
    upstream_pool_set_addresses(name->target.pool, name->target.server, &all);
    options->found(options->owner, name->number, &all);
}

static void on_delay(struct event_timer *timer)
{
    give(container_of(timer, struct bootstrap_name, delay));
}

/* Looks up at this moment, unless that is planned for an earlier one. */
static void plan(struct bootstrap_name *name, uint64_t due)
{
    if (!event_timer_pending(&name->due) || due < name->due.due) {
        event_timer_set(loop_of(name), &name->due, due);
    }
}

static uint64_t retry_of(const struct bootstrap_name *name)
{
    uint64_t retry = RETRY_FIRST;
    for (unsigned i = 1; i < name->failures && retry < RETRY_MOST; i++) {
        retry *= 2;
    }
    return retry < RETRY_MOST ? retry : RETRY_MOST;
}

static bool has_found(const struct bootstrap_name *name)
{
    bool found = false;
    for (size_t k = 0; k < BOOTSTRAP_FAMILIES; k++) {
        found |= name->family[k].is_settled && name->family[k].addresses.count > 0;
    }
    return found;
}

/* That is no fault of the name, and whoever waits for it should know. */
static bool is_clock(const char *reason)
{
    return reason != NULL && strcmp(reason, "wrong_clock") == 0;
}

/* All questions have come to an end. */
static void finish(struct bootstrap_name *name)
{
    uint64_t now = event_now(loop_of(name)), lifetime = lifetime_of(name) * CLOCK_SECOND;
    event_timer_clear(&name->delay);
    give(name);
    if (has_found(name)) {
        name->failures = 0;
        name->told = NULL;
        plan(name, now + lifetime - lifetime / 10);
        return;
    }
    name->failures++;
    bootstrap_tell_failure(name);
    upstream_pool_unresolved(name->target.pool, name->target.server,
                             is_clock(name->reason) ? name->reason : "unresolved");
    plan(name, now + retry_of(name));
}

/* ---- answers ---- */

static void blame(struct bootstrap_name *name, const char *reason, const char *server)
{
    name->reason = reason;
    name->blamed = server;
}

/* Takes those out that are our own; whether there were any. */
static bool leave_own(const struct bootstrap_question *question, struct address_list *addresses)
{
    const struct bootstrap_options *options = &question->name->bootstrap->options;
    struct address_list others = {0};
    for (size_t i = 0; i < addresses->count; i++) {
        if (!options->is_own(options->owner, question->name->number, &addresses->items[i])) {
            address_list_add(&others, &addresses->items[i]);
        }
    }
    bool had_own = others.count < addresses->count;
    *addresses = others;
    return had_own;
}

static void settle(struct bootstrap_family *family, const struct address_list *addresses,
                   const struct dns_answer *answer)
{
    struct dns_lifetime lifetime = dns_answer_lifetime(answer);
    family->addresses = *addresses;
    family->is_settled = true;
    family->lifetime = lifetime.kind == DNS_LIFETIME_NONE ? 0 : lifetime.seconds;
}

/* Nobody waits for the other answers of the family. */
static void forget_rest(struct bootstrap_name *name, const struct bootstrap_family *family)
{
    for (size_t i = 0; i < BOOTSTRAP_FAMILIES * name->bootstrap->server_count; i++) {
        struct bootstrap_question *question = &name->questions[i];
        if (question->is_out && question->family == family) {
            question->is_out = false;
            question->family->out--;
            upstream_forget(&question->ask);
        }
    }
}

static void take_answer(struct bootstrap_question *question, const struct upstream_result *result)
{
    struct bootstrap_family *family = question->family;
    struct address_list addresses;
    const char *reason =
        bootstrap_answer_read(result->answer, family->type, question->name->target.port, &addresses);
    bool had_own = leave_own(question, &addresses);
    if (addresses.count > 0) {
        settle(family, &addresses, result->answer);
        forget_rest(question->name, family);
        return;
    }
    blame(question->name, had_own ? "own_address" : reason, result->server);
    family->is_empty |= reason != NULL && strcmp(reason, "no_address") == 0;
}

/* That there is no address of a family is an answer too, once nobody else can have another one. */
static void close_family(struct bootstrap_family *family)
{
    if (family->out == 0 && !family->is_settled && family->is_empty) {
        family->is_settled = true;
        family->lifetime = LIFETIME_MOST;
        family->addresses.count = 0;
    }
}

static void on_done(struct upstream_ask *ask, const struct upstream_result *result)
{
    struct bootstrap_question *question = container_of(ask, struct bootstrap_question, ask);
    struct bootstrap_name *name = question->name;
    question->is_out = false;
    question->family->out--;
    if (result->error != 0) {
        blame(name, result->reason, result->server);
    } else {
        take_answer(question, result);
    }
    close_family(question->family);
    if (!is_out(name)) {
        finish(name);
    } else if (has_found(name) && !event_timer_pending(&name->delay)) {
        event_timer_set(loop_of(name), &name->delay, event_now(loop_of(name)) + RESOLUTION_DELAY);
    }
}

/* ---- questions ---- */

static void begin(struct bootstrap_name *name)
{
    uint64_t now = event_now(loop_of(name));
    event_timer_clear(&name->delay);
    name->begun_at = now;
    name->is_wanted = name->has_lapsed = false;
    blame(name, NULL, NULL);
    for (size_t k = 0; k < BOOTSTRAP_FAMILIES; k++) {
        name->family[k].is_settled = name->family[k].is_empty = false;
    }
    for (size_t i = 0; i < BOOTSTRAP_FAMILIES * name->bootstrap->server_count; i++) {
        struct bootstrap_question *question = &name->questions[i];
        struct upstream_pool *pool = name->bootstrap->pools[i / BOOTSTRAP_FAMILIES];
        struct bootstrap_form form = {.host = name->target.host,
                                      .type = question->family->type,
                                      .padding_block = name->bootstrap->options.padding_block};
        bootstrap_question_write(&question->ask, pool, &form, question->message);
        question->ask.done = on_done;
        question->is_out = true;
        question->family->out++;
        question->ask.deadline = now + PATIENCE;
        upstream_ask(pool, &question->ask);
    }
}

static void take_back(struct bootstrap_name *name)
{
    for (size_t k = 0; k < BOOTSTRAP_FAMILIES; k++) {
        forget_rest(name, &name->family[k]);
    }
}

static void on_due(struct event_timer *timer)
{
    struct bootstrap_name *name = container_of(timer, struct bootstrap_name, due);
    take_back(name); /* it has given what it had, and that is not enough */
    bool is_known = name->given.count > 0;
    if (name->is_wanted || !is_known || upstream_pool_is_warm(name->target.pool)) {
        begin(name);
    } else {
        name->has_lapsed = true;
    }
}

static void on_wanted(struct upstream_lookup *lookup, bool is_urgent)
{
    struct bootstrap_name *name = container_of(lookup, struct bootstrap_name, lookup);
    bool may_help = is_out(name) && !has_found(name);
    if (may_help || !(is_urgent || name->has_lapsed)) {
        return;
    }
    uint64_t now = event_now(loop_of(name)), due = name->begun_at + DISTANCE_LEAST;
    name->is_wanted = true;
    plan(name, due > now ? due : now);
}

void bootstrap_name_doubt(struct bootstrap_name *name)
{
    name->has_lapsed = true;
    if (name->failures > 0) {
        on_wanted(&name->lookup, true);
    }
}

/* ---- life ---- */

void bootstrap_name_init(struct bootstrap_name *name, struct bootstrap *bootstrap, size_t number)
{
    *name = (struct bootstrap_name){
        .lookup.wanted = on_wanted,
        .bootstrap = bootstrap,
        .number = number,
        .family = {{.type = DNS_TYPE_AAAA}, {.type = DNS_TYPE_A}},
        .questions = bootstrap->questions + number * bootstrap->server_count * BOOTSTRAP_FAMILIES,
    };
    event_timer_init(&name->due, on_due);
    event_timer_init(&name->delay, on_delay);
    for (size_t i = 0; i < BOOTSTRAP_FAMILIES * bootstrap->server_count; i++) {
        name->questions[i].name = name;
        name->questions[i].family = &name->family[i % BOOTSTRAP_FAMILIES];
    }
}

void bootstrap_name_begin(struct bootstrap_name *name, const struct bootstrap_target *target)
{
    name->target = *target;
    name->given = target->known;
    for (size_t i = 0; i < target->known.count; i++) {
        const struct address *address = &target->known.items[i];
        address_list_add(&name->family[address->family == AF_INET].addresses, address);
    }
    name->is_wanted = true;
    event_timer_set(loop_of(name), &name->due, event_now(loop_of(name)));
}

void bootstrap_name_end(struct bootstrap_name *name)
{
    event_timer_clear(&name->due);
    event_timer_clear(&name->delay);
    take_back(name);
}
