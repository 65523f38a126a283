#include "sensor/folder_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SETTLED_S 1 /* without a write; also how far a clock of changes may lag behind */

int folder_files_init(struct folder_files *f, const char *path, size_t max, struct err *e)
{
    *f = (struct folder_files){.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .max = max};
    if (f->fd < 0)
        return err_set(e, -errno, "can't open '%s': %s", path, strerror(errno));
    f->file = calloc(max, sizeof(struct folder_file *)); /* pages come when they are used */
    f->queue = calloc(max, sizeof(struct folder_file *));
    if (f->file == NULL || f->queue == NULL)
        return err_set(e, -ENOMEM, "capture.files: no memory for %zu files", max);
    return 0;
}

static void free_file(struct folder_file *file)
{
    free(file->name);
    free(file);
}

void folder_files_done(struct folder_files *f)
{
    for (size_t i = 0; i < f->n; i++)
        free_file(f->file[i]);
    free(f->file);
    free(f->queue);
    if (f->fd >= 0)
        (void)close(f->fd);
    *f = (struct folder_files){.fd = -1};
}

/* ---------------------------------------------------------------- which there are */

static int by_name(const void *a, const void *b)
{
    const struct folder_file *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static struct folder_file *find(const struct folder_files *f, size_t n, char *name)
{
    struct folder_file wanted = {.name = name};
    const struct folder_file *const key = &wanted;
    struct folder_file **const found = bsearch(&key, f->file, n, sizeof(void *), by_name);

    return found != NULL ? *found : NULL;
}

static void add(struct folder_files *f, const char *name)
{
    struct folder_file *const file = f->n < f->max ? calloc(1, sizeof(*file)) : NULL;

    if (file != NULL)
        file->name = strdup(name);
    if (file == NULL || file->name == NULL) {
        f->left_out++;
        free(file);
        return;
    }
    file->id = ++f->last_id;
    file->is_there = true;
    f->file[f->n++] = file;
}

/* Gone from the folder, and nothing more is wanted of it. */
static bool is_forgotten(const struct folder_file *file)
{
    return !file->is_there && file->state != FOLDER_FILE_QUEUED;
}

static void drop_forgotten(struct folder_files *f)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->n; i++) {
        if (is_forgotten(f->file[i]))
            free_file(f->file[i]);
        else
            f->file[kept++] = f->file[i];
    }
    f->n = kept;
}

static void take_names(struct folder_files *f, DIR *dir)
{
    const size_t known = f->n;
    struct dirent *d;

    for (size_t i = 0; i < known; i++)
        f->file[i]->is_there = false;
    f->left_out = 0;
    while ((d = readdir(dir)) != NULL) {
        if (d->d_name[0] == '.' || d->d_type == DT_DIR)
            continue;
        struct folder_file *const file = find(f, known, d->d_name);
        if (file != NULL)
            file->is_there = true;
        else
            add(f, d->d_name);
    }
}

static int64_t wall_s(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

/* Remember when it last changed: before the names are read, so that nothing is missed. */
static void note_change(struct folder_files *f)
{
    struct stat st;

    f->may_have_changed = true;
    if (fstat(f->fd, &st) != 0)
        return;
    f->seen_s = st.st_mtim.tv_sec;
    f->seen_ns = st.st_mtim.tv_nsec;
    f->may_have_changed = wall_s() - f->seen_s <= SETTLED_S;
}

int folder_files_scan(struct folder_files *f, struct err *e)
{
    const int fd =
        openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* an offset of its own */
    DIR *const dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir == NULL) {
        const int code = errno;
        if (fd >= 0)
            (void)close(fd);
        return err_set(e, -code, "can't list the folder: %s", strerror(code));
    }
    note_change(f);
    take_names(f, dir);
    (void)closedir(dir);
    drop_forgotten(f);
    qsort(f->file, f->n, sizeof(void *), by_name);
    f->look_at = 0;
    return 0;
}

/* Waiting files that have grown since are new again. */
static void wake_grown(struct folder_files *f)
{
    for (size_t i = 0; i < f->n; i++) {
        struct folder_file *const file = f->file[i];
        struct stat st;

        if (file->state != FOLDER_FILE_WAITING || fstatat(f->fd, file->name, &st, 0) != 0 ||
            st.st_size == file->size)
            continue;
        file->state = FOLDER_FILE_NEW;
        f->look_at = i < f->look_at ? i : f->look_at;
    }
}

void folder_files_scan_again(struct folder_files *f)
{
    struct stat st;

    const bool is_changed = f->may_have_changed || fstat(f->fd, &st) != 0 ||
                            st.st_mtim.tv_sec != f->seen_s || st.st_mtim.tv_nsec != f->seen_ns;
    /* A folder that can't be listed any more has no news. */
    if (!is_changed || folder_files_scan(f, NULL) == 0)
        wake_grown(f);
}

struct folder_file *folder_files_new_one(struct folder_files *f)
{
    while (f->look_at < f->n && f->file[f->look_at]->state != FOLDER_FILE_NEW)
        f->look_at++;
    return f->look_at < f->n ? f->file[f->look_at] : NULL;
}

/* ---------------------------------------------------------------- in which order */

static int by_time(const void *a, const void *b)
{
    const struct folder_file *const *x = a, *const *y = b;

    return (*x)->time_ns != (*y)->time_ns ? ((*x)->time_ns > (*y)->time_ns) * 2 - 1
                                          : strcmp((*x)->name, (*y)->name);
}

void folder_files_enqueue(struct folder_files *f, struct folder_file *file, uint64_t time_ns)
{
    file->time_ns = time_ns;
    file->state = FOLDER_FILE_QUEUED;
    f->queue[f->n_queue++] = file; /* each file once: there is room for all of them */
}

struct folder_file *folder_files_at(struct folder_files *f, size_t place)
{
    if (f->sorted < f->n_queue) {
        qsort(f->queue + f->fixed, f->n_queue - f->fixed, sizeof(void *), by_time);
        f->sorted = f->n_queue;
    }
    if (place >= f->n_queue)
        return NULL;
    f->fixed = place + 1 > f->fixed ? place + 1 : f->fixed;
    return f->queue[place];
}

void folder_files_forget(struct folder_files *f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        f->queue[i]->state = FOLDER_FILE_OUT;
    memmove(f->queue, f->queue + n, (f->n_queue - n) * sizeof(void *));
    f->n_queue -= n;
    f->fixed = f->fixed > n ? f->fixed - n : 0;
    f->sorted = f->sorted > n ? f->sorted - n : 0;
}

/* ---------------------------------------------------------------- one of them */

int folder_files_open(const struct folder_files *f, const struct folder_file *file)
{
    struct stat st;

    /* Looked at first: to open a device may do something. */
    if (fstatat(f->fd, file->name, &st, 0) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    const int fd = openat(f->fd, file->name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    (void)close(fd);
    return -EINVAL;
}

bool folder_files_is_settled(const struct folder_files *f, const struct folder_file *file)
{
    struct stat st;

    return fstatat(f->fd, file->name, &st, 0) != 0 || wall_s() - st.st_mtim.tv_sec > SETTLED_S;
}
