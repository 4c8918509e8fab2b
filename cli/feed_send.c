/* Writers to kymod: PUSH, and the acknowledged protocol (DESIGN 4.1, PROTOCOL.md A1). */
#include "cli/feed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/cli.h"
#include "connectors/zmq.h"
#include "models/clock.h"

enum { SLICE_MS = 200 }; /* how long we wait before looking for an interrupt */

static int too_quiet(const ky_feed_opts *o, int64_t since_ns, const char *what, ky_err *err)
{
    if (o->timeout_us == 0 || ky_clock_mono_ns() - since_ns < o->timeout_us * 1000)
        return KY_OK;
    return ky_fail(err, KY_EIO, "%s: %s within %.1f s (--timeout)", o->to, what,
                   (double)o->timeout_us * 1e-6);
}

/* -- at most once ------------------------------------------------------------------- */

typedef struct sender {
    ky_writer writer;
    const ky_feed_opts *opts;
    const ky_feed_format *format;
    ky_zsock *sock;
    int features;
    char *buf;
    size_t cap;
} sender;

/* Opened with the first message: so many may wait as ky_zsock_drain can vouch for. */
static int open_push(sender *s, size_t len, ky_err *err)
{
    int hwm = len < KY_ZDRAIN / 4 ? (int)(KY_ZDRAIN / 2 / len) : 2;
    int rc = ky_zsock_open("push", s->opts->to, s->opts->bind, hwm, &s->sock, err);

    if (rc == KY_OK) /* what was taken from us is to reach the peer: closing waits for it */
        ky_zsock_linger(s->sock, s->opts->timeout_us > 0 ? (int)(s->opts->timeout_us / 1000) : -1);
    return rc;
}

static int sender_put(ky_writer *w, const ky_row *row, ky_err *err)
{
    sender *s = (sender *)w;
    int64_t since = ky_clock_mono_ns();
    int rc, n = ky_feed_encode(s->format, row, s->features, &s->buf, &s->cap, err);

    if (n < 0)
        return n;
    if (s->sock == NULL && (rc = open_push(s, (size_t)n, err)) != KY_OK)
        return rc;
    const ky_zframe frames[] = { { row->stream, strlen(row->stream) }, { s->buf, (size_t)n } };
    int first = s->format->fields;
    while ((rc = ky_zsock_send(s->sock, frames + first, 2 - first, SLICE_MS, err)) == KY_EAGAIN) {
        if (ky_cli_interrupted())
            return KY_EAGAIN;
        if ((rc = too_quiet(s->opts, since, "nobody takes samples", err)) != KY_OK)
            return rc;
    }
    return rc;
}

static int sender_finish(ky_writer *w, ky_err *err)
{
    sender *s = (sender *)w;
    int64_t since = ky_clock_mono_ns();
    int rc;

    while (s->sock != NULL && !ky_cli_interrupted() && ky_zsock_drain(s->sock, SLICE_MS) != KY_OK)
        if ((rc = too_quiet(s->opts, since, "what was sent is not read", err)) != KY_OK)
            return rc;
    if (!ky_cli_interrupted())
        return KY_OK;
    if (s->sock != NULL)
        ky_zsock_linger(s->sock, 1000);
    return KY_EAGAIN;
}

static void sender_free(ky_writer *w)
{
    sender *s = (sender *)w;

    ky_zsock_close(s->sock);
    free(s->buf);
    free(s);
}

int ky_feed_socket(const ky_feed_opts *o, const ky_reader *r, ky_writer **ret, ky_err *err)
{
    sender *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a sender");
    s->writer = (ky_writer){ .put = sender_put, .finish = sender_finish, .free = sender_free };
    s->opts = o;
    s->format = ky_feed_format_find(o->format);
    s->features = r->features;
    *ret = &s->writer;
    return KY_OK;
}

/* -- acknowledged ---------------------------------------------------------------------- */

enum {
    FLIGHT = 4096,        /* messages that may wait for their acknowledgement */
    AGAIN_MS = 500,       /* nothing acknowledged for so long: all are sent again ... */
    AGAIN_MOST_MS = 4000, /* ... and then after twice the time, up to this */
    REASONS_SHOWN = 5,
};

