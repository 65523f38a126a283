#include "sensor/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

#include "common/time.h"
#include "sensor/spool_held.h"
#include "sensor/spool_note.h"

#define FRAME_MAGIC  0x31505357u /* "WSP1" */
#define SEGMENT_MIN  (64u << 10)
#define SEGMENT_MAX  (8u << 20)
#define NAME_MAX_LEN 40
#define NO_SEGMENT   SIZE_MAX

struct frame {
    uint32_t magic;
    uint32_t crc; /* of everything behind this field, JSON included */
    uint64_t index;
    uint8_t uid[16];
    uint32_t rev;
    uint32_t len;
};
_Static_assert(sizeof(struct frame) == 40, "frames are written as they lie in memory");

struct segment {
    uint64_t first; /* index of its first frame, and its name */
    uint64_t bytes;
    int64_t touched_ns; /* CLOCK_MONOTONIC of its last alert */
};

struct spool {
    struct spool_conf conf;
    int dir, lock;
    int active;          /* the newest segment, open for append; -1: the next append makes one */
    bool is_dirty;       /* written since the last fsync */
    uint64_t synced_ns;  /* when that was */
    uint64_t now_ns;     /* as spool_sync was told last */
    uint64_t offered_ns; /* what is held, to the disk */
    uint64_t bytes, segment_max;
    struct spool_mark at;
    size_t n;
    struct segment segment[SPOOL_SEGMENTS_MAX]; /* oldest first */
    struct {                                    /* where the last spool_read stopped */
        int fd;
        size_t i; /* segment, or NO_SEGMENT */
        uint64_t offset, index;
    } reader;
    struct held held; /* what the disk refused, behind all that it has */
    struct frame frame;
    char body[SPOOL_ENTRY_MAX];
    char run[SPOOL_RUN_TEXT];
};

static void segment_name(uint64_t first, char name[NAME_MAX_LEN])
{
    (void)snprintf(name, NAME_MAX_LEN, "spool-%020" PRIu64 ".seg", first);
}

static bool segment_parse(const char *name, uint64_t *ret_first)
{
    uint64_t first = 0;

    if (strlen(name) != 30 || strncmp(name, "spool-", 6) != 0 || strcmp(name + 26, ".seg") != 0)
        return false;
    for (const char *c = name + 6; c < name + 26; c++) {
        if (*c < '0' || *c > '9' || first > SPOOL_INDEX_MAX)
            return false;
        first = first * 10 + (uint64_t)(*c - '0');
    }
    if (first > SPOOL_INDEX_MAX)
        return false;
    *ret_first = first;
    return true;
}

