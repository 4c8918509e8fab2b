#include "connectors/source.h"

#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "models/clock.h"
#include "models/sample.h"

/*
 * Partitions are assigned here, by the configuration, never by a group's rebalance, and
 * read from behind what the journal has (PROTOCOL.md B). The group's offsets are only
 * reported, for those who watch lag; with them goes the id of our database, so that two
 * databases under one group are noticed.
 */

enum {
    PARTITIONS_MAX = 4096,
    METADATA_MS = 5000,
    REPORT_MS = 1000,
    KEY_MAX = 300,
};

typedef struct partition {
    int32_t id;
    int64_t taken; /* to report: the last offset that is on disk; -1: none */
    int64_t reported;
    char key[KEY_MAX]; /* "topic/partition" */
} partition;

typedef struct kafka {
    ky_source source;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    rd_kafka_message_t *held; /* the message that was given out */
    int event;                /* eventfd: something came, or a wake */
    atomic_bool woken;        /* by any thread */
    char *topic, *uuid, *address;
    bool report;
    int64_t max_message, reported_ns;
    partition *part;
    int n_parts;
    char trouble[256]; /* since the last message; "": none */
} kafka;

/* -- properties ------------------------------------------------------------------ */

/* What kymo's promises rest on; the rest is the operator's. */
static const ky_kv ours[] = {
    { "bootstrap.servers", "it is `brokers`" },
    { "metadata.broker.list", "it is `brokers`" },
    { "group.id", "it is `group`" },
    { "enable.auto.commit", "kymo keeps the positions" },
    { "enable.auto.offset.store", "kymo keeps the positions" },
    { "auto.offset.reset", "a position that is gone must be an error" },
    { "enable.partition.eof", "nobody asks for it" },
};

static int set_property(rd_kafka_conf_t *conf, const char *key, const char *value, ky_err *err)
{
    char text[300];

    if (rd_kafka_conf_set(conf, key, value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
        return ky_fail(err, KY_EINVAL, "rdkafka.%s: %s", key, text);
    return KY_OK;
}

static int set_properties(rd_kafka_conf_t *conf, const ky_kv *kv, int n, ky_err *err)
{
    int rc;

    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof(ours) / sizeof(*ours); k++)
            if (strcmp(ours[k].key, kv[i].key) == 0)
                return ky_fail(err, KY_EINVAL, "rdkafka.%s cannot be set: %s", kv[i].key,
                               ours[k].value);
        if ((rc = set_property(conf, kv[i].key, kv[i].value, err)) != KY_OK)
            return rc;
    }
    return KY_OK;
}

int ky_kafka_check(const ky_kv *kv, int n, ky_err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int rc = set_properties(conf, kv, n, err);

    rd_kafka_conf_destroy(conf);
    return rc;
}

/* -- what librdkafka says ------------------------------------------------- */

/* Called from within our own polling. */
static void on_error(rd_kafka_t *rk, int code, const char *reason, void *arg)
{
    kafka *k = arg;

    (void)rk;
    snprintf(k->trouble, sizeof(k->trouble), "%s (%s)", reason, rd_kafka_err2name(code));
}

/* Its log would go to stderr; what it says is repeated by on_error where it matters. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    (void)level;
    (void)facility;
    (void)text;
}

/* -- opening -------------------------------------------------------------------------- */

