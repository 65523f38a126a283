#include "sensor/standby.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct standby {
    pthread_t thread;
    bool is_joined;
    sem_t go;               /* `job` is set, or the end has come */
    void (*job)(void *arg); /* NULL when told to go: end at once */
    void *arg;
};

static void *run(void *arg)
{
    struct standby *s = arg;

    while (sem_wait(&s->go) != 0)
        ; /* a signal */
    if (s->job != NULL)
        s->job(s->arg);
    return NULL;
}

int standby_new(struct standby **ret_standby, const char *name, struct err *e)
{
    struct standby *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    (void)sem_init(&s->go, 0, 0); /* fails for values above SEM_VALUE_MAX only */
    const int code = pthread_create(&s->thread, NULL, run, s);
    if (code != 0) {
        (void)sem_destroy(&s->go);
        free(s);
        return err_set(e, -code, "can't start the thread '%s': %s", name, strerror(code));
    }
    *ret_standby = s;
    return 0;
}

void standby_start(struct standby *s, void (*job)(void *arg), void *arg)
{
    s->job = job;
    s->arg = arg;
    (void)sem_post(&s->go);
}

void standby_join(struct standby *s)
{
    if (s->job == NULL)
        (void)sem_post(&s->go);
    (void)pthread_join(s->thread, NULL);
    s->is_joined = true;
}

struct standby *standby_free(struct standby *s)
{
    if (s != NULL) {
        if (!s->is_joined)
            standby_join(s);
        (void)sem_destroy(&s->go);
        free(s);
    }
    return NULL;
}
