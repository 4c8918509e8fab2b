#include "daemon/intake.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/accept.h"
#include "daemon/log.h"
#include "daemon/queue.h"
#include "daemon/shelf.h"
#include "models/clock.h"

struct ky_intake {
    ky_pipeline *p;
    int number;
    const ky_source_cfg *cfg;
    ky_queue records, answers;
    ky_bell bell;
    pthread_t thread;
    bool started;
    ky_source *source;
    ky_codec *codec;
    char *address;
    ky_complaint trouble;
    bool unrung;    /* records that the accept stage was not told of */
    ky_shelf shelf; /* when_full = drop_oldest, latest */
    bool shelves;   /* the shelf takes the record that was begun */
    struct {        /* messages being lost */
        ky_complaint complaint;
        int64_t since_ns, last_ns; /* 0: none; when the last ones were */
        uint64_t before, known;    /* dropped until it began, and until last_ns */
    } loss;
    _Atomic bool closing, finishing;
    /* the start: the thread opens the source, as it is its own, and says how it went */
    ky_bell begun;
    _Atomic bool ready;
    _Atomic(ky_source *) open; /* for those who wake it */
    int rc;
    ky_err err;
};

/* -- classes -- */

int ky_intake_class(const ky_config *cfg, int source, const char *stream, size_t len)
{
    char name[KY_STREAM_MAX + 1];

    if (len > KY_STREAM_MAX)
        return -1;
    memcpy(name, stream, len);
    name[len] = 0;
    for (int i = 0; i < cfg->n_classes; i++) {
        const ky_class_cfg *c = &cfg->classes[i];

        if (ky_class_hears(c, cfg->sources[source].name) &&
            (c->match == NULL || strcmp(c->match, "*") == 0 || fnmatch(c->match, name, 0) == 0))
            return i;
    }
    return -1;
}

/* -- answers on their way back -- */

static void send_answers(ky_intake *i)
{
    size_t size;
    const ky_answer *a;

    while ((a = ky_queue_next(&i->answers, &size)) != NULL) {
        ky_ack ack = { .cookie = a->cookie,
                       .number = a->number,
                       .reason = a->reason_len > 0 ? (const char *)(a + 1) : NULL };

        memcpy(ack.session, a->session, KY_SESSION);
        ky_source_ack(i->source, &ack);
        ky_queue_pop(&i->answers);
    }
}

/* -- records -- */

/* As much as there is room for goes on from the shelf; whether that is all. */
static bool unshelve(ky_intake *i)
{
    const ky_arrival *v;
    size_t size;
    void *to;

    while ((v = ky_shelf_first(&i->shelf, &size)) != NULL) {
        if ((to = ky_queue_reserve(&i->records, size)) == NULL)
            return false;
        memcpy(to, v, size);
        ky_shelf_settle(&i->shelf, (ky_record *)((ky_arrival *)to + 1));
        ky_queue_commit(&i->records, size);
        ky_shelf_pop(&i->shelf);
        i->unrung = true;
    }
    return true;
}

static void tell_loss(ky_intake *i, const char *what, const char *detail)
{
    char object[KY_NAME_MAX + 16];

    snprintf(object, sizeof(object), "source %s", i->cfg->name);
    ky_accept_event(i->p->accept, "warn", object, what, detail);
}

static uint64_t lost(const ky_intake *i)
{
    return atomic_load_explicit(&i->shelf.dropped, memory_order_relaxed);
}

/* It is over: says how much it was. */
static void end_loss(ky_intake *i)
{
    char detail[120];

    if (i->loss.since_ns == 0)
        return;
    snprintf(detail, sizeof(detail), "%llu messages in %.1f s",
             (unsigned long long)(i->loss.known - i->loss.before),
             (double)(i->loss.last_ns - i->loss.since_ns) * 1e-9);
    tell_loss(i, "dropped", detail);
    ky_complaint_over(&i->loss.complaint, "intake", KY_OBJECT("source", i->cfg->name),
                      "keeps up again: dropped were %s", detail);
    i->loss.since_ns = 0;
    i->loss.before = i->loss.known;
}

