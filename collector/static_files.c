#include "collector/static_files.h"

#include <errno.h>
#include <fts.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/crypto.h"

struct static_files {
    size_t n, bytes;
    struct static_file *files; /* sorted by path */
};

static const char *type_of(const char *path)
{
    static const struct {
        const char *suffix, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".json", "application/json"},
        {".webmanifest", "application/manifest+json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".ico", "image/x-icon"},
        {".woff2", "font/woff2"},
        {".txt", "text/plain; charset=utf-8"},
    };
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot != NULL && i < WIND_ARRAY_SIZE(types); i++)
        if (strcmp(dot, types[i].suffix) == 0)
            return types[i].type;
    return "application/octet-stream";
}

static int read_file(struct static_file *f, const char *name, size_t size, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    FILE *in = fopen(name, "re");

    if (in == NULL)
        return err_set(e, -errno, "'%s': %s", name, strerror(errno));
    f->bytes = malloc(size > 0 ? size : 1);
    if (f->bytes != NULL)
        f->n = fread(f->bytes, 1, size, in);
    (void)fclose(in);
    if (f->bytes == NULL)
        return err_set(e, -ENOMEM, "'%s': out of memory", name);
    crypto_sha256(f->bytes, f->n, digest);
    f->etag[0] = '"';
    const size_t len = hex_encode(digest, 16, f->etag + 1);
    f->etag[1 + len] = '"';
    f->etag[2 + len] = '\0';
    return 0;
}

static int add(struct static_files *set, const char *name, const char *path, size_t size,
               struct err *e)
{
    struct static_file *f = &set->files[set->n];

    if (set->n >= STATIC_FILES_MAX || size > STATIC_BYTES_MAX - set->bytes)
        return err_set(e, -E2BIG, "more than %d files or %zu bytes", STATIC_FILES_MAX,
                       STATIC_BYTES_MAX);
    if (strlen(path) >= sizeof(f->path))
        return err_set(e, -ENAMETOOLONG, "'%s': the name is too long", path);
    set->n++;
    set->bytes += size;
    (void)snprintf(f->path, sizeof(f->path), "%s", path);
    f->type = type_of(path);
    f->is_immutable = strncmp(path, "/assets/", 8) == 0;
    return read_file(f, name, size, e);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct static_file *)a)->path, ((const struct static_file *)b)->path);
}

static int walk(struct static_files *set, const char *dir, struct err *e)
{
    char *top = strdup(dir);
    char *const roots[] = {top, NULL};
    FTS *tree = top != NULL ? fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL) : NULL;
    int r = tree != NULL ? 0 : err_set(e, -ENOMEM, "out of memory");

    while (r == 0) {
        const FTSENT *entry = fts_read(tree);
        if (entry == NULL)
            break;
        if (entry->fts_info == FTS_F && strchr(entry->fts_path + strlen(dir), '/') != NULL)
            r = add(set, entry->fts_path, entry->fts_path + strlen(dir),
                    (size_t)entry->fts_statp->st_size, e);
    }
    if (tree != NULL)
        (void)fts_close(tree);
    free(top);
    return r;
}

int static_files_new(struct static_files **ret, const char *dir, struct err *e)
{
    struct stat st;
    char clean[256];

    WIND_AUTO(static_files) struct static_files *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return err_set(e, -ENOMEM, "dashboard: out of memory");
    set->files = calloc(STATIC_FILES_MAX, sizeof(*set->files));
    if (set->files == NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see WIND_AUTO */
        return err_set(e, -ENOMEM, "dashboard: out of memory");
    (void)snprintf(clean, sizeof(clean), "%s", dir);
    for (size_t n = strlen(clean); n > 1 && clean[n - 1] == '/'; n--)
        clean[n - 1] = '\0';
    if (clean[0] != '\0' && stat(clean, &st) == 0 && S_ISDIR(st.st_mode)) {
        const int r = walk(set, clean, e);
        if (r != 0)
            return err_wrap(e, r, "dashboard.dir '%s'", dir);
    }
    qsort(set->files, set->n, sizeof(*set->files), by_path);
    *ret = WIND_STEAL(set);
    return 0;
}

struct static_files *static_files_free(struct static_files *f)
{
    if (f == NULL)
        return NULL;
    for (size_t i = 0; i < f->n; i++)
        free(f->files[i].bytes);
    free(f->files);
    free(f);
    return NULL;
}

static const struct static_file *find(const struct static_files *f, const char *path)
{
    struct static_file key = {.type = NULL};

    if (strlen(path) >= sizeof(key.path))
        return NULL;
    memcpy(key.path, path, strlen(path) + 1);
    return bsearch(&key, f->files, f->n, sizeof(*f->files), by_path);
}

const struct static_file *static_files_find(const struct static_files *f, const char *path)
{
    const char *last = strrchr(path, '/');

    if (last == NULL)
        return NULL;
    if (strchr(last, '.') != NULL)
        return find(f, path);
    /* the page names its parts relative to itself: from deeper it would come up blank */
    return last == path ? find(f, "/index.html") : NULL;
}
