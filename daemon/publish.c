#include "daemon/publish.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/decimal.h"
#include "connectors/zmq.h"
#include "daemon/log.h"

struct ky_publisher {
    ky_pipeline *p;
    ky_bell bell;
    pthread_t thread;
    bool started;
    ky_queue *queues; /* [lanes] */
    ky_zsock **socks; /* [publishers] */
    char **addresses;
    char *buf;
    size_t size;
    /* the start: the thread opens the sockets, as they are its own, and says how it went */
    ky_bell begun;
    _Atomic bool ready;
    int rc;
    ky_err err;
};

/* -- text -- */

typedef struct text {
    char *p;
    size_t size, len; /* len goes on counting beyond size */
} text;

static void put(text *t, const char *s, size_t n)
{
    if (t->len + n <= t->size)
        memcpy(t->p + t->len, s, n);
    t->len += n;
}

#define PUT(t, literal) put(t, literal, sizeof(literal) - 1)

static void put_int(text *t, int64_t v)
{
    char part[KY_DECIMAL_MAX];

    put(t, part, ky_decimal_int(v, part));
}

static void put_float(text *t, float x)
{
    char part[KY_DECIMAL_MAX];

    put(t, part, ky_decimal_float(x, part));
}

__attribute__((format(printf, 2, 3))) static void putf(text *t, const char *fmt, ...)
{
    char part[160];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(part, sizeof(part), fmt, ap);
    va_end(ap);
    if (n > 0)
        put(t, part, (size_t)n < sizeof(part) ? (size_t)n : sizeof(part) - 1);
}

static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && c != 0x7f && c != '"' && c != '\\';
}

/* A JSON string. Names have passed as UTF-8; what is not plain is escaped all the same. */
static void put_string(text *t, const char *s, size_t n)
{
    PUT(t, "\"");
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i; k < n && is_plain(s[k]);)
            k++;
        put(t, s + i, k - i);
        if (k == n)
            break;
        if (s[k] == '"' || s[k] == '\\')
            putf(t, "\\%c", s[k]);
        else
            putf(t, "\\u%04x", (unsigned char)s[k]);
        k++;
    }
    PUT(t, "\"");
}

/* Seconds, to the microsecond. */
static void put_time(text *t, int64_t us)
{
    uint64_t u = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    char part[7] = ".000000";

    if (us < 0)
        PUT(t, "-");
    put_int(t, (int64_t)(u / 1000000));
    u %= 1000000;
    for (int i = 6; i > 0; i--, u /= 10)
        part[i] = (char)('0' + u % 10);
    put(t, part, sizeof(part));
}

static void put_values(text *t, const ky_model_info *f, const float *y, int label)
{
    char number[12];
    bool pair = label >= 0 && f->outputs == 1;
    int n = pair ? 2 : f->outputs;

    put(t, label >= 0 ? ",\"probs\":{" : ",\"values\":{", label >= 0 ? 10 : 11);
    for (int i = 0; i < n; i++) {
        const char *name = ky_served_label(f, i, number);

        if (i > 0)
            PUT(t, ",");
        put_string(t, name, strlen(name));
        PUT(t, ":");
        put_float(t, !pair ? y[i] : i == 1 ? y[0] : 1.0f - y[0]);
    }
    PUT(t, "}");
}

static const char *const quality_words[] = {
    [KY_Q_OK] = "ok",     [KY_Q_WARMING] = "warming",     [KY_Q_GAP] = "gap",
    [KY_Q_LATE] = "late", [KY_Q_TRUNCATED] = "truncated",
};

size_t ky_publisher_json(char *buf, size_t size, const ky_config *cfg, const ky_said *a)
{
    text t = { buf, size, 0 };
    const char *class_ = cfg->classes[a->class_].name, *model = cfg->models[a->v->model].name;
    const float *y = (const float *)(a + 1);
    char number[12];

    PUT(&t, "{\"stream\":");
    put_string(&t, ky_said_name(a), a->name_len);
    PUT(&t, ",\"class\":");
    put_string(&t, class_, strlen(class_));
    PUT(&t, ",\"n\":");
    put_int(&t, a->n);
    PUT(&t, ",\"pub\":");
    put_int(&t, (int64_t)a->pub);
    if (a->seq != KY_NONE) {
        PUT(&t, ",\"seq\":");
        put_int(&t, a->seq);
    }
    PUT(&t, ",\"ts\":");
    put_time(&t, a->ts_us);
    if (a->label >= 0) {
        const char *name = ky_served_label(a->v->facts, a->label, number);

        PUT(&t, ",\"label\":");
        put_string(&t, name, strlen(name));
        PUT(&t, ",\"score\":");
        put_float(&t, a->score);
    }
    put_values(&t, a->v->facts, y, a->label);
    PUT(&t, ",\"model\":\"");
    put(&t, model, strlen(model));
    PUT(&t, "@");
    put_int(&t, a->v->version);
    PUT(&t, "\",\"quality\":\"");
    put(&t, quality_words[a->quality], strlen(quality_words[a->quality]));
    PUT(&t, "\",\"latency_us\":");
    put_int(&t, a->latency_us);
    PUT(&t, "}");
    return t.len;
}

/* -- telling -- */

static bool room(ky_publisher *b, size_t need)
{
    if (need <= b->size)
        return true;
    char *buf = realloc(b->buf, need * 2);

    if (buf == NULL)
        return false;
    b->buf = buf;
    b->size = need * 2;
    return true;
}