/* Says what is being lost, and when nothing was for a while and nothing waits that it is over. */
static void say_loss(ky_intake *i, bool all_on)
{
    enum { QUIET_S = 1 };
    uint64_t n = lost(i);

    if (n == i->loss.known && i->loss.since_ns == 0)
        return;
    int64_t now = ky_clock_mono_ns();
    if (n == i->loss.known) {
        if (all_on && now - i->loss.last_ns > QUIET_S * INT64_C(1000000000))
            end_loss(i);
        return;
    }
    i->loss.known = n;
    i->loss.last_ns = now;
    if (i->loss.since_ns == 0) {
        i->loss.since_ns = now;
        tell_loss(i, "dropping", "samples come faster than they are answered");
    }
    ky_complain(&i->loss.complaint, KY_WARN, "intake", KY_OBJECT("source", i->cfg->name),
                "samples come faster than they are answered: %llu messages are dropped",
                (unsigned long long)(n - i->loss.before));
}

/* Waits until the accept stage makes room, and answers senders meanwhile. */
static void wait_for_room(ky_intake *i, uint32_t heard)
{
    ky_queue_ring(&i->records);
    send_answers(i);
    ky_bell_wait(&i->bell, heard, -1);
}

static ky_arrival *reserve(ky_intake *i, size_t record)
{
    size_t size = sizeof(ky_arrival) + record;
    void *to;

    i->shelves = i->cfg->when_full != KY_FULL_BLOCK;
    if (i->shelves) {
        i->shelves = !unshelve(i) || (to = ky_queue_reserve(&i->records, size)) == NULL;
        return i->shelves ? ky_shelf_reserve(&i->shelf, size) : to;
    }
    for (;;) {
        uint32_t heard = ky_bell_listen(&i->bell);

        if ((to = ky_queue_reserve(&i->records, size)) != NULL)
            return to;
        wait_for_room(i, heard);
    }
}

static ky_record *begin(ky_intake *i, const ky_message *m, size_t stream, size_t text, size_t body)
{
    size_t size = ky_record_size(m->sender_len, stream, text, body);
    ky_arrival *v = reserve(i, size);
    ky_record *r = (ky_record *)(v + 1);

    *v = (ky_arrival){ .cookie = m->cookie };
    memset(r, 0, size);
    r->size = (uint32_t)size;
    r->flags = KY_LAST;
    r->source = (uint16_t)i->number;
    r->partition = m->partition;
    r->number = m->number;
    r->n = r->seq = r->ts_us = KY_NONE;
    r->arrival_us = m->arrived_us;
    memcpy(r->session, m->session, KY_SESSION);
    r->sender_len = (uint16_t)m->sender_len;
    r->stream_len = (uint16_t)stream;
    r->text_len = (uint32_t)text;
    r->body_len = (uint32_t)body;
    memcpy(r + 1, m->sender, m->sender_len);
    return r;
}

static void end(ky_intake *i, ky_record *r)
{
    size_t size = sizeof(ky_arrival) + r->size;

    if (i->shelves) {
        ky_shelf_commit(&i->shelf, size);
        return;
    }
    ky_shelf_settle(&i->shelf, r);
    ky_queue_commit(&i->records, size);
    i->unrung = true;
}

static char *names_of(ky_record *r)
{
    return (char *)(r + 1) + r->sender_len;
}

static void put_reject(ky_intake *i, const ky_message *m, const char *stream, size_t stream_len,
                       const char *reason)
{
    size_t text = strlen(reason), body = m->len < KY_REJECT_KEEP ? m->len : KY_REJECT_KEEP;

    if (stream_len > KY_STREAM_MAX ||
        ky_codec_check_name("", stream, stream_len, KY_STREAM_MAX, NULL) < 0)
        stream_len = 0;
    ky_record *r = begin(i, m, stream_len, text, body);

    r->type = KY_REC_REJECT;
    if (stream_len > 0)
        memcpy(names_of(r), stream, stream_len);
    memcpy(names_of(r) + stream_len, reason, text);
    if (body > 0)
        memcpy((char *)(uintptr_t)ky_record_body(r), m->data, body);
    end(i, r);
}

