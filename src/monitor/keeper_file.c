/*
 * The file of the cache, by the child that the keeper makes for it: read, and written beside the
 * old one until it can take its place. It runs with the rights that the program was started with.
 */
#include <unistd.h>

#include "base/error.h"

#include "monitor/internal.h"

static void fail(struct keeper_outcome *outcome, int error)
{
    outcome->fault = KEEP_FAULT_SYSTEM;
    outcome->error = error;
}

void keeper_file_read(struct keeper_job *job, struct keeper_outcome *outcome)
{
    struct place place;
    int error = place_open(job->path, &place);
    if (error != 0) {
        fail(outcome, error);
        return;
    }
    int old = place_open_old(&place, outcome);
    if (old >= 0 && outcome->fault == KEEP_FAULT_NONE) {
        outcome->fault = keep_read(&job->cache, &job->terms, old, &outcome->count, &outcome->error);
    }
}

void keeper_file_write(struct keeper_job *job, struct keeper_outcome *outcome)
{
    struct place place;
    int error = place_open(job->path, &place);
    if (error != 0) {
        fail(outcome, error);
        return;
    }
    if (!place_is_free(&place, keep_is_ours, outcome)) {
        return;
    }
    if (job->forgets) {
        unlinkat(place.directory, place.name, 0);
    }
    int new = place_open_new(&place);
    if (new < 0) {
        fail(outcome, new);
        return;
    }
    error = keep_write(&job->cache, &job->terms, new, &outcome->count);
    if (error == 0) {
        error = place_put(&place, new);
    }
    if (error != 0) {
        place_drop(&place);
    }
    outcome->fault = error == 0 ? KEEP_FAULT_NONE : KEEP_FAULT_SYSTEM;
    outcome->error = error;
}