static int make_conf(kafka *k, const ky_source_opts *o, rd_kafka_conf_t *conf, ky_err *err)
{
    char bytes[32];
    const ky_kv first[] = {
        { "bootstrap.servers", o->brokers },
        { "group.id", o->group != NULL && *o->group != '\0' ? o->group : "kymo" },
        { "client.id", "kymo" },
        { "enable.auto.commit", "false" },
        { "enable.auto.offset.store", "false" },
        { "auto.offset.reset", "error" },
        { "check.crcs", "true" },
        { "queued.max.messages.kbytes", "16384" },
        { "queued.min.messages", "10000" },
        { "fetch.error.backoff.ms", "100" },
        { "reconnect.backoff.max.ms", "2000" },
        { "receive.message.max.bytes", bytes },
    };
    int rc;

    snprintf(bytes, sizeof(bytes), "%lld", (long long)k->max_message + (64 << 20));
    for (size_t i = 0; i < sizeof(first) / sizeof(*first); i++)
        if ((rc = set_property(conf, first[i].key, first[i].value, err)) != KY_OK)
            return rc;
    rd_kafka_conf_set_opaque(conf, k);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, on_log);
    return set_properties(conf, o->rdkafka, o->n_rdkafka, err);
}

static int make_client(kafka *k, const ky_source_opts *o, ky_err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[256];
    sigset_t all, old;
    int rc = make_conf(k, o, conf, err);

    if (rc != KY_OK) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    sigfillset(&all); /* its threads are to leave our signals alone */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    k->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (k->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return ky_fail(err, KY_EINVAL, "kafka: %s", text);
    }
    rd_kafka_poll_set_consumer(k->rk);
    k->queue = rd_kafka_queue_get_consumer(k->rk);
    rd_kafka_queue_io_event_enable(k->queue, k->event, &(uint64_t){ 1 }, sizeof(uint64_t));
    return KY_OK;
}

/* "0-3,5" names partition id; "all" every one. KY_EINVAL if it is neither. */
static int names_partition(const char *list, int32_t id, bool *ret, ky_err *err)
{
    const char *p = list;

    *ret = list == NULL || *list == '\0' || strcmp(list, "all") == 0;
    while (!*ret) {
        long from, to;
        char *end;
        p += strspn(p, " ");
        from = to = strtol(p, &end, 10);
        bool ok = end != p && from >= 0;
        if (ok && *end == '-') {
            p = end + 1;
            to = strtol(p, &end, 10);
            ok = end != p && to >= from;
        }
        end += strspn(end, " ");
        if (!ok || to >= PARTITIONS_MAX || (*end != ',' && *end != '\0'))
            return ky_fail(err, KY_EINVAL, "partitions '%s': must be `all` or like 0-3,5", list);
        *ret = id >= from && id <= to;
        if (*end == '\0')
            break;
        p = end + 1;
    }
    return KY_OK;
}

static int add_partition(kafka *k, int32_t id, const ky_source_opts *o, ky_err *err)
{
    bool named;
    int rc = names_partition(o->partitions, id, &named, err);

    if (rc != KY_OK || !named)
        return rc;
    partition *p = &k->part[k->n_parts++];
    *p = (partition){ .id = id, .taken = -1, .reported = -1 };
    snprintf(p->key, sizeof(p->key), "%s/%d", o->topic, id);
    return KY_OK;
}