/* DESIGN 2: its own time, else Kafka's, else its arrival. */
static void stamp(ky_record *r, const ky_message *m, const ky_sample *s)
{
    static const uint8_t from[] = { KY_TIME_SAMPLE, KY_TIME_KAFKA, KY_TIME_ARRIVAL };
    const int64_t time[] = { s->ts_us, m->ts_us, m->arrived_us };
    int k = 0;

    while (time[k] == KY_NONE && k < 2)
        k++;
    r->ts_us = time[k];
    r->time_source = from[k];
}

static void put_sample(ky_intake *i, const ky_message *m, const ky_sample *s, int class_)
{
    size_t body = (size_t)s->steps * (size_t)s->features * sizeof(float);
    ky_record *r = begin(i, m, s->stream_len, s->label != NULL ? s->label_len : 0, body);

    r->type = s->steps > 0 ? KY_REC_SAMPLE : s->flags & KY_FORGET ? KY_REC_FORGET : KY_REC_LABEL;
    r->flags |= s->flags & (KY_START | KY_END | KY_RESET);
    r->class_ = (uint16_t)class_;
    r->seq = s->seq;
    r->steps = (uint32_t)s->steps;
    r->features = (uint32_t)s->features;
    if (s->steps > 0)
        stamp(r, m, s);
    else
        r->ts_us = s->ts_us;
    memcpy(names_of(r), s->stream, s->stream_len);
    if (r->text_len > 0)
        memcpy(names_of(r) + s->stream_len, s->label, r->text_len);
    if (body > 0)
        memcpy((char *)(uintptr_t)ky_record_body(r), s->x, body);
    ((ky_arrival *)r - 1)->holes = (uint32_t)s->holes;
    end(i, r);
}

/* A unit holds whole records: where it is handed over, the lane brings those that are begun to
 * their end first, and its other streams wait. So many steps of one stream are a fraction of a
 * second; held ones (`max_hold`) may come on top. */
enum { MOST_STEPS = 4096 };

/* Everything about a decoded sample that does not need the stream's past. */
static int check(ky_intake *i, const ky_message *m, ky_sample *s, int *ret_class, ky_err *err)
{
    const ky_config *cfg = i->p->cfg;

    if (s->stream == NULL) {
        if (m->key_len == 0)
            return ky_fail(err, KY_EREJECT, "no stream: the message names none");
        s->stream = m->key;
        s->stream_len = m->key_len;
        if (ky_codec_check_name("stream id", m->key, m->key_len, KY_STREAM_MAX, err) < 0)
            return KY_EREJECT;
    }
    *ret_class = ky_intake_class(cfg, i->number, s->stream, s->stream_len);
    if (*ret_class < 0)
        return ky_fail(err, KY_EREJECT, "no class: no [stream:...] matches");
    if (s->flags & KY_FORGET) {
        if (s->steps > 0 || s->label != NULL || s->flags != KY_FORGET)
            return ky_fail(err, KY_EREJECT, "'forget' stands alone: here is more");
        return KY_OK;
    }
    if (s->steps == 0) {
        if (s->label == NULL)
            return ky_fail(err, KY_EREJECT, "no values and no label");
        if (s->seq == KY_NONE && s->ts_us == KY_NONE)
            return ky_fail(err, KY_EREJECT, "a label without values needs a seq or a ts");
        return KY_OK;
    }
    int want = ky_core_features(i->p, *ret_class);

    if (s->flat && s->features % want == 0) {
        s->steps = s->features / want;
        s->features = want;
    }
    if (s->features != want)
        return ky_fail(err, KY_EREJECT, "wrong number of values: class '%s' takes %d, here are %d",
                       cfg->classes[*ret_class].name, want, s->features);
    if (s->steps > MOST_STEPS)
        return ky_fail(err, KY_EREJECT, "too many steps: a message may have %d, here are %d",
                       MOST_STEPS, s->steps);
    return KY_OK;
}

static void take(ky_intake *i, const ky_message *m)
{
    ky_sample s = { .seq = KY_NONE, .ts_us = KY_NONE };
    int class_ = -1;
    ky_err err;
    int rc = KY_OK;

    if (m->tombstone) /* Kafka: a key without a value */
        s.flags = KY_FORGET;
    else
        rc = ky_codec_decode(i->codec, m->data, m->len, &s, &err);

    if (rc == KY_OK)
        rc = check(i, m, &s, &class_, &err);
    if (rc == KY_OK)
        put_sample(i, m, &s, class_);
    else if (s.stream != NULL)
        put_reject(i, m, s.stream, s.stream_len, err.text);
    else
        put_reject(i, m, m->key, m->key_len, err.text);
}

