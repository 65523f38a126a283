#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/crypto.h"
#include "sensor/capture_backend.h"
#include "sensor/capture_file.h"
#include "sensor/capture_format.h"
#include "sensor/source.h"

#define NAME_MAX_SHOWN 80
#define MAGIC_LEN      4
#define FILLS_MAX      16 /* of a pipe that drips, before the caller may lose patience */

/*
 * OPENING -> READING -> ended      the first 64 KiB are there: digest made, format known
 *    |___________________^         not a capture file
 */
enum phase { OPENING, READING };

struct capture_file {
    struct capture base;
    enum phase phase;
    struct source *source;
    struct source_thread *thread; /* our own, or NULL */
    uint64_t skip_packets;        /* still to be thrown away */
    bool is_opened;
    char name[NAME_MAX_SHOWN + 1];
    uint8_t digest[SHA256_BYTES];
    bool no_digest;
    bool is_pcapng;
    union {
        struct format format; /* the first member of both */
        struct pcap_format pcap;
        struct pcapng_format pcapng;
    };
};

/* ---------------------------------------------------------------- what is wrong, in words */

static void WIND_PRINTF(3, 4)
    end_with(struct capture_file *f, enum capture_state state, const char *fmt, ...)
{
    char what[200];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    (void)err_set(&f->base.error, -EBADMSG, "'%s' %s", f->name, what);
    f->base.state = state;
    f->base.ended = true;
}

/* "the 3 packets before it were analysed" */
static const char *what_stands(const struct capture_file *f, char text[64])
{
    const uint64_t n = f->format.packets;

    if (n == 0)
        return "no whole packet comes before that";
    if (n == 1)
        return "the packet before that was analysed";
    (void)snprintf(text, 64, "the %" PRIu64 " packets before that were analysed", n);
    return text;
}

/* The input ended within a record. */
static void end_cut(struct capture_file *f, bool is_compressed_cut)
{
    const size_t left = source_window(f->source)->left;
    const size_t need = f->format.need;
    const bool is_header = !f->format.is_started;
    char where[48] = "", lost[64] = "", why[48] = "", stands[64];

    if (!is_header)
        (void)snprintf(where, sizeof(where), " %" PRIu64, f->format.packets + 1);
    if (f->format.is_midway)
        (void)snprintf(lost, sizeof(lost), "its last %zu bytes are missing", need);
    else if (left > 0)
        (void)snprintf(lost, sizeof(lost), "its last %zu of %zu bytes are missing", need - left,
                       need);
    if (is_compressed_cut)
        (void)snprintf(why, sizeof(why), "%sits %s data end early", lost[0] != '\0' ? ", " : "",
                       source_compression(f->source));
    end_with(f, is_header ? CAPTURE_UNUSABLE : CAPTURE_TRUNCATED, "is cut short in %s%s: %s%s; %s",
             f->format.record, where, lost, why, what_stands(f, stands));
}

/* No more bytes will come. */
static void end_of_input(struct capture_file *f, enum source_fill how)
{
    const bool is_between =
        source_window(f->source)->left == 0 && !f->format.is_midway && f->format.is_started;
    char stands[64];

    if (how == SOURCE_BAD)
        end_with(f, f->format.is_started ? CAPTURE_CORRUPT : CAPTURE_UNUSABLE,
                 "is damaged at packet %" PRIu64 ": %s; %s", f->format.packets + 1,
                 source_problem(f->source), what_stands(f, stands));
    else if (how == SOURCE_CUT || !is_between)
        end_cut(f, how == SOURCE_CUT);
    else
        f->base.ended = true;
}

static void end_damaged(struct capture_file *f, enum format_stop stop)
{
    char stands[64];

    if (stop == FORMAT_REFUSED)
        end_with(f, CAPTURE_UNUSABLE, "cannot be read: %s", f->format.problem);
    else
        end_with(f, f->format.is_started ? CAPTURE_CORRUPT : CAPTURE_UNUSABLE, "is damaged: %s; %s",
                 f->format.problem, what_stands(f, stands));
}

/* ---------------------------------------------------------------- which format is it? */

static void detect(struct capture_file *f, enum source_fill how)
{
    const struct span *const w = source_window(f->source);
    const char *const compression = source_compression(f->source);

    if (w->left < MAGIC_LEN && how == SOURCE_BAD) {
        end_with(f, CAPTURE_UNUSABLE, "cannot be read: %s", source_problem(f->source));
    } else if (w->left < MAGIC_LEN && how == SOURCE_CUT) {
        end_with(f, CAPTURE_UNUSABLE, "cannot be read: its %s data end at once", compression);
    } else if (w->left == 0) {
        end_with(f, CAPTURE_UNUSABLE, "is empty%s%s", compression[0] != '\0' ? " inside its " : "",
                 compression);
    } else if (w->left < MAGIC_LEN) {
        end_with(f, CAPTURE_UNUSABLE, "is not a capture file: it has only %zu bytes", w->left);
    } else if (pcap_format_is(w->at) || pcapng_format_is(w->at)) {
        f->is_pcapng = pcapng_format_is(w->at);
        f->phase = READING;
    } else {
        end_with(f, CAPTURE_UNUSABLE,
                 "is not a capture file: it starts with 0x%02x%02x%02x%02x, expected pcap or "
                 "pcapng (maybe inside gzip, zstd or LZ4)",
                 w->at[0], w->at[1], w->at[2], w->at[3]);
    }
}

