#include "models/model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crypto.h"
#include "features/feature.h"
#include "models/calibrate.h"
#include "models/iforest_walk.h"
#include "models/model_file.h"
#include "models/reference.h"

struct model {
    struct model_info info;
    const struct model_ops *ops;
    struct model_file file;
    struct calibration calibration;
    struct reference reference;
    struct iforest_walk *iforest; /* kind "iforest" */
};

/* A kind of model. load checks its arrays so that score cannot go wrong. */
struct model_ops {
    const char *kind;
    int (*load)(struct model *m, struct err *e);
    void (*score)(const struct model *m, const struct model_row *rows, size_t n, float *ret_raw);
};

/* ---------------------------------------------------------------- kinds */

static int load_iforest(struct model *m, struct err *e)
{
    struct iforest forest = {0}, *const f = &forest;
    const void *nodes = NULL, *roots = NULL;
    int64_t sample = 0;
    size_t n = 0;

    int r = model_file_array(&m->file, "nodes", &nodes, &n, e);
    if (r == 0 && n % 3 != 0)
        r = err_set(e, -EINVAL, "array 'nodes' does not hold whole nodes");
    if (r == 0)
        r = model_file_array(&m->file, "roots", &roots, &f->n_trees, e);
    if (r == 0)
        r = model_file_int(m->file.header, "sample", 1 << 20, &sample, e);
    if (r < 0)
        return r;
    f->node = nodes;
    f->n_nodes = n / 3;
    f->root = roots;
    f->sample = (uint32_t)sample;
    f->average_path = iforest_average_path(f->sample);
    r = iforest_check(f, m->info.n_features, e);
    return r < 0 ? r : iforest_walk_new(&m->iforest, f, m->info.n_features, e);
}

static void score_iforest(const struct model *m, const struct model_row *rows, size_t n,
                          float *ret_raw)
{
    iforest_walk_score(m->iforest, rows, n, ret_raw);
}

static const struct model_ops kinds[] = {
    {"iforest", load_iforest, score_iforest},
};

/* ---------------------------------------------------------------- loading */

static int load_schema(struct model *m, struct err *e)
{
    const json_t *schema = json_object_get(m->file.header, "schema");
    char hash[20], ours[24];
    int64_t count = 0;

    int r = model_file_int(schema, "count", 64, &count, e);
    if (r == 0)
        r = model_file_text(schema, "hash", hash, sizeof(hash), e);
    if (r < 0)
        return r;
    if (count < 1 || count > FEATURE_COUNT)
        return err_set(e, -EINVAL, "it needs %lld features, this program has %d", (long long)count,
                       FEATURE_COUNT);
    feature_schema_text((size_t)count, ours);
    if (strcmp(strchr(ours, ':') + 1, hash) != 0)
        return err_set(e, -EINVAL, "it was trained on feature schema %lld:%s, this program has %s",
                       (long long)count, hash, ours);
    m->info.n_features = (uint32_t)count;
    m->info.schema = feature_schema_hash((size_t)count);
    memcpy(m->info.schema_text, ours, sizeof(ours));
    return 0;
}

static int load_info(struct model *m, struct err *e)
{
    const json_t *header = m->file.header;
    int64_t format = 0, version = 0, rows = 0;

    int r = model_file_int(header, "format", INT32_MAX, &format, e);
    if (r == 0 && format != 1)
        r = err_set(e, -EINVAL, "it has format %lld, this program reads format 1",
                    (long long)format);
    if (r == 0)
        r = model_file_text(header, "name", m->info.name, sizeof(m->info.name), e);
    if (r == 0)
        r = model_file_text(header, "kind", m->info.kind, sizeof(m->info.kind), e);
    if (r == 0)
        r = model_file_int(header, "version", UINT32_MAX, &version, e);
    if (r == 0)
        r = model_file_int(json_object_get(header, "lineage"), "rows", INT64_MAX, &rows, e);
    if (r == 0)
        r = model_file_ratio(json_object_get(header, "thresholds"), "alert_p", &m->info.alert_p, e);
    m->info.version = (uint32_t)version;
    m->info.training_rows = (uint64_t)rows;
    memcpy(m->info.digest, m->file.bytes + m->file.len - SHA256_BYTES, SHA256_BYTES);
    return r < 0 ? r : load_schema(m, e);
}

