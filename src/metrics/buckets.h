/* The bounds of the histograms, private to the room. */
#ifndef METRICS_BUCKETS_H
#define METRICS_BUCKETS_H

#include "base/clock.h"

#include "metrics/metrics.h"

/* Upper bounds in microseconds, for the exposition in seconds. */
#define METRICS_BOUNDS(X) \
    X(100, "0.0001")      \
    X(250, "0.00025")     \
    X(500, "0.0005")      \
    X(1000, "0.001")      \
    X(2500, "0.0025")     \
    X(5000, "0.005")      \
    X(10000, "0.01")      \
    X(25000, "0.025")     \
    X(50000, "0.05")      \
    X(100000, "0.1")      \
    X(250000, "0.25")     \
    X(500000, "0.5")      \
    X(1000000, "1")       \
    X(2500000, "2.5")     \
    X(5000000, "5")

#endif
