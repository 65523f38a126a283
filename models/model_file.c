#include "models/model_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "models/model.h"

#define MAGIC      "WINDMDL1"
#define PREFIX_LEN 24
#define SMALLEST   (PREFIX_LEN + 2 + SHA256_BYTES)
#define ARRAYS_MAX 16

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "arrays are used as they are in the file");

static size_t align_up(size_t n)
{
    return (n + MODEL_ALIGN - 1) / MODEL_ALIGN * MODEL_ALIGN;
}

/* ---------------------------------------------------------------- members of the header */

int model_file_text(const json_t *object, const char *name, char *ret_text, size_t size,
                    struct err *e)
{
    const char *text = json_string_value(json_object_get(object, name));

    if (text == NULL || text[0] == '\0' || strlen(text) >= size)
        return err_set(e, -EINVAL, "the header's '%s' is not a text of 1..%zu bytes", name,
                       size - 1);
    memcpy(ret_text, text, strlen(text) + 1);
    return 0;
}

int model_file_int(const json_t *object, const char *name, int64_t max, int64_t *ret_value,
                   struct err *e)
{
    const json_t *item = json_object_get(object, name);
    const json_int_t value = json_integer_value(item);

    if (!json_is_integer(item) || value < 0 || value > max)
        return err_set(e, -EINVAL, "the header's '%s' is not a number of 0..%lld", name,
                       (long long)max);
    *ret_value = value;
    return 0;
}

int model_file_ratio(const json_t *object, const char *name, float *ret_value, struct err *e)
{
    const json_t *item = json_object_get(object, name);
    const double value = json_number_value(item);

    if (!json_is_number(item) || !(value >= 0 && value <= 1))
        return err_set(e, -EINVAL, "the header's '%s' is not a number from 0 to 1", name);
    *ret_value = (float)value;
    return 0;
}

/* ---------------------------------------------------------------- reading */

