#include "collector/windctl/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/crypto.h"
#include "common/file.h"

#define FILE_BYTES (sizeof(struct profile) * 2)

static int find_path(struct profile *p, struct err *e)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n;

    if (config != NULL && config[0] == '/')
        n = snprintf(p->path, sizeof(p->path), "%s/wind/windctl.json", config);
    else if (home != NULL && home[0] == '/')
        n = snprintf(p->path, sizeof(p->path), "%s/.config/wind/windctl.json", home);
    else
        return err_set(e, -ENOENT, "neither XDG_CONFIG_HOME nor HOME is set");
    return n < (int)sizeof(p->path) ? 0 : err_set(e, -ENAMETOOLONG, "HOME: the path is too long");
}

static int take_text(const json_t *o, const char *key, char *ret_text, size_t size)
{
    const json_t *v = json_object_get(o, key);

    if (v == NULL)
        return 0;
    if (!json_is_string(v) || json_string_length(v) >= size)
        return -EINVAL;
    memcpy(ret_text, json_string_value(v), json_string_length(v) + 1);
    return 0;
}

static int take_all(struct profile *p, const json_t *o)
{
    int r = json_is_object(o) ? 0 : -EINVAL;

    if (r == 0)
        r = take_text(o, "url", p->url, sizeof(p->url));
    if (r == 0)
        r = take_text(o, "ca_file", p->ca_file, sizeof(p->ca_file));
    if (r == 0)
        r = take_text(o, "username", p->username, sizeof(p->username));
    if (r == 0)
        r = take_text(o, "access_token", p->access, sizeof(p->access));
    if (r == 0)
        r = take_text(o, "refresh_token", p->refresh, sizeof(p->refresh));
    p->expires_s = json_integer_value(json_object_get(o, "expires_at"));
    p->is_insecure = json_is_true(json_object_get(o, "insecure"));
    return r;
}

int profile_load(struct profile *p, struct err *e)
{
    struct stat st;
    struct buf text;

    *p = (struct profile){.mode = 0};
    int r = find_path(p, e);
    if (r < 0)
        return r;
    if (stat(p->path, &st) != 0 && errno == ENOENT)
        return 0;
    buf_init(&text, FILE_BYTES);
    r = file_read(p->path, &text, e);
    if (r == 0) {
        json_error_t why;
        json_t *o = json_loadb(text.data != NULL ? text.data : "", text.len, 0, &why);
        p->mode = st.st_mode & 07777;
        if (take_all(p, o) < 0)
            r = err_set(e, -EINVAL, "%s: is not what windctl wrote; remove it and log in again",
                        p->path);
        json_decref(o);
        crypto_wipe(text.data, text.len);
    }
    buf_done(&text);
    return r;
}

static int make_folder(const struct profile *p, struct err *e)
{
    char folder[PATH_MAX];

    (void)snprintf(folder, sizeof(folder), "%s", p->path);
    for (char *slash = strchr(folder + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(folder, 0700) != 0 && errno != EEXIST)
            return err_set(e, -errno, "%s: %s", folder, strerror(errno));
        *slash = '/';
    }
    return 0;
}

static char *as_text(const struct profile *p)
{
    json_t *o =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:b}", "url", p->url, "username", p->username,
                  "ca_file", p->ca_file, "access_token", p->access, "refresh_token", p->refresh,
                  "expires_at", (json_int_t)p->expires_s, "insecure", (int)p->is_insecure);
    char *text = o != NULL ? json_dumps(o, JSON_INDENT(2)) : NULL;

    json_decref(o);
    return text;
}

int profile_save(struct profile *p, struct err *e)
{
    char *text = as_text(p);

    if (text == NULL)
        return err_set(e, -ENOMEM, "%s: out of memory", p->path);
    int r = make_folder(p, e);
    if (r == 0)
        r = file_replace(p->path, text, strlen(text), 0600, e);
    if (r == 0)
        p->mode = 0600;
    crypto_wipe(text, strlen(text));
    free(text);
    return r;
}

int profile_lock(const struct profile *p, struct err *e)
{
    char path[PATH_MAX + 8];

    const int made = make_folder(p, e);
    if (made < 0)
        return made;
    (void)snprintf(path, sizeof(path), "%s.lock", p->path);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        const int code = -errno;
        if (fd >= 0)
            (void)close(fd);
        return err_set(e, code, "%s: %s", path, strerror(-code));
    }
    return fd;
}

void profile_wipe(struct profile *p)
{
    crypto_wipe(p->access, sizeof(p->access));
    crypto_wipe(p->refresh, sizeof(p->refresh));
    p->expires_s = 0;
}
