/*
 * Time. Everything below the worker takes its time as an argument, in nanoseconds of one of these clocks; the
 * loop reads the clock once a turn.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_MICROSECOND UINT64_C(1000)
#define CLOCK_MILLISECOND (1000 * CLOCK_MICROSECOND)
#define CLOCK_SECOND      (1000 * CLOCK_MILLISECOND)

/* Nanoseconds since an arbitrary point, never going back; stands still while the machine sleeps. */
uint64_t clock_monotonic(void);

/* The same, but it goes on while the machine sleeps: a growing distance between the two is a sleep. */
uint64_t clock_boot(void);

/* Nanoseconds since the epoch, as the machine believes. For certificates and logs only. */
uint64_t clock_wall(void);

/* How long ago the moment was; 0 where it is ahead: what another thread has noted may be, since each reads
 * the clock for itself. */
static inline uint64_t clock_since(uint64_t moment, uint64_t now)
{
    return now > moment ? now - moment : 0;
}

/* When the sources of this program were last changed, in seconds since the epoch: no clock before it is
 * right.
 */
int64_t clock_source_date(void);

#endif