static uint64_t load_le(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;

    for (unsigned i = n; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static int check_frame(const uint8_t *bytes, size_t len, size_t *ret_header_len, struct err *e)
{
    uint8_t digest[SHA256_BYTES];

    if (len < sizeof(MAGIC) - 1 || memcmp(bytes, MAGIC, sizeof(MAGIC) - 1) != 0)
        return err_set(e, -EINVAL, "not a model file");
    if (len > MODEL_BYTES_MAX)
        return err_set(e, -EINVAL, "larger than %u MiB", MODEL_BYTES_MAX >> 20);
    if (len < SMALLEST || load_le(bytes + 16, 8) != len)
        return err_set(e, -EINVAL, "%zu bytes long, but says it has %llu: truncated or extended",
                       len, len < PREFIX_LEN ? 0ULL : (unsigned long long)load_le(bytes + 16, 8));
    crypto_sha256(bytes, len - SHA256_BYTES, digest);
    if (memcmp(digest, bytes + len - SHA256_BYTES, SHA256_BYTES) != 0)
        return err_set(e, -EINVAL, "its digest does not match: the file was damaged or changed");
    *ret_header_len = load_le(bytes + 8, 4);
    if (*ret_header_len > MODEL_HEADER_MAX || *ret_header_len > len - PREFIX_LEN - SHA256_BYTES)
        return err_set(e, -EINVAL, "its header of %zu bytes does not fit", *ret_header_len);
    return 0;
}

static int parse_header(const uint8_t *bytes, size_t len, json_t **ret_header, struct err *e)
{
    json_error_t why;
    json_t *header = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, &why);

    if (header == NULL)
        return err_set(e, -EINVAL, "its header is not JSON: %s", why.text);
    if (!json_is_object(header)) {
        json_decref(header);
        return err_set(e, -EINVAL, "its header is not a JSON object");
    }
    *ret_header = header;
    return 0;
}

/* Walks the arrays in file order: finds `name`, or (NULL) checks that they fill the file exactly.
 */
static int walk_arrays(const struct model_file *f, const char *name, size_t *ret_offset,
                       size_t *ret_len, struct err *e)
{
    const json_t *arrays = json_object_get(f->header, "arrays");
    const size_t n = json_array_size(arrays), end = f->len - SHA256_BYTES;
    size_t at = align_up(PREFIX_LEN + load_le(f->bytes + 8, 4));

    if (!json_is_array(arrays) || n > ARRAYS_MAX)
        return err_set(e, -EINVAL, "the header's 'arrays' is not a list of 0..%d", ARRAYS_MAX);
    for (size_t i = 0; i < n; i++) {
        char text[32];
        int64_t len = 0;
        int r = model_file_text(json_array_get(arrays, i), "name", text, sizeof(text), e);
        if (r == 0)
            r = model_file_int(json_array_get(arrays, i), "bytes", MODEL_BYTES_MAX, &len, e);
        if (r < 0)
            return err_wrap(e, r, "array %zu", i);
        if (at > end || (size_t)len > end - at)
            return err_set(e, -EINVAL, "array '%s' does not fit into the file", text);
        if (name != NULL && strcmp(text, name) == 0) {
            *ret_offset = at;
            *ret_len = (size_t)len;
            return 0;
        }
        at = align_up(at + (size_t)len);
    }
    if (name != NULL)
        return err_set(e, -EINVAL, "there is no array '%s'", name);
    return at == end ? 0 : err_set(e, -EINVAL, "the arrays do not fill the file");
}

int model_file_open(struct model_file *ret_file, const void *bytes, size_t len, struct err *e)
{
    struct model_file f = {.len = len};
    size_t header_len = 0;

    int r = check_frame(bytes, len, &header_len, e);
    if (r < 0)
        return r;
    f.bytes = aligned_alloc(MODEL_ALIGN, align_up(len));
    if (f.bytes == NULL)
        return err_set(e, -ENOMEM, "out of memory for a model of %zu bytes", len);
    memcpy(f.bytes, bytes, len);
    r = parse_header(f.bytes + PREFIX_LEN, header_len, &f.header, e);
    if (r == 0)
        r = walk_arrays(&f, NULL, NULL, NULL, e);
    if (r < 0) {
        model_file_done(&f);
        return r;
    }
    *ret_file = f;
    return 0;
}

void model_file_done(struct model_file *f)
{
    json_decref(f->header);
    free(f->bytes);
    *f = (struct model_file){0};
}

const char *model_file_header(const struct model_file *f, size_t *ret_len)
{
    *ret_len = load_le(f->bytes + 8, 4);
    return (const char *)f->bytes + PREFIX_LEN;
}

int model_file_array(const struct model_file *f, const char *name, const void **ret_items,
                     size_t *ret_n, struct err *e)
{
    size_t offset = 0, len = 0;

    const int r = walk_arrays(f, name, &offset, &len, e);
    if (r < 0)
        return r;
    if (len % 4 != 0)
        return err_set(e, -EINVAL, "array '%s' has %zu bytes, not a multiple of 4", name, len);
    *ret_items = f->bytes + offset;
    *ret_n = len / 4;
    return 0;
}

/* ---------------------------------------------------------------- writing */

static void put_le(struct buf *out, uint64_t v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        buf_putc(out, (char)(v >> 8 * i & 0xff));
}

static void pad(struct buf *out)
{
    while (!out->failed && out->len % MODEL_ALIGN != 0)
        buf_putc(out, '\0');
}

static char *dump_header(json_t *header, const struct model_array *arrays, size_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(list, json_pack("{s:s,s:I}", "name", arrays[i].name, "bytes",
                                                    (json_int_t)arrays[i].len));
    if (json_object_set_new(header, "arrays", list) < 0)
        return NULL;
    return json_dumps(header, JSON_COMPACT | JSON_SORT_KEYS);
}

int model_file_write(struct buf *out, json_t *header, const struct model_array *arrays, size_t n,
                     struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    char *text = dump_header(header, arrays, n);

    if (text == NULL)
        return err_set(e, -ENOMEM, "out of memory for the model's header");
    const size_t header_len = strlen(text);
    size_t len = align_up(PREFIX_LEN + header_len);
    for (size_t i = 0; i < n; i++)
        len += align_up(arrays[i].len);

    buf_reset(out);
    buf_puts(out, MAGIC);
    put_le(out, header_len, 4);
    put_le(out, 0, 4);
    put_le(out, len + SHA256_BYTES, 8);
    buf_put(out, text, header_len);
    free(text);
    pad(out);
    for (size_t i = 0; i < n; i++) {
        buf_put(out, arrays[i].bytes, arrays[i].len);
        pad(out);
    }
    if (!out->failed) {
        crypto_sha256(out->data, out->len, digest);
        buf_put(out, digest, sizeof(digest));
    }
    if (out->failed || header_len > MODEL_HEADER_MAX)
        return err_set(e, -EFBIG, "the model would be larger than a model file may be");
    return 0;
}