static int open_segment(const struct spool *s, uint64_t first, int flags)
{
    char name[NAME_MAX_LEN];

    segment_name(first, name);
    return openat(s->dir, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
}

static uint32_t frame_crc(const struct frame *f, const char *json)
{
    const uLong crc = crc32_z(0, (const Bytef *)f + offsetof(struct frame, index),
                              sizeof(*f) - offsetof(struct frame, index));

    return (uint32_t)crc32_z(crc, (const Bytef *)json, f->len);
}

static void close_reader(struct spool *s)
{
    if (s->reader.fd >= 0)
        (void)close(s->reader.fd);
    s->reader.fd = -1;
    s->reader.i = NO_SEGMENT;
}

static void forget_segment(struct spool *s, size_t i)
{
    char name[NAME_MAX_LEN];

    segment_name(s->segment[i].first, name);
    (void)unlinkat(s->dir, name, 0);
    s->bytes -= s->segment[i].bytes;
    s->n--;
    memmove(&s->segment[i], &s->segment[i + 1], (s->n - i) * sizeof(s->segment[0]));
    if (i == s->n && s->active >= 0) { /* it was the newest */
        (void)close(s->active);
        s->active = -1;
    }
    if (s->reader.i != NO_SEGMENT) {
        if (s->reader.i == i)
            close_reader(s);
        else if (s->reader.i > i)
            s->reader.i--;
    }
}

/* 0: s->frame and s->body hold the frame at `offset`, and its index lies in [low, high). */
static int read_frame(struct spool *s, int fd, uint64_t offset, uint64_t low, uint64_t high)
{
    struct frame *f = &s->frame;

    if (pread(fd, f, sizeof(*f), (off_t)offset) != (ssize_t)sizeof(*f))
        return -EIO;
    if (f->magic != FRAME_MAGIC || f->len > SPOOL_ENTRY_MAX || f->index < low || f->index >= high)
        return -EBADMSG;
    if (pread(fd, s->body, f->len, (off_t)(offset + sizeof(*f))) != (ssize_t)f->len)
        return -EIO;
    return frame_crc(f, s->body) == f->crc ? 0 : -EBADMSG;
}

/* Insert in order; when there are too many, the oldest goes. */
static void add_segment(struct spool *s, uint64_t first, uint64_t bytes, int64_t touched_ns)
{
    size_t i = s->n;

    if (s->n == SPOOL_SEGMENTS_MAX) {
        if (first < s->segment[0].first)
            return;
        forget_segment(s, 0);
        i--;
    }
    while (i > 0 && s->segment[i - 1].first > first)
        i--;
    memmove(&s->segment[i + 1], &s->segment[i], (s->n - i) * sizeof(s->segment[0]));
    s->segment[i] = (struct segment){.first = first, .bytes = bytes, .touched_ns = touched_ns};
    s->n++;
    s->bytes += bytes;
}

/* On our clock, when a file was written to last; the future is now. */
static int64_t touched_ns(const struct spool *s, const struct stat *st)
{
    const int64_t wall_ns =
        (int64_t)st->st_mtim.tv_sec * (int64_t)WIND_NS_PER_S + st->st_mtim.tv_nsec;
    const int64_t age_ns = (int64_t)time_wall_ns() - wall_ns;

    return (int64_t)s->now_ns - (age_ns > 0 ? age_ns : 0);
}

static int list_segments(struct spool *s, struct err *e)
{
    const int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct stat st;
    uint64_t first;

    if (d == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return err_set(e, -errno, "spool '%s': %s", s->conf.dir, strerror(errno));
    }
    while ((entry = readdir(d)) != NULL) {
        if (segment_parse(entry->d_name, &first) &&
            fstatat(s->dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            add_segment(s, first, (uint64_t)st.st_size, touched_ns(s, &st));
    }
    (void)closedir(d);
    return 0;
}

/*
 * Make the newest segment end with a whole frame whose index is below `limit`, open it for
 * append, and return the index behind it. A segment without any such frame is removed.
 */
static uint64_t cut_tail(struct spool *s, uint64_t limit)
{
    while (s->n > 0) {
        struct segment *last = &s->segment[s->n - 1];
        uint64_t offset = 0, next = last->first;
        const int fd = last->first < limit ? open_segment(s, last->first, O_RDWR) : -1;

        while (fd >= 0 && read_frame(s, fd, offset, next, limit) == 0) {
            offset += sizeof(s->frame) + s->frame.len;
            next = s->frame.index + 1;
        }
        if (fd >= 0 && offset > 0 && ftruncate(fd, (off_t)offset) == 0 &&
            lseek(fd, (off_t)offset, SEEK_SET) >= 0) {
            s->bytes -= last->bytes - offset;
            last->bytes = offset;
            s->active = fd;
            return next;
        }
        if (fd >= 0)
            (void)close(fd);
        forget_segment(s, s->n - 1);
    }
    return 0;
}

static int open_dir(struct spool *s, struct err *e)
{
    if (mkdir(s->conf.dir, 0700) != 0 && errno != EEXIST)
        return err_set(e, -errno, "spool '%s': cannot make the folder: %s", s->conf.dir,
                       strerror(errno));
    s->dir = open(s->conf.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir < 0)
        return err_set(e, -errno, "spool '%s': %s", s->conf.dir, strerror(errno));
    s->lock = openat(s->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock < 0)
        return err_set(e, -errno, "spool '%s': %s", s->conf.dir, strerror(errno));
    if (flock(s->lock, LOCK_EX | LOCK_NB) != 0)
        return err_set(e, -EBUSY, "spool '%s': another sensor uses it; give each its own spool.dir",
                       s->conf.dir);
    return 0;
}

/* A segment ends where the next begins, the newest one at `next`. */
static void drop_confirmed(struct spool *s)
{
    while (s->n > 0 && s->at.confirmed >= (s->n > 1 ? s->segment[1].first : s->at.next))
        forget_segment(s, 0);
}

int spool_new(struct spool **ret_spool, const struct spool_conf *conf,
              const struct spool_mark *resume, struct err *e)
{
    WIND_AUTO(spool) struct spool *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return err_set(e, -ENOMEM, "spool: out of memory");
    s->conf = *conf;
    s->dir = s->lock = s->active = s->reader.fd = -1;
    s->reader.i = NO_SEGMENT;
    s->now_ns = time_mono_ns();
    held_init(&s->held);
    s->segment_max = conf->max_bytes / 16;
    if (s->segment_max < SEGMENT_MIN)
        s->segment_max = SEGMENT_MIN;
    if (s->segment_max > SEGMENT_MAX)
        s->segment_max = SEGMENT_MAX;

    int r = open_dir(s, e);
    if (r == 0)
        r = list_segments(s, e);
    if (r < 0)
        return r;
    s->at.next = cut_tail(s, resume != NULL ? resume->next : SPOOL_INDEX_MAX);
    /* Unknown: what is on disk is sent again, which the collector sees by uid and rev. */
    const bool is_known = note_read_confirmed(s->dir, SPOOL_INDEX_MAX, &s->at.confirmed) == 0;
    if (!is_known && s->n > 0)
        s->at.confirmed = s->segment[0].first;
    note_run(s->dir, !is_known && s->n == 0, s->run);
    if (resume != NULL) /* it knows better, and the tail may be a gap: no index is used twice */
        s->at = *resume;
    if (s->at.next < s->at.confirmed)
        s->at.next = s->at.confirmed;
    drop_confirmed(s); /* a kill may have come in between */
    *ret_spool = WIND_STEAL(s);
    return 0;
}

struct spool *spool_free(struct spool *s)
{
    if (s == NULL)
        return NULL;
    held_done(&s->held);
    close_reader(s);
    if (s->active >= 0)
        (void)close(s->active);
    if (s->lock >= 0)
        (void)close(s->lock);
    if (s->dir >= 0)
        (void)close(s->dir);
    free(s);
    return NULL;
}

/* Room for `bytes` more behind `index`, dropping the oldest segments at the limit. */
static int make_room(struct spool *s, uint64_t index, uint64_t bytes)
{
    if (s->active >= 0 && s->segment[s->n - 1].bytes + bytes > s->segment_max) {
        (void)fdatasync(s->active);
        (void)close(s->active);
        s->active = -1;
    }
    while (s->n > 0 && s->bytes + bytes > s->conf.max_bytes)
        forget_segment(s, 0);
    if (s->active >= 0)
        return 0;
    s->active = open_segment(s, index, O_RDWR | O_CREAT | O_TRUNC);
    if (s->active < 0)
        return -errno;
    add_segment(s, index, 0, (int64_t)s->now_ns);
    (void)fsync(s->dir);
    return 0;
}

/* A frame, in one piece or two. */
static int write_frame(struct spool *s, uint64_t index, const struct iovec parts[2])
{
    const size_t bytes = parts[0].iov_len + parts[1].iov_len;
    const int r = make_room(s, index, bytes);

    if (r < 0)
        return r;
    struct segment *last = &s->segment[s->n - 1];
    const ssize_t done = pwritev(s->active, parts, 2, (off_t)last->bytes);
    if (done != (ssize_t)bytes) {
        const int error = done < 0 ? errno : ENOSPC;
        (void)ftruncate(s->active, (off_t)last->bytes);
        return -error;
    }
    last->bytes += bytes;
    last->touched_ns = (int64_t)s->now_ns;
    s->bytes += bytes;
    s->is_dirty = true;
    return 0;
}

/* What is held goes to the disk, if it takes it. */
static int offer_held(struct spool *s)
{
    const void *bytes;
    size_t at = 0, len;

    s->offered_ns = s->now_ns;
    while ((bytes = held_next(&s->held, &at, &len)) != NULL) {
        struct frame f;
        const struct iovec parts[2] = {{(void *)(uintptr_t)bytes, len}, {NULL, 0}};

        memcpy(&f, bytes, sizeof(f));
        const int r = write_frame(s, f.index, parts);
        if (r < 0)
            return r;
        held_take(&s->held);
        at = 0;
    }
    return 0;
}

int spool_append(struct spool *s, const uint8_t uid[16], uint32_t rev, const char *json, size_t len)
{
    struct frame f = {.magic = FRAME_MAGIC, .index = s->at.next, .rev = rev, .len = (uint32_t)len};
    const struct iovec parts[2] = {{&f, sizeof(f)}, {(void *)(uintptr_t)json, len}};

    s->at.next++;
    if (len > SPOOL_ENTRY_MAX)
        return -EMSGSIZE;
    memcpy(f.uid, uid, sizeof(f.uid));
    f.crc = frame_crc(&f, json);
    int r = offer_held(s);
    if (r == 0)
        r = write_frame(s, f.index, parts);
    if (r < 0)
        held_put(&s->held, &f, sizeof(f), json, len);
    return r;
}

/* Stand the reader on the start of the segment that may hold `from`, or the first one behind it. */
static int find_segment(struct spool *s, uint64_t from)
{
    size_t i = 0;

    while (i + 1 < s->n && s->segment[i + 1].first <= from)
        i++;
    close_reader(s);
    if (s->n == 0)
        return SPOOL_END;
    s->reader.i = i;
    s->reader.offset = 0;
    s->reader.index = s->segment[i].first;
    s->reader.fd = open_segment(s, s->segment[i].first, O_RDONLY);
    return 0;
}

/* End of a segment, or damage: on to the next one. Damage in the newest: append elsewhere. */
static int next_segment(struct spool *s)
{
    const size_t i = s->reader.i + 1;

    if (i >= s->n) {
        if (s->reader.offset < s->segment[s->n - 1].bytes && s->active >= 0) {
            (void)close(s->active);
            s->active = -1;
        }
        return SPOOL_END;
    }
    return find_segment(s, s->segment[i].first);
}

static void give(const struct spool *s, struct spool_entry *ret_entry)
{
    *ret_entry = (struct spool_entry){
        .index = s->frame.index, .rev = s->frame.rev, .len = s->frame.len, .json = s->body};
    memcpy(ret_entry->uid, s->frame.uid, sizeof(ret_entry->uid));
}

static int read_disk(struct spool *s, uint64_t from, struct spool_entry *ret_entry)
{
    if (s->reader.i == NO_SEGMENT || s->reader.index > from)
        if (find_segment(s, from) != 0)
            return SPOOL_END;
    for (;;) {
        const size_t i = s->reader.i;
        const uint64_t high = i + 1 < s->n ? s->segment[i + 1].first : s->at.next;

        if (s->reader.offset >= s->segment[i].bytes || s->reader.fd < 0 ||
            read_frame(s, s->reader.fd, s->reader.offset, s->reader.index, high) != 0) {
            if (next_segment(s) != 0)
                return SPOOL_END;
            continue;
        }
        s->reader.offset += sizeof(s->frame) + s->frame.len;
        s->reader.index = s->frame.index + 1;
        if (s->frame.index < from)
            continue;
        give(s, ret_entry);
        return 0;
    }
}

static int read_held(struct spool *s, uint64_t from, struct spool_entry *ret_entry)
{
    const char *bytes;
    size_t at = 0, len;

    while ((bytes = held_next(&s->held, &at, &len)) != NULL) {
        memcpy(&s->frame, bytes, sizeof(s->frame));
        if (s->frame.index < from)
            continue;
        memcpy(s->body, bytes + sizeof(s->frame), s->frame.len);
        give(s, ret_entry);
        return 0;
    }
    return SPOOL_END;
}

int spool_read(struct spool *s, uint64_t from, struct spool_entry *ret_entry)
{
    const int r = read_disk(s, from, ret_entry);

    return r == 0 ? 0 : read_held(s, from, ret_entry);
}

/* The oldest that is held, or none: whatever comes next. */
static uint64_t first_held(const struct spool *s)
{
    size_t at = 0, len;
    const void *bytes = held_next(&s->held, &at, &len);
    struct frame f = {.index = s->at.next};

    if (bytes != NULL)
        memcpy(&f, bytes, sizeof(f));
    return f.index;
}

int spool_confirm(struct spool *s, uint64_t index)
{
    if (index > s->at.next)
        index = s->at.next;
    if (index <= s->at.confirmed)
        return 0;
    s->at.confirmed = index;
    while (first_held(s) < index)
        held_take(&s->held);
    const int r = note_write_confirmed(s->dir, s->at.confirmed);
    drop_confirmed(s);
    return r;
}

static void drop_old(struct spool *s)
{
    while (s->conf.max_age_ns > 0 && s->n > 0 &&
           (int64_t)s->now_ns - s->segment[0].touched_ns > (int64_t)s->conf.max_age_ns)
        forget_segment(s, 0);
}

void spool_sync(struct spool *s, uint64_t mono_ns, bool force)
{
    s->now_ns = mono_ns;
    drop_old(s);
    if (s->held.n > 0 && (force || mono_ns - s->offered_ns >= WIND_NS_PER_S))
        (void)offer_held(s);
    if (!s->is_dirty || (!force && mono_ns - s->synced_ns < s->conf.fsync_ns))
        return;
    if (s->active >= 0)
        (void)fdatasync(s->active);
    s->is_dirty = false;
    s->synced_ns = mono_ns;
}

const char *spool_run(const struct spool *s)
{
    return s->run;
}

struct spool_mark spool_where(const struct spool *s)
{
    return s->at;
}

uint64_t spool_oldest(const struct spool *s)
{
    return s->n > 0 ? s->segment[0].first : first_held(s);
}

uint64_t spool_bytes(const struct spool *s)
{
    return s->bytes;
}

size_t spool_held(const struct spool *s)
{
    return s->held.n;
}
