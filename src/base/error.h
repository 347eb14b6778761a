/*
 * The one list of errors. A function that can fail returns 0 or one of these negative values; what a peer
 * sends is never more than a return value. Values are stable within a program, not between versions.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#define ERROR_LIST(X)                                                     \
    X(AGAIN, "not ready yet")                                             \
    X(SHORT, "fewer bytes than the format needs")                         \
    X(MALFORMED, "bytes that break the format")                           \
    X(SPACE, "does not fit into the space given")                         \
    X(MEMORY, "out of memory")                                            \
    X(EXHAUSTED, "a configured limit is reached")                         \
    X(DESCRIPTORS, "too many open files")                                 \
    X(INVALID, "not a valid value")                                       \
    X(RANGE, "outside the allowed range")                                 \
    X(UNKNOWN, "not known")                                               \
    X(CLOSED, "closed by the peer")                                       \
    X(RESET, "connection reset by the peer")                              \
    X(REFUSED, "connection refused")                                      \
    X(UNREACHABLE, "no route to the address")                             \
    X(TIMEOUT, "timed out")                                               \
    X(ADDRESS_IN_USE, "address already in use")                           \
    X(ADDRESS_MISSING, "this machine does not have the address")          \
    X(PERMISSION, "permission denied")                                    \
    X(DIRECTORY, "is a directory, and a file is needed")                  \
    X(IRREGULAR, "is a pipe, a socket or a device, and a file is needed") \
    X(FULL, "no room left where the file is")                             \
    X(NOT_FOUND, "no such file or entry")                                 \
    X(UNSUPPORTED, "not supported by this system")                        \
    X(TLS, "TLS failure")                                                 \
    X(SYSTEM, "system call failed")

enum error_code {
#define X(name, text) ERROR_INDEX_##name,
    ERROR_LIST(X)
#undef X
        ERROR_COUNT
};

enum error {
#define X(name, text) ERROR_##name = -1 - ERROR_INDEX_##name,
    ERROR_LIST(X)
#undef X
};

/* A sentence fragment in lower case for an error of the list; "no error" for 0. Static memory. */
const char *error_text(int error);

/* The error of the list that stands for a value of errno; ERROR_SYSTEM where none fits better. */
int error_from_errno(int number);

#endif
