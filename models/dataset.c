#include "models/dataset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"

int dataset_init(struct dataset *d, struct err *e)
{
    *d = (struct dataset){.max = DATASET_MAX, .sources = json_array()};
    labels_init(&d->labels);
    return d->sources != NULL ? 0 : err_set(e, -ENOMEM, "out of memory");
}

void dataset_done(struct dataset *d)
{
    free(d->value);
    free(d->missing);
    free(d->label);
    truth_done(&d->truth);
    json_decref(d->sources);
    *d = (struct dataset){0};
}

static int make_room(struct dataset *d, struct err *e)
{
    if (d->n == d->max)
        return err_set(e, -EFBIG, "more than %zu rows", d->max);
    if (d->n < d->cap)
        return 0;

    const size_t cap = d->cap > 0 ? d->cap * 2 : 4096;
    float *value = realloc(d->value, cap * FEATURE_COUNT * sizeof(*value));
    d->value = value != NULL ? value : d->value;
    uint64_t *missing = realloc(d->missing, cap * sizeof(*missing));
    d->missing = missing != NULL ? missing : d->missing;
    uint8_t *label = realloc(d->label, cap);
    d->label = label != NULL ? label : d->label;
    if (value == NULL || missing == NULL || label == NULL)
        return err_set(e, -ENOMEM, "out of memory for %zu rows", cap);
    d->cap = cap;
    return 0;
}

static int add(struct dataset *d, const struct row *row, int label, struct err *e)
{
    if (label < 0 && d->truth.n > 0)
        label = truth_find(&d->truth, &row->key, row->start_ns);
    else if (label < 0)
        label = 0;
    if (label < 0) {
        d->unlabelled++;
        return 0;
    }
    const int r = make_room(d, e);
    if (r < 0)
        return r;
    memcpy(d->value + d->n * FEATURE_COUNT, row->value, sizeof(row->value));
    d->missing[d->n] = row->missing;
    d->label[d->n] = (uint8_t)label;
    d->n++;
    return 0;
}

static int read_rows(struct dataset *d, FILE *f, const char *name, int label, struct err *e)
{
    struct rows rows;
    struct row row;

    int r = rows_begin(&rows, f, name, e);
    while (r == 0) {
        r = rows_next(&rows, &row, e);
        if (r == 0)
            r = add(d, &row, label, e);
    }
    return r < 0 ? r : 0;
}

/* Which bytes went in: a digest over the digests of 64 KiB pieces, so that no file is held whole.
 */
static int digest_file(FILE *f, char ret_hex[HEX_TEXT(SHA256_BYTES)])
{
    uint8_t state[SHA256_BYTES + 65536] = {0};
    size_t n;

    rewind(f);
    while ((n = fread(state + SHA256_BYTES, 1, sizeof(state) - SHA256_BYTES, f)) > 0) {
        uint8_t digest[SHA256_BYTES];
        crypto_sha256(state, SHA256_BYTES + n, digest);
        memcpy(state, digest, sizeof(digest));
    }
    (void)hex_encode(state, SHA256_BYTES, ret_hex);
    return ferror(f) ? -EIO : 0;
}

int dataset_read(struct dataset *d, const char *path, const char *name, const char *label,
                 struct err *e)
{
    char hex[HEX_TEXT(SHA256_BYTES)];
    const size_t before = d->n;
    int index = -1;

    if (label != NULL && (index = labels_index(&d->labels, label, e)) < 0)
        return index;
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return err_set(e, -errno, "%s: %s", name, strerror(errno));
    int r = read_rows(d, f, name, index, e);
    if (r == 0 && digest_file(f, hex) < 0)
        r = err_set(e, -EIO, "%s: cannot read it again", name);
    (void)fclose(f);
    if (r < 0)
        return r;

    const char *slash = strrchr(name, '/');
    json_t *source = json_pack("{s:s, s:I, s:s}", "name", slash != NULL ? slash + 1 : name, "rows",
                               (json_int_t)(d->n - before), "digest", hex);
    return json_array_append_new(d->sources, source) == 0
               ? 0
               : err_set(e, -ENOMEM, "%s: its name is not UTF-8, or out of memory", name);
}