/* Gather what the digest covers, or enough to tell the format. True once that is done. */
static bool open_input(struct capture_file *f, int wait_ms)
{
    const struct span *const w = source_window(f->source);
    const size_t wanted = f->no_digest ? MAGIC_LEN : CAPTURE_DIGEST_MAX;
    enum source_fill how = SOURCE_FILLED;

    if (f->is_opened)
        return true;
    for (int i = 0; i < FILLS_MAX && w->left < wanted && how == SOURCE_FILLED; i++)
        how = source_fill(f->source, wait_ms);
    if (w->left < wanted && (how == SOURCE_FILLED || how == SOURCE_WAIT))
        return false;
    if (!f->no_digest)
        crypto_sha256(w->at, w->left < wanted ? w->left : wanted, f->digest);
    f->is_opened = true;
    detect(f, how);
    return true;
}

/* ---------------------------------------------------------------- the backend */

static size_t read_some(struct capture_file *f, struct packet *ret_packets, size_t max,
                        enum format_stop *ret_stop)
{
    struct span *const w = source_window(f->source);

    return f->is_pcapng ? pcapng_format_read(&f->pcapng, w, ret_packets, max, ret_stop)
                        : pcap_format_read(&f->pcap, w, ret_packets, max, ret_stop);
}

static size_t file_recv(struct capture *c, struct packet *ret_packets, size_t max, int wait_ms)
{
    struct capture_file *const f = (struct capture_file *)c;
    enum format_stop stop;

    if (!open_input(f, wait_ms) || c->ended)
        return 0;
    size_t n = read_some(f, ret_packets, max, &stop);
    if (n == 0 && stop == FORMAT_MORE) {
        const enum source_fill how = source_fill(f->source, wait_ms);
        if (how == SOURCE_FILLED)
            n = read_some(f, ret_packets, max, &stop);
        else if (how != SOURCE_WAIT)
            end_of_input(f, how);
    }
    if (n == 0 && (stop == FORMAT_DAMAGED || stop == FORMAT_REFUSED))
        end_damaged(f, stop);

    const size_t skipped = f->skip_packets < n ? (size_t)f->skip_packets : n;
    f->skip_packets -= skipped;
    c->stats.skipped += skipped;
    memmove(ret_packets, ret_packets + skipped, (n - skipped) * sizeof(*ret_packets));
    return n - skipped;
}

static bool file_digest(struct capture *c, uint8_t ret_digest[32], int wait_ms)
{
    struct capture_file *const f = (struct capture_file *)c;

    if (!open_input(f, wait_ms))
        return false;
    memcpy(ret_digest, f->digest, sizeof(f->digest));
    return true;
}

static bool file_keeps(const struct capture *c)
{
    return source_is_mapped(((const struct capture_file *)c)->source);
}

static void file_free(struct capture *c)
{
    struct capture_file *const f = (struct capture_file *)c;

    (void)source_free(f->source);
    (void)source_thread_free(f->thread);
    free(f);
}

static int file_start_thread(struct capture *c, struct err *e)
{
    struct capture_file *const f = (struct capture_file *)c;

    if (!source_looks_compressed(f->source))
        return 0;
    const int r = source_thread_new(&f->thread, e);
    if (r == 0)
        source_lend_thread(f->source, f->thread);
    return r;
}

static const struct capture_ops file_ops = {
    .recv = file_recv,
    .digest = file_digest,
    .start_thread = file_start_thread,
    .keeps = file_keeps,
    .free = file_free,
};

void capture_file_stop_following(struct capture *c)
{
    source_stop_following(((struct capture_file *)c)->source);
}

int capture_file_open(struct capture **ret_capture, int fd, const struct capture_file_conf *conf,
                      struct err *e)
{
    struct capture_file *const f = calloc(1, sizeof(*f));
    WIND_AUTO(capture) struct capture *c = NULL;

    if (f == NULL)
        return err_set(e, -ENOMEM, "'%s': out of memory", conf->name);
    f->base.ops = &file_ops;
    f->base.name = "file";
    f->skip_packets = conf->skip_packets;
    f->no_digest = conf->no_digest || (conf->flags & PACKED_FOLLOW) != 0;
    (void)snprintf(f->name, sizeof(f->name), "%s", conf->name);
    c = &f->base;

    const int r = source_new(&f->source, fd, conf->flags, e);
    if (r < 0)
        return err_wrap(e, r, "'%s'", conf->name);
    source_lend_thread(f->source, conf->thread);
    *ret_capture = WIND_STEAL(c);
    return 0;
}

static int open_known(struct capture **ret_capture, int fd, const struct capture_file_conf *conf,
                      struct err *e)
{
    struct stat st;
    const bool is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);

    if (conf->skip_packets > 0 && !is_file)
        return err_set(e, -ESPIPE, "'%s' is a pipe: what was read of it is gone", conf->name);
    if ((conf->flags & PACKED_FOLLOW) != 0 && !is_file)
        return err_set(e, -EINVAL, "'%s' is no regular file or folder: --follow is for what grows",
                       conf->name);
    return capture_file_open(ret_capture, fd, conf, e);
}

int capture_file_new(struct capture **ret_capture, int fd, const char *name, uint64_t skip_packets,
                     struct err *e)
{
    const struct capture_file_conf conf = {.name = name, .skip_packets = skip_packets};

    return open_known(ret_capture, fd, &conf, e);
}

int capture_followed_new(struct capture **ret_capture, int fd, const char *name,
                         uint64_t skip_packets, struct err *e)
{
    const struct capture_file_conf conf = {
        .name = name, .skip_packets = skip_packets, .flags = PACKED_FOLLOW};

    return open_known(ret_capture, fd, &conf, e);
}