static int load_calibration(struct model *m, struct err *e)
{
    const void *raw = NULL;

    const int r = model_file_array(&m->file, "calibration", &raw, &m->calibration.n, e);
    if (r < 0)
        return r;
    m->calibration.raw = raw;
    m->info.calibration_rows = (uint32_t)m->calibration.n;
    return calibration_check(&m->calibration, e);
}

static int load_reference(struct model *m, struct err *e)
{
    const void *quantiles = NULL, *missing = NULL;
    size_t n_quantiles = 0, n_missing = 0;

    int r = model_file_array(&m->file, "quantiles", &quantiles, &n_quantiles, e);
    if (r == 0)
        r = model_file_array(&m->file, "missing", &missing, &n_missing, e);
    if (r < 0)
        return r;
    m->reference = (struct reference){quantiles, missing, m->info.n_features};
    if (n_quantiles != m->info.n_features * (size_t)REFERENCE_LEVELS ||
        n_missing != m->info.n_features)
        return err_set(e, -EINVAL, "its reference is not of %u features", m->info.n_features);
    return reference_check(&m->reference, e);
}

static int load_kind(struct model *m, struct err *e)
{
    for (size_t i = 0; i < WIND_ARRAY_SIZE(kinds); i++) {
        if (strcmp(kinds[i].kind, m->info.kind) == 0) {
            m->ops = &kinds[i];
            return m->ops->load(m, e);
        }
    }
    return err_set(e, -EINVAL, "this program has no kind of model called '%s'", m->info.kind);
}

int model_load_bytes(struct model **ret_model, const void *bytes, size_t len, struct err *e)
{
    WIND_AUTO(model) struct model *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return err_set(e, -ENOMEM, "out of memory for a model");

    int r = model_file_open(&m->file, bytes, len, e);
    if (r == 0)
        r = load_info(m, e);
    if (r == 0)
        r = load_calibration(m, e);
    if (r == 0)
        r = load_reference(m, e);
    if (r == 0)
        r = load_kind(m, e);
    if (r < 0)
        return r;
    *ret_model = WIND_STEAL(m);
    return 0;
}

int model_load_fd(struct model **ret_model, int fd, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_set(e, -errno, "cannot look at the model file: %s", strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > MODEL_BYTES_MAX)
        return err_set(e, -EINVAL, "not a file of at most %u MiB", MODEL_BYTES_MAX >> 20);
    const size_t len = (size_t)st.st_size;
    uint8_t *bytes = malloc(len + 1);
    if (bytes == NULL)
        return err_set(e, -ENOMEM, "out of memory for a model of %zu bytes", len);

    size_t have = 0;
    ssize_t got = 1;
    while (have < len && got > 0) {
        got = pread(fd, bytes + have, len - have, (off_t)have);
        have += got > 0 ? (size_t)got : 0;
        if (got < 0 && errno == EINTR)
            got = 1;
    }
    const int r = got < 0 ? err_set(e, -errno, "cannot read the model file: %s", strerror(errno))
                          : model_load_bytes(ret_model, bytes, have, e);
    free(bytes);
    return r;
}

struct model *model_free(struct model *m)
{
    if (m != NULL) {
        m->iforest = iforest_walk_free(m->iforest);
        model_file_done(&m->file);
        free(m);
    }
    return NULL;
}

const struct model_info *model_info(const struct model *m)
{
    return &m->info;
}

const char *model_header(const struct model *m, size_t *ret_len)
{
    return model_file_header(&m->file, ret_len);
}

/* ---------------------------------------------------------------- scoring */

#define BATCH 64

void model_score(const struct model *m, const struct model_row *rows, size_t n,
                 struct model_score *ret_scores)
{
    float raw[BATCH];

    for (size_t start = 0; start < n; start += BATCH) {
        const size_t batch = n - start < BATCH ? n - start : BATCH;
        m->ops->score(m, rows + start, batch, raw);
        for (size_t i = 0; i < batch; i++)
            ret_scores[start + i] = calibration_score(&m->calibration, raw[i]);
    }
}

size_t model_explain(const struct model *m, const struct model_row *row,
                     struct model_reason *ret_reasons, size_t max)
{
    return reference_explain(&m->reference, m, row, ret_reasons, max);
}
