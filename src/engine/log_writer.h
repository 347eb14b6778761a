/*
 * The thread that writes the log: it takes the events of all rings, and is the only one that a slow disk or a
 * stopped reader can hold up. Private to the room.
 */
#ifndef ENGINE_LOG_WRITER_H
#define ENGINE_LOG_WRITER_H

#include "base/log.h"

#include "event/event.h"
#include "metrics/metrics.h"

struct log_writer;

struct log_writer_setup {
    enum log_level level;
    enum log_format format;
    unsigned rings; /* one a worker, and one for the main thread */
    int descriptor; /* stays the caller's until another takes its place: then it is closed */
    struct metrics *metrics;
    bool (*enter)(void *sandbox); /* first thing on the thread, which ends where it is false; or NULL */
    void *sandbox;
};

/* Opens the rings, of so many bytes in all, one for itself among them. ERROR_MEMORY, ERROR_DESCRIPTORS. */
int log_writer_open(const struct log_writer_setup *setup, struct log_writer **out);
size_t log_writer_memory(unsigned rings);
int log_writer_start(struct log_writer *writer);

/* The ring of one producer, and what it posts to when events wait. */
struct log *log_writer_ring(struct log_writer *writer, unsigned ring);
struct event_mailbox *log_writer_mailbox(struct log_writer *writer);

/* From any thread: further lines go to this descriptor, which is the writer's from here on: it closes it when
 * the next one comes, or at the end. */
void log_writer_redirect(struct log_writer *writer, int descriptor);

/* Writes what waits and ends the thread; a descriptor that does not take its bytes is given up after
 * `patience` nanoseconds. Frees everything unless the thread had to be left behind. */
void log_writer_close(struct log_writer *writer, uint64_t patience);

#endif