typedef struct message {
    char *at;
    size_t len, cap;
} message;

typedef struct acked {
    ky_writer writer;
    const ky_feed_opts *opts;
    const ky_feed_format *format;
    ky_zsock *sock;
    int features;
    char id[KY_STREAM_MAX + 1];
    uint8_t session[16];
    uint64_t done, next, last; /* numbers: acknowledged up to; to send; of the newest message */
    uint64_t highest;          /* sent so far in this session */
    int64_t moved_ns;          /* when something was last acknowledged, or all sent again */
    int64_t alive_ns;          /* when something was last acknowledged */
    int patience_ms;
    message flight[FLIGHT]; /* message i is at i % FLIGHT */
} acked;

static int new_session(acked *a, ky_err *err)
{
    if (getrandom(a->session, sizeof(a->session), 0) != (ssize_t)sizeof(a->session))
        return ky_fail(err, KY_EIO, "no random bytes for a session");
    /* What waits moves down, so that numbers begin with 1 again. */
    uint64_t waiting = a->last - a->done, shift = a->done % FLIGHT;
    if (shift != 0) {
        message *moved = malloc(FLIGHT * sizeof(*moved));
        if (moved == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory for a new session");
        for (uint64_t i = 0; i < FLIGHT; i++)
            moved[i] = a->flight[(i + shift) % FLIGHT];
        memcpy(a->flight, moved, sizeof(a->flight));
        free(moved);
    }
    a->done = 0;
    a->next = 1;
    a->last = waiting;
    a->highest = 0;
    a->writer.counts.sessions++;
    return KY_OK;
}

static void send_again(acked *a)
{
    a->next = a->done + 1;
    a->moved_ns = ky_clock_mono_ns();
}

static uint64_t read_le64(const void *p)
{
    const uint8_t *b = p;
    uint64_t v = 0;

    for (int i = 8; i-- > 0;)
        v = v << 8 | b[i];
    return v;
}

static void complain(const acked *a, uint64_t number, const ky_zframe *reason)
{
    if (a->writer.counts.refused > REASONS_SHOWN || a->opts->quiet)
        return;
    fprintf(stderr, "kymo: message %" PRIu64 " was refused: ", number);
    ky_cli_print_safe(stderr, reason->data, reason->len < 300 ? reason->len : 300);
    fprintf(stderr,
            a->writer.counts.refused == REASONS_SHOWN ? " (no more of these is shown)\n" : "\n");
}

/* One answer of kymod's; what is not for this session is an echo of the one before. */
static int take_answer(acked *a, const ky_zframe *f, int n, ky_err *err)
{
    if (n < 2 || n > 3 || f[0].len != sizeof(a->session) || f[1].len != 8)
        return ky_fail(err, KY_EFORMAT, "%s: an answer that kymod does not give", a->opts->to);
    if (memcmp(f[0].data, a->session, sizeof(a->session)) != 0)
        return KY_OK;
    uint64_t number = read_le64(f[1].data);
    if (number == 0)
        return new_session(a, err);
    if (number > a->highest)
        return ky_fail(err, KY_EFORMAT, "%s acknowledges message %" PRIu64 ", sent were %" PRIu64,
                       a->opts->to, number, a->highest);
    if (number <= a->done)
        return KY_OK;
    if (n == 3) {
        a->writer.counts.refused++;
        complain(a, number, &f[2]);
    }
    a->writer.counts.acknowledged += (int64_t)(number - a->done);
    a->done = number;
    if (a->next <= number)
        a->next = number + 1;
    a->alive_ns = a->moved_ns = ky_clock_mono_ns();
    a->patience_ms = AGAIN_MS;
    return KY_OK;
}

static int send_number(acked *a, uint64_t number, ky_err *err)
{
    const message *m = &a->flight[number % FLIGHT];
    uint8_t le[8];

    for (int i = 0; i < 8; i++)
        le[i] = (uint8_t)(number >> (8 * i));
    const ky_zframe frames[] = { { a->id, strlen(a->id) },
                                 { a->session, sizeof(a->session) },
                                 { le, sizeof(le) },
                                 { m->at, m->len } };
    return ky_zsock_send(a->sock, frames, 4, 0, err);
}

/* Sends what can be sent and reads what has come, waiting at most wait_ms for the latter. */
static int turn(acked *a, int wait_ms, ky_err *err)
{
    ky_zframe f[KY_ZFRAMES];
    int rc;

    while (a->next <= a->last && (rc = send_number(a, a->next, err)) != KY_EAGAIN) {
        if (rc != KY_OK)
            return rc;
        if (a->next <= a->highest)
            a->writer.counts.resent++;
        else
            a->highest = a->next;
        a->next++;
    }
    while ((rc = ky_zsock_recv(a->sock, f, KY_ZFRAMES, wait_ms, err)) >= 0) {
        wait_ms = 0;
        if ((rc = take_answer(a, f, rc, err)) != KY_OK)
            return rc;
    }
    if (rc != KY_EAGAIN)
        return rc;
    if (a->done < a->last && ky_clock_mono_ns() - a->moved_ns > (int64_t)a->patience_ms * 1000000) {
        send_again(a);
        a->patience_ms = 2 * a->patience_ms < AGAIN_MOST_MS ? 2 * a->patience_ms : AGAIN_MOST_MS;
    }
    return a->done < a->last ? too_quiet(a->opts, a->alive_ns, "nothing was acknowledged", err)
                             : KY_OK;
}

static int acked_put(ky_writer *w, const ky_row *row, ky_err *err)
{
    acked *a = (acked *)w;
    int n, rc;

    while (a->last - a->done >= FLIGHT) {
        if (ky_cli_interrupted())
            return KY_EAGAIN;
        if ((rc = turn(a, 20, err)) != KY_OK)
            return rc;
    }
    if (a->last == a->done) /* nothing was waiting: silence so far means nothing */
        a->moved_ns = a->alive_ns = ky_clock_mono_ns();
    message *m = &a->flight[(a->last + 1) % FLIGHT];
    if ((n = ky_feed_encode(a->format, row, a->features, &m->at, &m->cap, err)) < 0)
        return n;
    m->len = (size_t)n;
    a->last++;
    return turn(a, 0, err);
}

static int acked_finish(ky_writer *w, ky_err *err)
{
    acked *a = (acked *)w;
    int rc;

    while (a->done < a->last) {
        if (ky_cli_interrupted())
            return KY_EAGAIN;
        if ((rc = turn(a, 20, err)) != KY_OK)
            return rc;
    }
    return KY_OK;
}

static void acked_free(ky_writer *w)
{
    acked *a = (acked *)w;

    for (int i = 0; i < FLIGHT; i++)
        free(a->flight[i].at);
    if (a->sock != NULL)
        ky_zsock_linger(a->sock, 0);
    ky_zsock_close(a->sock);
    free(a);
}

static void name_sender(acked *a)
{
    char host[64] = "";

    if (a->opts->sender != NULL) {
        snprintf(a->id, sizeof(a->id), "%s", a->opts->sender);
        return;
    }
    if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0')
        snprintf(host, sizeof(host), "kymo-feed");
    snprintf(a->id, sizeof(a->id), "%s:%ld", host, (long)getpid());
}

int ky_feed_acknowledged(const ky_feed_opts *o, const ky_reader *r, ky_writer **ret, ky_err *err)
{
    acked *a = calloc(1, sizeof(*a));
    int rc;

    if (a == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a sender");
    a->writer = (ky_writer){ .put = acked_put, .finish = acked_finish, .free = acked_free };
    a->opts = o;
    a->format = ky_feed_format_find(o->format);
    a->features = r->features;
    a->patience_ms = AGAIN_MS;
    a->moved_ns = a->alive_ns = ky_clock_mono_ns();
    name_sender(a);
    if ((rc = new_session(a, err)) == KY_OK)
        rc = ky_zsock_open("dealer", o->to, o->bind, FLIGHT, &a->sock, err);
    if (rc != KY_OK) {
        acked_free(&a->writer);
        return rc;
    }
    *ret = &a->writer;
    return KY_OK;
}
