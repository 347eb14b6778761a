/*
 * Runs plays: the real rooms from dns to listen, over fake rooms for time, sockets, TLS and streams, told
 * line by line what the world does and what must come of it. The language is described in README.md.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#include "world.h"

static void other_sentence(struct world *world, struct words *words)
{
    if (words_take(words, "after")) {
        world_advance(world, words_duration(words));
    } else if (words_take(words, "descriptors run out")) {
        fake.descriptors_gone = true;
    } else if (words_take(words, "descriptors are back")) {
        fake.descriptors_gone = false;
    } else if (words_take(words, "the network changes")) {
        for (size_t i = 0; i < world->group_count; i++) {
            upstream_pool_network_changed(world->pools[i]);
        }
        if (world->bootstrap != NULL) {
            bootstrap_network_changed(world->bootstrap);
        }
        world_advance(world, 0);
    } else if (words_take(words, "the wall clock says")) {
        world_set_wall(words_number(words) * CLOCK_SECOND);
    } else if (words_take(words, "the cache is flushed")) {
        cache_clear(&world->cache);
    } else if (words_take(words, "drain")) {
        listen_drain(world->doors, -1);
    } else if (words_take(words, "doors are busy")) {
        if (!listen_busy(world->doors)) {
            play_fails("they are not");
        }
    } else if (words_take(words, "doors are quiet")) {
        if (listen_busy(world->doors)) {
            play_fails("they are not");
        }
    }
    words_end(words);
}

static void default_group(struct world *world, struct words *words)
{
    world_servers(world, "default", words);
}

static void further_group(struct world *world, struct words *words)
{
    const char *name = words_next(words);
    world_servers(world, name, words);
}

/* What is said before the start. */
static bool run_preparation(struct world *world, struct words *words)
{
    static const struct {
        const char *word;
        void (*run)(struct world *, struct words *);
    } sentences[] = {{"option", world_option},
                     {"servers", default_group},
                     {"group", further_group},
                     {"route", world_route},
                     {"door", world_door},
                     {"policy", world_policy},
                     {"weight", world_weight},
                     {"hedge", world_hedge},
                     {"places", places_add},
                     {"addresses", places_of_server},
                     {"bootstrap", places_of_bootstrap},
                     {"named", places_named}};
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++) {
        if (words_take(words, sentences[i].word)) {
            sentences[i].run(world, words);
            words_end(words);
            return true;
        }
    }
    return false;
}

static void run_sentence(struct world *world, struct words *words)
{
    if (run_preparation(world, words)) {
        return;
    }
    world_start(world);
    if (words_take(words, "client")) {
        client_sentence(world, words);
    } else if (words_take(words, "server")) {
        server_sentence(world, words);
    } else if (words_take(words, "meter")) {
        meter_sentence(world, words);
    } else if (words_take(words, "log")) {
        log_sentence(world, words);
    } else {
        other_sentence(world, words);
    }
}

/* Every % becomes the number. */
static void number_line(const char *line, unsigned number, char out[LINE_MAX_SIZE])
{
    size_t size = 0;
    for (; *line != '\0' && size < LINE_MAX_SIZE - 16; line++) {
        if (*line == '%') {
            size += (size_t)sprintf(out + size, "%u", number);
        } else {
            out[size++] = *line;
        }
    }
    out[size] = '\0';
}

/* "repeat N ..." says a sentence N times, "burst N ..." without giving the program a turn in between. */
static void run_line(struct world *world, const char *line, unsigned round)
{
    unsigned times = 1, skip = 0;
    char kind[8] = "", numbered[LINE_MAX_SIZE];
    bool counted = sscanf(line, " %7s %u %n", kind, &times, (int *)&skip) == 2 &&
                   (strcmp(kind, "repeat") == 0 || strcmp(kind, "burst") == 0);
    times = counted ? times : 1;
    static struct words words;
    for (unsigned i = 1; i <= times; i++) {
        number_line(counted ? line + skip : line, counted ? i : round, numbered);
        words_split(&words, numbered);
        if (words_done(&words)) {
            return;
        }
        run_sentence(world, &words);
        if (world->started && strcmp(kind, "burst") != 0) {
            world_settle(world);
        }
    }
    if (world->started) {
        world_settle(world);
    }
}

/* A part of the play that is told several times: where it begins, and the number of the round. */
struct loop {
    long offset;
    unsigned line, round, rounds;
};

/* "loop N" and "again" stand around it. Whether the line is one of them. */
static bool run_loop(struct loop *loop, FILE *file, const char *line)
{
    unsigned rounds;
    if (sscanf(line, " loop %u", &rounds) == 1) {
        *loop = (struct loop){.offset = ftell(file), .line = place.line, .round = 1, .rounds = rounds};
        return true;
    }
    if (strncmp(line, "again", strlen("again")) != 0) {
        return false;
    }
    if (loop->round < loop->rounds && fseek(file, loop->offset, SEEK_SET) == 0) {
        loop->round++;
        place.line = loop->line;
    } else {
        loop->round = 1;
    }
    return true;
}

int main(int count, char **arguments)
{
    static struct world world;
    FILE *file = count == 2 ? fopen(arguments[1], "r") : NULL;
    if (file == NULL) {
        fprintf(stderr, "usage: %s PLAY\n", arguments[0]);
        return 2;
    }
    world_init(&world);
    place.path = arguments[1];
    struct loop loop = {.round = 1};
    static char line[LINE_MAX_SIZE];
    while (fgets(line, sizeof line, file) != NULL) {
        place.line++;
        line[strcspn(line, "#\n")] = '\0';
        place.text = line;
        if (!run_loop(&loop, file, line)) {
            run_line(&world, line, loop.round);
        }
    }
    fclose(file);
    place.text = "(the end)";
    world_end(&world);
    return 0;
}
