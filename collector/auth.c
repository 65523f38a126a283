#include "collector/auth.h"

#include <stddef.h>

#define BIT(p) (1U << (p))

const char *const role_words[ROLES + 1] = {"viewer", "analyst", "admin", NULL};

const char *const permission_words[] = {
#define PERMISSION(name, text, help) text,
    AUTH_PERMISSIONS(PERMISSION)
#undef PERMISSION
        NULL,
};

/* The one table of who may do what. A sensor's `ingest` is for keys only. */
static const uint32_t viewer =
    BIT(PERMISSION_ALERTS_READ) | BIT(PERMISSION_INCIDENTS_READ) | BIT(PERMISSION_SENSORS_READ);
static const uint32_t analyst =
    BIT(PERMISSION_ALERTS_WRITE) | BIT(PERMISSION_INCIDENTS_WRITE) | BIT(PERMISSION_USERS_READ);
static const uint32_t admin = BIT(PERMISSION_USERS_WRITE) | BIT(PERMISSION_KEYS_READ) |
                              BIT(PERMISSION_KEYS_WRITE) | BIT(PERMISSION_SEARCH_WRITE);

uint32_t role_permissions(enum role r)
{
    return viewer | (r >= ROLE_ANALYST ? analyst : 0) | (r >= ROLE_ADMIN ? admin : 0);
}

const char *permission_name(enum permission p)
{
    return p > PERMISSION_SELF && p < PERMISSIONS ? permission_words[p - PERMISSION_SELF - 1]
                                                  : "user";
}

bool principal_may(const struct principal *p, enum permission need)
{
    if (need == PERMISSION_NONE)
        return true;
    if (need == PERMISSION_SELF)
        return p->kind == PRINCIPAL_USER;
    return p->kind != PRINCIPAL_NONE && (p->permissions & BIT(need)) != 0;
}