/* -- the thread -- */

static int64_t resume(const char *key, void *arg)
{
    ky_intake *i = arg;

    return ky_accept_offset(i->p->accept, i->number, key);
}

/* What a message can hold, and no more than half of queue_size. */
static int most_values(const ky_intake *i)
{
    enum { ENVELOPE = 4096 }; /* a record's fields and names */
    size_t by_message = (size_t)i->cfg->max_message / 2;
    size_t by_queue = ((size_t)i->cfg->queue_bytes / 2 - ENVELOPE) / sizeof(float);

    return (int)(by_message < by_queue ? by_message : by_queue);
}

static int open_source(ky_intake *i)
{
    const ky_source_cfg *c = i->cfg;
    ky_codec_opts codec = { .format = c->format,
                            .stream_field = c->stream_field,
                            .time_field = c->time_field,
                            .label_field = c->label_field,
                            .values = c->values.n > 0 ? (const char *const *)c->values.item : NULL,
                            .n_values = c->values.n,
                            .time_unit_ns = c->time_unit_ns,
                            .missing = c->missing,
                            .max_values = most_values(i) };
    ky_source_opts o = { .name = c->name,
                         .type = c->type,
                         .endpoint = c->endpoint,
                         .socket = c->socket,
                         .bind = c->bind,
                         .subscribe = c->subscribe,
                         .hwm = (int)c->hwm,
                         .max_message = c->max_message,
                         .brokers = c->brokers,
                         .topic = c->topic,
                         .partitions = c->partitions,
                         .group = c->group,
                         .uuid = i->p->uuid,
                         .rdkafka = c->rdkafka,
                         .n_rdkafka = c->n_rdkafka,
                         .resume = resume,
                         .resume_arg = i };
    int rc = ky_codec_new(&codec, &i->codec, &i->err);

    if (rc == KY_OK)
        rc = ky_source_open(&o, &i->source, &i->err);
    if (rc < 0)
        return ky_context(&i->err, rc, "[source:%s]", c->name);
    i->address = strdup(ky_source_address(i->source));
    return KY_OK;
}

static void say_trouble(ky_intake *i)
{
    const char *trouble = ky_source_trouble(i->source);
    ky_object object = KY_OBJECT("source", i->cfg->name);

    if (trouble != NULL)
        ky_complain(&i->trouble, KY_WARN, "intake", object, "%s", trouble);
    else
        ky_complaint_over(&i->trouble, "intake", object, "works again");
}

static void receive(ky_intake *i)
{
    enum { AT_ONCE = 64 };
    ky_message m;
    ky_err err;

    /* Only the first may wait; the accept stage hears of all of them at once. */
    for (int n = 0; n < AT_ONCE; n++) {
        memset(&m, 0, sizeof(m));
        int rc = ky_source_recv(i->source, &m, n == 0 ? 500 : 0, &err);

        if (rc == KY_OK)
            take(i, &m);
        else if (rc == KY_EREJECT)
            put_reject(i, &m, m.key, m.key_len, err.text);
        else if (rc == KY_EAGAIN)
            break;
        else
            ky_core_die(EX_UNAVAILABLE, "intake", "source %s: %s", i->cfg->name, err.text);
    }
    bool all_on = unshelve(i);

    if (i->unrung)
        ky_queue_ring(&i->records);
    i->unrung = false;
    say_trouble(i);
    say_loss(i, all_on);
}

/* All of it goes on. */
static void empty_shelf(ky_intake *i)
{
    for (;;) {
        uint32_t heard = ky_bell_listen(&i->bell);

        if (unshelve(i))
            break;
        wait_for_room(i, heard);
    }
    say_loss(i, true);
    end_loss(i);
}

