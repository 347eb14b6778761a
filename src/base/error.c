/* The texts of the one list of errors, and the way in from errno. */
#include "base/error.h"

#include <errno.h>
#include <stddef.h>

static const char *const texts[ERROR_COUNT] = {
#define X(name, text) [ERROR_INDEX_##name] = text,
    ERROR_LIST(X)
#undef X
};

const char *error_text(int error)
{
    if (error == 0) {
        return "no error";
    }
    if (error > 0 || error < -(int)ERROR_COUNT) {
        return "an error without a name";
    }
    return texts[-1 - error];
}

int error_from_errno(int number)
{
    static const struct {
        int number, error;
    } table[] = {
        {EAGAIN, ERROR_AGAIN},
        {EINPROGRESS, ERROR_AGAIN},
        {ENOMEM, ERROR_MEMORY},
        {ENOBUFS, ERROR_MEMORY},
        {EMFILE, ERROR_DESCRIPTORS},
        {ENFILE, ERROR_DESCRIPTORS},
        {EINVAL, ERROR_INVALID},
        {ECONNRESET, ERROR_RESET},
        {EPIPE, ERROR_RESET},
        {ECONNABORTED, ERROR_RESET},
        {ECONNREFUSED, ERROR_REFUSED},
        {ENETUNREACH, ERROR_UNREACHABLE},
        {EHOSTUNREACH, ERROR_UNREACHABLE},
        {ENETDOWN, ERROR_UNREACHABLE},
        {EHOSTDOWN, ERROR_UNREACHABLE},
        {ETIMEDOUT, ERROR_TIMEOUT},
        {EADDRINUSE, ERROR_ADDRESS_IN_USE},
        {EADDRNOTAVAIL, ERROR_ADDRESS_MISSING},
        {EACCES, ERROR_PERMISSION},
        {EPERM, ERROR_PERMISSION},
        {ENOSPC, ERROR_FULL},
        {EDQUOT, ERROR_FULL},
        {EFBIG, ERROR_FULL},
        {EROFS, ERROR_PERMISSION},
        {ENOENT, ERROR_NOT_FOUND},
        {EISDIR, ERROR_DIRECTORY},
        {ENXIO, ERROR_IRREGULAR},
        {EAFNOSUPPORT, ERROR_UNSUPPORTED},
        {EPROTONOSUPPORT, ERROR_UNSUPPORTED},
        {EOPNOTSUPP, ERROR_UNSUPPORTED},
        {ENOSYS, ERROR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].number == number) {
            return table[i].error;
        }
    }
    return ERROR_SYSTEM;
}
