/*
 * Why a stream came to nothing, as words for logs and people, and what a person can do about each. Used by
 * whoever connects: the back door while it serves, and the check that dials every server.
 */
#include "base/error.h"

#include "stream/stream.h"

static const char *const otherwise = "see the reason, and tls_failure before it where there is one";

static const struct {
    const char *word, *hint;
} hints[] = {
    {"unreachable", "no route to the server: check the network; it is tried again as queries come"},
    {"forbidden", "this machine does not let anybody send there: check its firewall and its routes"},
    {"failed", "the system refuses to send there: check this machine's routes, and that it has an address to "
               "send from"},
    {"refused", "nothing listens at this address and port: check both"},
    {"connect_timeout",
     "no answer to the connection: check the network and whether a firewall stops this port"},
    {"handshake_timeout", "connected, but the server does not finish TLS: is it a DNS over TLS port?"},
    {"silent", "no answer comes: ask its operator; it is tried again as queries come"},
    {"mismatch", "it answers what nobody asked: ask its operator; it is tried again as queries come"},
    {"expired", "the certificate has expired: tell its operator, or check the clock of this machine"},
    {"not_yet_valid", "the certificate is not valid yet: check the clock of this machine"},
    {"wrong_clock",
     "this machine's clock is before this program was made: set it; the server is believed as soon as the "
     "clock is right"},
    {"wrong_name", "the certificate bears another name: check the name behind # in the upstream's URL"},
    {"unknown_ca", "the certificate's authority is not in tls.ca: check that file"},
    {"self_signed", "the certificate is self-signed: add its authority to tls.ca, or pin its key"},
    {"pin", "the server's key is none of the pinned ones: check the pins with the server's operator"},
    {"alpn", "the server speaks another protocol on this port: is it a DNS over TLS port?"},
    {"closed", "the server closed the connection during the handshake: does it serve this address?"},
    {"reset", "the server reset the connection: does it serve this address, and on this port?"},
    {"timeout", "no answer from the network: check it; it is tried again as queries come"},
    {"bad_chain", "the certificates in between break a rule: tell its operator, or suspect the path"},
    {"purpose", "the certificate is not for a server: tell its operator"},
    {"weak", "a key or a signature of the certificates is too weak: tell its operator"},
    {"cipher", "the server speaks none of the ciphers that are allowed: ask another server"},
    {"alert", "the server refused the connection: see what it says, and ask its operator"},
    {"version", "the server does not speak a TLS version that is allowed (tls.min_version)"},
    {"not_tls", "the server does not speak TLS on this port"},
    {"descriptors", "this process has no file descriptor left: raise its limit (ulimit -n)"},
};

const char *stream_reason_word(int error, const struct tls_failure *failure)
{
    switch (error) {
    case ERROR_REFUSED:
        return "refused";
    case ERROR_UNREACHABLE:
        return "unreachable";
    case ERROR_PERMISSION:
        return "forbidden";
    case ERROR_TIMEOUT:
        return "timeout";
    case ERROR_RESET:
        return "reset";
    case ERROR_CLOSED:
        return "closed";
    case ERROR_MALFORMED:
        return "malformed";
    case ERROR_DESCRIPTORS:
        return "descriptors";
    case ERROR_MEMORY:
    case ERROR_EXHAUSTED:
        return "memory";
    case ERROR_TLS:
        return failure != NULL ? tls_reason_word(failure->reason) : "tls";
    default:
        return "failed";
    }
}

const char *stream_reason_hint(const char *word)
{
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        if (strcmp(hints[i].word, word) == 0) {
            return hints[i].hint;
        }
    }
    return otherwise;
}
