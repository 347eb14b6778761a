/* A fake of src/tls: nothing but its words; handshakes are events of the fake streams. */
#include "tls/tls.h"

const char *tls_reason_word(enum tls_reason reason)
{
    static const char *const words[TLS_REASON_COUNT] = {
#define X(name, word) word,
        TLS_REASONS(X)
#undef X
    };
    return words[reason];
}