/* Asks the cluster which partitions there are; fills k->part. */
static int find_partitions(kafka *k, const ky_source_opts *o, ky_err *err)
{
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(k->rk, o->topic, NULL);
    rd_kafka_resp_err_t e = topic == NULL ? rd_kafka_last_error()
                                          : rd_kafka_metadata(k->rk, 0, topic, &md, METADATA_MS);
    int rc = KY_OK;

    if (e != RD_KAFKA_RESP_ERR_NO_ERROR)
        rc =
            ky_fail(err, KY_EIO, "brokers '%s' do not answer: %s", o->brokers, rd_kafka_err2str(e));
    else if (md->topic_cnt != 1 || md->topics[0].err != 0 || md->topics[0].partition_cnt == 0)
        rc = ky_fail(err, KY_ENOENT, "topic '%s': %s", o->topic,
                     md->topic_cnt == 1 ? rd_kafka_err2str(md->topics[0].err) : "not known");
    else if (md->topics[0].partition_cnt > PARTITIONS_MAX)
        rc = ky_fail(err, KY_EFULL, "topic '%s' has %d partitions, at most %d are supported",
                     o->topic, md->topics[0].partition_cnt, PARTITIONS_MAX);
    int n = rc == KY_OK ? md->topics[0].partition_cnt : 0;
    if (n > 0 && (k->part = calloc((size_t)n, sizeof(*k->part))) == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory for %d partitions", n);
    for (int i = 0; i < n && rc == KY_OK; i++)
        rc = add_partition(k, md->topics[0].partitions[i].id, o, err);
    if (rc == KY_OK && k->n_parts == 0)
        rc = ky_fail(err, KY_EINVAL, "topic '%s' has %d partitions, none of them is in '%s'",
                     o->topic, n, o->partitions);
    if (md != NULL)
        rd_kafka_metadata_destroy(md);
    if (topic != NULL)
        rd_kafka_topic_destroy(topic);
    return rc;
}

static rd_kafka_topic_partition_list_t *list_partitions(const kafka *k)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(k->n_parts);

    for (int i = 0; i < k->n_parts; i++)
        rd_kafka_topic_partition_list_add(list, k->topic, k->part[i].id);
    return list;
}

