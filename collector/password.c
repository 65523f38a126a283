#include "collector/password.h"

#include <argon2.h>
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/crypto.h"

#define SALT_BYTES 16
#define HASH_BYTES 32

struct passwords {
    sem_t turnstile;
    struct password_conf conf;
    char nobody[PASSWORD_TEXT];
};

static int enter(struct passwords *p, struct err *e)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PASSWORD_WAIT_S;
    while (sem_clockwait(&p->turnstile, CLOCK_MONOTONIC, &until) != 0)
        if (errno != EINTR)
            return err_set(e, -EBUSY, "too many passwords are being checked at once");
    return 0;
}

static void leave(struct passwords *p)
{
    (void)sem_post(&p->turnstile);
}

int password_hash(struct passwords *p, const char *password, char ret_text[PASSWORD_TEXT],
                  struct err *e)
{
    uint8_t salt[SALT_BYTES];
    const int r = enter(p, e);
    if (r != 0)
        return r;
    crypto_random(salt, sizeof(salt));
    const int code =
        argon2id_hash_encoded(p->conf.passes, p->conf.kib, 1, password, strlen(password), salt,
                              sizeof(salt), HASH_BYTES, ret_text, PASSWORD_TEXT);
    leave(p);
    if (code != ARGON2_OK)
        return err_set(e, code == ARGON2_MEMORY_ALLOCATION_ERROR ? -ENOMEM : -EIO,
                       "cannot hash a password: %s", argon2_error_message(code));
    return 0;
}

int password_check(struct passwords *p, const char *password, const char *hash, struct err *e)
{
    const int r = enter(p, e);
    if (r != 0)
        return r;
    const int code = argon2id_verify(hash != NULL ? hash : p->nobody, password, strlen(password));
    leave(p);
    if (code == ARGON2_MEMORY_ALLOCATION_ERROR)
        return err_set(e, -ENOMEM, "cannot check a password: out of memory");
    return code == ARGON2_OK && hash != NULL ? 0 : PASSWORD_WRONG;
}

int passwords_new(struct passwords **ret, const struct password_conf *conf, struct err *e)
{
    char random[21];

    WIND_AUTO(passwords) struct passwords *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return err_set(e, -ENOMEM, "passwords: out of memory");
    p->conf = *conf;
    (void)sem_init(&p->turnstile, 0, conf->hashes);
    password_random(random);
    const int r = password_hash(p, random, p->nobody, e);
    if (r != 0)
        return r;
    *ret = WIND_STEAL(p);
    return 0;
}

struct passwords *passwords_free(struct passwords *p)
{
    if (p == NULL)
        return NULL;
    (void)sem_destroy(&p->turnstile);
    free(p);
    return NULL;
}

void password_random(char ret_text[21])
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789"; /* 32: no bias */
    uint8_t bytes[20];

    crypto_random(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        ret_text[i] = letters[bytes[i] % 32];
    ret_text[20] = '\0';
    crypto_wipe(bytes, sizeof(bytes));
}