static void tell(ky_publisher *b, ky_said *a)
{
    const ky_class_cfg *c = &b->p->cfg->classes[a->class_];
    char name[KY_NAME_MAX + KY_STREAM_MAX + 3];
    text topic = { name, sizeof(name), 0 };

    size_t len = ky_publisher_json(b->buf, b->size, b->p->cfg, a);

    if (len > b->size) {
        if (!room(b, len)) {
            KY_COUNT(b->p->count.unpublished);
            return;
        }
        len = ky_publisher_json(b->buf, b->size, b->p->cfg, a);
    }
    put(&topic, c->name, strlen(c->name));
    PUT(&topic, "/");
    put(&topic, ky_said_name(a), a->name_len);
    PUT(&topic, "/");
    ky_zframe frames[2] = { { name, topic.len }, { b->buf, len } };

    for (int i = 0; i < b->p->cfg->n_publishers; i++)
        if (ky_zsock_send(b->socks[i], frames, 2, 0, NULL) < 0)
            KY_COUNT(b->p->count.unpublished);
    KY_COUNT(b->p->count.published);
}

static int open_socks(ky_publisher *b)
{
    for (int i = 0; i < b->p->cfg->n_publishers; i++) {
        const ky_publish_cfg *c = &b->p->cfg->publishers[i];
        int rc = ky_zsock_open("pub", c->endpoint, c->bind, (int)c->hwm, &b->socks[i], &b->err);

        if (rc < 0)
            return ky_context(&b->err, rc, "[publish:%s]", c->name);
        b->addresses[i] = strdup(ky_zsock_address(b->socks[i]));
    }
    return KY_OK;
}

static void close_socks(ky_publisher *b)
{
    for (int i = 0; i < b->p->cfg->n_publishers; i++)
        if (b->socks[i] != NULL)
            ky_zsock_close(b->socks[i]);
}

/* Everything there is in all queues; returns whether there was anything. */
static bool sweep(ky_publisher *b, bool *ended)
{
    bool any = false;

    *ended = true;
    for (int i = 0; i < b->p->n_lanes; i++) {
        size_t size;
        ky_said *a;

        while ((a = ky_queue_next(&b->queues[i], &size)) != NULL) {
            tell(b, a);
            ky_queue_pop(&b->queues[i]);
            any = true;
        }
        *ended = *ended && ky_queue_ended(&b->queues[i]);
    }
    return any;
}

static void *run(void *arg)
{
    ky_publisher *b = arg;
    bool ended = false;

    b->rc = open_socks(b);
    atomic_store(&b->ready, true);
    ky_bell_ring(&b->begun);
    while (b->rc == KY_OK && !ended) {
        uint32_t heard = ky_bell_listen(&b->bell);

        if (!sweep(b, &ended) && !ended)
            ky_bell_wait(&b->bell, heard, -1);
    }
    close_socks(b);
    return NULL;
}

/* -- the pipeline -- */

int ky_publisher_new(ky_pipeline *p, ky_publisher **ret, ky_err *err)
{
    ky_publisher *b = calloc(1, sizeof(*b));
    size_t n = (size_t)p->cfg->n_publishers + 1;

    if (b == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    b->p = p;
    b->size = 4096;
    b->buf = malloc(b->size);
    b->queues = calloc((size_t)p->n_lanes, sizeof(ky_queue));
    b->socks = calloc(n, sizeof(ky_zsock *));
    b->addresses = calloc(n, sizeof(char *));
    if (b->buf == NULL || b->queues == NULL || b->socks == NULL || b->addresses == NULL) {
        ky_publisher_free(b);
        return ky_fail(err, KY_ENOMEM, "no memory");
    }
    for (int i = 0; i < p->n_lanes; i++) {
        int rc = ky_queue_init(&b->queues[i], 1 << 20, &b->bell, NULL, err);

        if (rc < 0) {
            ky_publisher_free(b);
            return rc;
        }
    }
    *ret = b;
    return KY_OK;
}

ky_queue *ky_publisher_queue(ky_publisher *b, int lane)
{
    return &b->queues[lane];
}

int ky_publisher_start(ky_publisher *b, ky_err *err)
{
    int rc = ky_core_thread(&b->thread, "kymod-publish", run, b, err);

    if (rc < 0)
        return rc;
    b->started = true;
    for (;;) {
        uint32_t heard = ky_bell_listen(&b->begun);

        if (atomic_load(&b->ready))
            break;
        ky_bell_wait(&b->begun, heard, -1);
    }
    if (b->rc < 0 && err != NULL)
        *err = b->err;
    return b->rc;
}

void ky_publisher_join(ky_publisher *b)
{
    if (b->started)
        pthread_join(b->thread, NULL);
    b->started = false;
}

void ky_publisher_free(ky_publisher *b)
{
    if (b == NULL)
        return;
    for (int i = 0; b->queues != NULL && i < b->p->n_lanes; i++)
        ky_queue_done(&b->queues[i]);
    for (int i = 0; b->addresses != NULL && i < b->p->cfg->n_publishers; i++)
        free(b->addresses[i]);
    free(b->queues);
    free(b->socks);
    free(b->addresses);
    free(b->buf);
    free(b);
}

const char *ky_publisher_address(const ky_publisher *b, int i)
{
    return b->addresses[i] != NULL ? b->addresses[i] : "";
}