/* Whether the group's offsets were reported by another database than ours. */
static int check_owner(const kafka *k, const ky_source_opts *o, ky_err *err)
{
    rd_kafka_topic_partition_list_t *list = list_partitions(k);
    rd_kafka_resp_err_t e = rd_kafka_committed(k->rk, list, METADATA_MS);
    int rc = KY_OK;

    if (e != RD_KAFKA_RESP_ERR_NO_ERROR)
        rc = ky_fail(err, KY_EIO, "the offsets of group '%s' cannot be read: %s", o->group,
                     rd_kafka_err2str(e));
    for (int i = 0; i < list->cnt && rc == KY_OK; i++) {
        const rd_kafka_topic_partition_t *p = &list->elems[i];
        if (p->offset >= 0 && p->metadata_size > 0 &&
            (p->metadata_size != strlen(o->uuid) ||
             memcmp(p->metadata, o->uuid, p->metadata_size) != 0))
            rc = ky_fail(err, KY_EBUSY,
                         "group '%s' belongs to another database: partition %d was reported by "
                         "'%.*s', this state directory is '%s'; give each its own group",
                         o->group, p->partition, (int)p->metadata_size, (const char *)p->metadata,
                         o->uuid);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return rc;
}

static int assign(kafka *k, const ky_source_opts *o, ky_err *err)
{
    rd_kafka_topic_partition_list_t *list = list_partitions(k);

    for (int i = 0; i < k->n_parts; i++) {
        int64_t last = o->resume != NULL ? o->resume(k->part[i].key, o->resume_arg) : -1;
        list->elems[i].offset = last >= 0 ? last + 1 : RD_KAFKA_OFFSET_BEGINNING;
    }
    rd_kafka_resp_err_t e = rd_kafka_assign(k->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return e == RD_KAFKA_RESP_ERR_NO_ERROR
               ? KY_OK
               : ky_fail(err, KY_EIO, "cannot take the partitions: %s", rd_kafka_err2str(e));
}

static void kafka_close(ky_source *source);

static int kafka_open(const ky_source_opts *o, ky_source **ret, ky_err *err)
{
    kafka *k;
    int rc = KY_OK;

    if (o->brokers == NULL || *o->brokers == '\0' || o->topic == NULL || *o->topic == '\0' ||
        strlen(o->topic) > 249)
        return ky_fail(err, KY_EINVAL, "kafka needs brokers and a topic of at most 249 bytes");
    if ((k = calloc(1, sizeof(*k))) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a source");
    k->source.ops = &ky_source_kafka;
    k->max_message = o->max_message > 0 ? o->max_message : 16 << 20;
    k->report = o->group != NULL && *o->group != '\0' && o->uuid != NULL;
    k->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    k->topic = strdup(o->topic);
    k->uuid = strdup(o->uuid != NULL ? o->uuid : "");
    if (k->event < 0 || k->topic == NULL || k->uuid == NULL ||
        asprintf(&k->address, "kafka://%s/%s", o->brokers, o->topic) < 0)
        rc = ky_fail(err, KY_ENOMEM, "no memory for a source");
    if (rc == KY_OK)
        rc = make_client(k, o, err);
    if (rc == KY_OK)
        rc = find_partitions(k, o, err);
    if (rc == KY_OK && k->report)
        rc = check_owner(k, o, err);
    if (rc == KY_OK)
        rc = assign(k, o, err);
    if (rc != KY_OK) {
        kafka_close(&k->source);
        return rc;
    }
    *ret = &k->source;
    return KY_OK;
}

/* -- receiving ------------------------------------------------------------------------ */

static partition *find_partition(kafka *k, int32_t id)
{
    for (int i = 0; i < k->n_parts; i++)
        if (k->part[i].id == id)
            return &k->part[i];
    return NULL;
}

/* Errors arrive as messages: those that pass by themselves are trouble, the others the end. */
static int take_error(kafka *k, const rd_kafka_message_t *m, ky_err *err)
{
    const char *text = rd_kafka_message_errstr(m);
    char fatal[200];

    switch (m->err) {
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        return ky_fail(err, KY_ECORRUPT,
                       "kafka: %s/%d does not have offset %lld any more (or not yet): retention "
                       "has removed it, or the topic was made anew: %s",
                       k->topic, m->partition, (long long)m->offset, text);
    case RD_KAFKA_RESP_ERR__FATAL:
        rd_kafka_fatal_error(k->rk, fatal, sizeof(fatal));
        return ky_fail(err, KY_EIO, "kafka: %s", fatal);
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return ky_fail(err, KY_EIO, "kafka: %s: %s", k->topic, text);
    default:
        snprintf(k->trouble, sizeof(k->trouble), "%s", text);
        return KY_EAGAIN;
    }
}

static int take_message(kafka *k, ky_message *ret, ky_err *err)
{
    const rd_kafka_message_t *m = k->held;
    const partition *p = find_partition(k, m->partition);
    rd_kafka_timestamp_type_t kind;
    int64_t ts_ms = rd_kafka_message_timestamp(m, &kind);

    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return take_error(k, m, err);
    k->trouble[0] = '\0';
    if (p == NULL)
        return KY_EAGAIN;
    *ret = (ky_message){
        .key = m->key_len > 0 ? m->key : NULL,
        .key_len = m->key_len,
        .data = m->payload,
        .len = m->len,
        .tombstone = m->payload == NULL,
        .arrived_us = ky_clock_wall_us(),
        .ts_us = kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || ts_ms < 0 || ts_ms > INT64_MAX / 1000
                     ? KY_NONE
                     : ts_ms * 1000,
        .sender = p->key,
        .sender_len = strlen(p->key),
        .number = (uint64_t)m->offset,
        .partition = m->partition,
        .cookie = (uint64_t)m->partition,
    };
    if (ret->len > (size_t)k->max_message)
        return ky_fail(err, KY_EREJECT, "%zu bytes, at most %lld are allowed (max_message)",
                       ret->len, (long long)k->max_message);
    return KY_OK;
}

static int wait_event(kafka *k, int timeout_ms)
{
    struct pollfd p = { .fd = k->event, .events = POLLIN };

    return poll(&p, 1, timeout_ms) > 0 ? KY_OK : KY_EAGAIN;
}

static void clear_event(kafka *k)
{
    uint64_t n;

    if (read(k->event, &n, sizeof(n)) < 0)
        return; /* nothing was there to clear */
}

static void report_offsets(kafka *k, bool wait);

static int kafka_recv(ky_source *source, ky_message *ret, int timeout_ms, ky_err *err)
{
    kafka *k = (kafka *)source;

    if (k->held != NULL)
        rd_kafka_message_destroy(k->held);
    k->held = rd_kafka_consumer_poll(k->rk, 0);
    if (k->held == NULL) {
        /* Cleared first: whatever comes after this look sets it again. */
        clear_event(k);
        report_offsets(k, false);
        k->held = rd_kafka_consumer_poll(k->rk, 0);
        if (k->held == NULL && !atomic_exchange(&k->woken, false) &&
            wait_event(k, timeout_ms) == KY_OK)
            k->held = rd_kafka_consumer_poll(k->rk, 0);
        atomic_store(&k->woken, false);
    }
    return k->held != NULL ? take_message(k, ret, err) : KY_EAGAIN;
}

static void kafka_wake(ky_source *source)
{
    kafka *k = (kafka *)source;
    uint64_t one = 1;

    atomic_store(&k->woken, true);
    if (write(k->event, &one, sizeof(one)) < 0)
        return; /* full of wakes already */
}

/* -- what is on disk, for those who watch lag ---------------------------------------------- */

static void kafka_ack(ky_source *source, const ky_ack *a)
{
    kafka *k = (kafka *)source;
    partition *p = find_partition(k, (int32_t)a->cookie);

    if (p != NULL && (int64_t)a->number > p->taken)
        p->taken = (int64_t)a->number;
    report_offsets(k, false);
}

static void add_offset(kafka *k, rd_kafka_topic_partition_list_t *list, partition *p)
{
    rd_kafka_topic_partition_t *row = rd_kafka_topic_partition_list_add(list, k->topic, p->id);

    row->offset = p->taken + 1;
    row->metadata = strdup(k->uuid); /* the list frees it */
    row->metadata_size = row->metadata != NULL ? strlen(k->uuid) : 0;
    p->reported = p->taken;
}

/* At most once a second; with `wait`, now and to the end. Failures are of no consequence. */
static void report_offsets(kafka *k, bool wait)
{
    int64_t now = ky_clock_mono_ns();

    if (!k->report || (!wait && now - k->reported_ns < (int64_t)REPORT_MS * 1000000))
        return;
    k->reported_ns = now;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(k->n_parts);
    for (int i = 0; i < k->n_parts; i++)
        if (k->part[i].taken > k->part[i].reported)
            add_offset(k, list, &k->part[i]);
    if (list->cnt > 0)
        rd_kafka_commit(k->rk, list, !wait);
    rd_kafka_topic_partition_list_destroy(list);
}

/* -- the rest -------------------------------------------------------------------------------- */

static const char *kafka_trouble(const ky_source *source)
{
    const kafka *k = (const kafka *)source;

    return k->trouble[0] != '\0' ? k->trouble : NULL;
}

static enum ky_delivery kafka_delivery(const ky_source *source)
{
    (void)source;
    return KY_OFFSETS;
}

static const char *kafka_address(const ky_source *source)
{
    return ((const kafka *)source)->address;
}

static void kafka_close(ky_source *source)
{
    kafka *k = (kafka *)source;

    if (k->held != NULL)
        rd_kafka_message_destroy(k->held);
    if (k->rk != NULL) {
        /* A broker that is away must not hold us up. */
        if (kafka_trouble(source) == NULL)
            report_offsets(k, true);
        rd_kafka_assign(k->rk, NULL);
        if (k->queue != NULL)
            rd_kafka_queue_destroy(k->queue);
        rd_kafka_destroy_flags(k->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    if (k->event >= 0)
        close(k->event);
    free(k->part);
    free(k->topic);
    free(k->uuid);
    free(k->address);
    free(k);
}

const ky_source_ops ky_source_kafka = {
    "kafka",       kafka_open,     kafka_recv,    kafka_ack,   kafka_wake,
    kafka_trouble, kafka_delivery, kafka_address, kafka_close,
};