static void *run(void *arg)
{
    ky_intake *i = arg;

    i->rc = open_source(i);
    atomic_store(&i->open, i->rc == KY_OK ? i->source : NULL);
    atomic_store(&i->ready, true);
    ky_bell_ring(&i->begun);
    while (i->rc == KY_OK && !atomic_load(&i->closing)) {
        ky_heart_beat(&i->bell.heart);
        receive(i);
        send_answers(i);
    }
    empty_shelf(i);
    ky_queue_close(&i->records);
    while (i->rc == KY_OK) {
        uint32_t heard = ky_bell_listen(&i->bell);
        bool last = atomic_load(&i->finishing);

        send_answers(i);
        if (last)
            break;
        ky_bell_wait(&i->bell, heard, -1);
    }
    if (i->source != NULL)
        ky_source_close(i->source);
    ky_codec_free(i->codec);
    return NULL;
}

/* -- the pipeline -- */

static void wake_source(void *arg)
{
    ky_source *s = atomic_load(&((ky_intake *)arg)->open);

    if (s != NULL)
        ky_source_wake(s);
}

int ky_intake_new(ky_pipeline *p, int source, ky_intake **ret, ky_err *err)
{
    ky_intake *i = calloc(1, sizeof(*i));

    if (i == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    i->p = p;
    i->number = source;
    i->cfg = &p->cfg->sources[source];
    bool shelf = i->cfg->when_full != KY_FULL_BLOCK;
    size_t bytes = (size_t)i->cfg->queue_bytes / (shelf ? 2 : 1); /* for the queue, and the shelf */
    int rc = ky_queue_init(&i->records, bytes, ky_accept_bell(p->accept), &i->bell, err);

    if (rc == KY_OK)
        rc = ky_queue_init(&i->answers, 1 << 18, &i->bell, NULL, err);
    if (rc == KY_OK && shelf) { /* whoever makes room wakes it from waiting for messages */
        i->bell.also = wake_source;
        i->bell.arg = i;
        rc = ky_shelf_init(&i->shelf, i->cfg->when_full == KY_FULL_LATEST, bytes, err);
    }
    if (rc == KY_OK)
        rc = ky_accept_connect(p->accept, source, &i->records, &i->answers, err);
    if (rc < 0) {
        ky_intake_free(i);
        return rc;
    }
    *ret = i;
    return KY_OK;
}

int ky_intake_start(ky_intake *i, ky_err *err)
{
    char name[16];

    snprintf(name, sizeof(name), "kymod-in-%d", i->number % 1000);
    int rc = ky_core_thread(&i->thread, name, run, i, err);

    if (rc < 0)
        return rc;
    i->started = true;
    for (;;) {
        uint32_t heard = ky_bell_listen(&i->begun);

        if (atomic_load(&i->ready))
            break;
        ky_bell_wait(&i->begun, heard, -1);
    }
    if (i->rc < 0 && err != NULL)
        *err = i->err;
    return i->rc;
}

void ky_intake_wake(ky_intake *i)
{
    ky_bell_ring(&i->bell);
    wake_source(i);
}

void ky_intake_close(ky_intake *i)
{
    atomic_store(&i->closing, true);
    ky_intake_wake(i);
    if (!i->started)
        ky_queue_close(&i->records);
}

void ky_intake_join(ky_intake *i)
{
    i->bell.also = NULL; /* the accept stage is gone, and soon the source */
    atomic_store(&i->finishing, true);
    ky_bell_ring(&i->bell);
    if (i->started)
        pthread_join(i->thread, NULL);
    i->started = false;
}

void ky_intake_free(ky_intake *i)
{
    if (i == NULL)
        return;
    ky_queue_done(&i->records);
    ky_queue_done(&i->answers);
    ky_shelf_done(&i->shelf);
    free(i->address);
    free(i);
}

const char *ky_intake_address(const ky_intake *i)
{
    return i->address != NULL ? i->address : "";
}

size_t ky_intake_fill(const ky_intake *i, size_t *ret_bytes)
{
    *ret_bytes = i->records.bytes + i->shelf.ring.bytes;
    return ky_queue_fill(&i->records) + ky_shelf_fill(&i->shelf);
}

uint64_t ky_intake_dropped(const ky_intake *i)
{
    return lost(i);
}

const ky_heart *ky_intake_heart(const ky_intake *i)
{
    return &i->bell.heart;
}
