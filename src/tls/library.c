/*
 * The library as a whole: it loads its parts when they are needed first, keeps them as long as the process
 * lives, and where memory runs out meanwhile it goes on without the part and tells nobody; no handshake would
 * succeed until the next start. So everything is loaded at the start, and a start that memory was refused in
 * is given up. Called by the monitor before anything else of this room, and by the engine as it comes up.
 */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/error.h"

#include "tls/internal.h"

/* The library's functions for memory bear no argument of ours: the one thing that this process can know only
 * once. */
static atomic_bool lacked_memory;

static void *note(void *memory)
{
    if (memory == NULL) {
        atomic_store_explicit(&lacked_memory, true, memory_order_relaxed);
    }
    return memory;
}

static void *take(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return size > 0 ? note(malloc(size)) : NULL;
}

static void give(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

static void *take_more(void *memory, size_t size, const char *file, int line)
{
    if (size == 0) {
        give(memory, file, line);
        return NULL;
    }
    return note(realloc(memory, size));
}

int tls_library_open(void)
{
    return CRYPTO_set_mem_functions(take, take_more, give) == 1 ? 0 : ERROR_SYSTEM;
}

void tls_library_configure(void)
{
    (void)OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, NULL);
}

/* One of a kind brings all of its kind. What the library does without, it may do without. */
int tls_library_load(void)
{
    EVP_KDF *derivation = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
    EVP_MAC *authentication = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_SIGNATURE *signature = EVP_SIGNATURE_fetch(NULL, "ECDSA", NULL);
    EVP_KEYEXCH *agreement = EVP_KEYEXCH_fetch(NULL, "ECDH", NULL);
    EVP_KDF_free(derivation);
    EVP_MAC_free(authentication);
    EVP_SIGNATURE_free(signature);
    EVP_KEYEXCH_free(agreement);
    ERR_clear_error();
    return atomic_load_explicit(&lacked_memory, memory_order_relaxed) ? ERROR_MEMORY : 0;
}
