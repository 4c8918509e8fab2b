/* kymo tail: the live answers, a line each. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "connectors/zmq.h"
#include "models/clock.h"
#include "models/json.h"
#include "models/sample.h"

enum { SLICE_MS = 200, BAR = 20, FRAMES = 3, HWM = 100000 };

/* The last `pub` of each topic, by open addressing; grows at half. */
typedef struct topics {
    struct topic {
        char *name;
        size_t len;
        int64_t pub;
    } * slot;
    size_t n, cap;
} topics;

typedef struct tail_opts {
    const char *endpoint, *class_name, *stream;
    int64_t count, every_us, timeout_us;
    bool json;
} tail_opts;

typedef struct tally {
    int64_t shown, lost, lost_said;
    int64_t shown_ns, said_ns;
    size_t stream_width, label_width;
} tally;

static struct topic *slot_of(struct topic *slot, size_t cap, const char *name, size_t len)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)name[i]) * UINT64_C(0x100000001b3);
    for (size_t i = h % cap;; i = (i + 1) % cap)
        if (slot[i].name == NULL || (slot[i].len == len && memcmp(slot[i].name, name, len) == 0))
            return &slot[i];
}

static bool grow_topics(topics *t)
{
    size_t cap = t->cap > 0 ? 2 * t->cap : 64;
    struct topic *slot = calloc(cap, sizeof(*slot));

    if (slot == NULL)
        return false;
    for (size_t i = 0; i < t->cap; i++)
        if (t->slot[i].name != NULL)
            *slot_of(slot, cap, t->slot[i].name, t->slot[i].len) = t->slot[i];
    free(t->slot);
    t->slot = slot;
    t->cap = cap;
    return true;
}

/* How many answers of a topic were missed before this one. */
static int64_t missed(topics *t, const ky_zframe *topic, int64_t pub)
{
    if (2 * t->n >= t->cap && !grow_topics(t))
        return 0;
    struct topic *s = slot_of(t->slot, t->cap, topic->data, topic->len);
    if (s->name == NULL) {
        if ((s->name = malloc(topic->len + 1)) == NULL)
            return 0;
        memcpy(s->name, topic->data, topic->len);
        s->len = topic->len;
        t->n++;
        s->pub = pub;
        return 0;
    }
    /* A smaller number is a kymod that began anew. */
    int64_t lost = pub > s->pub + 1 ? pub - s->pub - 1 : 0;
    s->pub = pub;
    return lost;
}

static void topics_done(topics *t)
{
    for (size_t i = 0; i < t->cap; i++)
        free(t->slot[i].name);
    free(t->slot);
}

/* -- lines --------------------------------------------------------------------------- */

static void print_time(double ts)
{
    time_t seconds = (time_t)ts;
    struct tm tm;

    if (localtime_r(&seconds, &tm) == NULL)
        memset(&tm, 0, sizeof(tm));
    printf("%02d:%02d:%02d.%03d", tm.tm_hour, tm.tm_min, tm.tm_sec,
           (int)((ts - (double)seconds) * 1000) % 1000);
}

/* Columns keep the greatest width they have had. */
static void print_column(const char *s, size_t *width)
{
    size_t n = strlen(s);

    if (n > *width)
        *width = n < 40 ? n : 40;
    printf("  ");
    ky_cli_print_safe(stdout, s, n);
    for (; n < *width; n++)
        putchar(' ');
}

static void print_score(double score)
{
    int full = (int)(score * BAR + 0.5);

    printf("  %5.3f [", score);
    for (int i = 0; i < BAR; i++)
        putchar(i < full ? '=' : ' ');
    putchar(']');
}

static void print_answer(tally *t, const ky_json *answer)
{
    double score = ky_json_num(ky_json_get(answer, "score"), 0);
    const char *quality = ky_json_str(ky_json_get(answer, "quality"), "ok");

    print_time(ky_json_num(ky_json_get(answer, "ts"), (double)ky_clock_wall_us() * 1e-6));
    print_column(ky_json_str(ky_json_get(answer, "stream"), "?"), &t->stream_width);
    print_column(ky_json_str(ky_json_get(answer, "label"), "unknown"), &t->label_width);
    print_score(score >= 0 && score <= 1 ? score : 0);
    printf("  n %-6" PRId64 " ", ky_json_int(ky_json_get(answer, "n"), 0));
    ky_cli_print_safe(stdout, ky_json_str(ky_json_get(answer, "model"), "?"),
                      strlen(ky_json_str(ky_json_get(answer, "model"), "?")));
    if (strcmp(quality, "ok") != 0) {
        printf("  ");
        ky_cli_print_safe(stdout, quality, strlen(quality));
    }
    putchar('\n');
}

static void show(const tail_opts *o, tally *t, const ky_json *answer, const ky_zframe *payload)
{
    int64_t now = ky_clock_mono_ns();

    if (o->every_us > 0 && t->shown > 0 && now - t->shown_ns < o->every_us * 1000)
        return;
    t->shown_ns = now;
    t->shown++;
    if (o->json)
        printf("%.*s\n", (int)payload->len, (const char *)payload->data);
    else
        print_answer(t, answer);
    fflush(stdout);
}

/* At most once a second, and at the end. */
static void say_losses(tally *t, bool end)
{
    int64_t now = ky_clock_mono_ns();

    if (t->lost == t->lost_said || (!end && now - t->said_ns < INT64_C(1000000000)))
        return;
    fprintf(stderr, "kymo: %" PRId64 " answers were lost on the way\n", t->lost - t->lost_said);
    t->lost_said = t->lost;
    t->said_ns = now;
}

/* [topic][answer]; what is neither is not kymod's. */
static int take(const tail_opts *o, tally *t, topics *seen, const ky_zframe *f, int n, ky_err *err)
{
    ky_json *answer;
    int rc;

    if (n != 2)
        return ky_fail(err, KY_EFORMAT, "%s: a message of %d frames: not kymod's answers",
                       o->endpoint, n);
    if ((rc = ky_json_parse(f[1].data, f[1].len, false, &answer, err)) != KY_OK)
        return ky_context(err, rc, "%s: not kymod's answers", o->endpoint);
    const char *stream = ky_json_str(ky_json_get(answer, "stream"), "");
    if (o->stream == NULL || strcmp(stream, o->stream) == 0) {
        t->lost += missed(seen, &f[0], ky_json_int(ky_json_get(answer, "pub"), 0));
        say_losses(t, false);
        show(o, t, answer, &f[1]);
    }
    ky_json_free(answer);
    return KY_OK;
}

static int follow(const tail_opts *o, ky_zsock *sock, tally *t, topics *seen, ky_err *err)
{
    int64_t heard = ky_clock_mono_ns();
    ky_zframe f[FRAMES];

    while (!ky_cli_interrupted() && (o->count == 0 || t->shown < o->count)) {
        int rc = ky_zsock_recv(sock, f, FRAMES, SLICE_MS, err);
        if (rc == KY_EAGAIN) {
            if (o->timeout_us > 0 && ky_clock_mono_ns() - heard > o->timeout_us * 1000)
                return ky_fail(err, KY_EAGAIN, "%s: nothing for %.1f s", o->endpoint,
                               (double)o->timeout_us * 1e-6);
            continue;
        }
        if (rc < 0 || (rc = take(o, t, seen, f, rc, err)) != KY_OK)
            return rc;
        heard = ky_clock_mono_ns();
    }
    return KY_OK;
}

static int tail_answers(const tail_opts *o)
{
    char prefix[KY_NAME_MAX + KY_STREAM_MAX + 3] = "";
    tally t = { .stream_width = 8, .label_width = 8 };
    topics seen = { 0 };
    ky_zsock *sock = NULL;
    ky_err err = { 0 };

    /* The closing slash keeps pump-1 from matching pump-10. */
    if (o->class_name != NULL)
        snprintf(prefix, sizeof(prefix), "%s/%s%s", o->class_name,
                 o->stream != NULL ? o->stream : "", o->stream != NULL ? "/" : "");
    int rc = ky_zsock_open("sub", o->endpoint, false, HWM, &sock, &err);
    if (rc == KY_OK)
        rc = ky_zsock_subscribe(sock, prefix, &err);
    if (rc == KY_OK)
        rc = follow(o, sock, &t, &seen, &err);
    say_losses(&t, true);
    ky_zsock_close(sock);
    topics_done(&seen);
    if (rc != KY_OK)
        return ky_cli_fail(&err);
    return t.lost > 0 ? KY_EXIT_PARTLY : KY_EXIT_OK;
}

int ky_cmd_tail(int argc, char **argv)
{
    tail_opts o = { 0 };
    const ky_opt opts[] = {
        { "class", 0, KY_OPT_STR, &o.class_name, 0, 0, "NAME",
          "answers of this class of streams only" },
        { "stream", 0, KY_OPT_STR, &o.stream, 0, 0, "ID", "answers of this stream only" },
        { "count", 'n', KY_OPT_INT, &o.count, 0, 1e15, "N", "stop after N lines; 0: never" },
        { "every", 0, KY_OPT_TIME, &o.every_us, 0, 0, "T",
          "at most one line in this time; 0: all" },
        { "timeout", 0, KY_OPT_TIME, &o.timeout_us, 0, 0, "T",
          "fail when nothing comes for so long; 0: wait" },
        { "json", 'j', KY_OPT_FLAG, &o.json, 0, 0, NULL, "the answers as kymod published them" },
        { NULL, 0, KY_OPT_FLAG, NULL, 0, 0, NULL, NULL },
    };
    const ky_usage u = {
        "kymo tail ENDPOINT [options]",
        "Subscribes to the answers of a running kymod ([publish:...] endpoint) and prints them as "
        "they come: time, stream, label, score, step number, model. Says when answers were lost on "
        "the way (exit 3 then).",
        opts,
        1,
        1,
        "  kymo tail tcp://127.0.0.1:5556 --class vibration --every 500ms\n",
    };
    int n, code = ky_cli_parse(&u, argc, argv, &o.endpoint, &n);

    if (code >= 0)
        return code;
    if (o.class_name != NULL && strlen(o.class_name) > KY_NAME_MAX)
        return ky_cli_usage(&u, "tail: --class: more than %d bytes", KY_NAME_MAX);
    if (o.stream != NULL && strlen(o.stream) > KY_STREAM_MAX)
        return ky_cli_usage(&u, "tail: --stream: more than %d bytes", KY_STREAM_MAX);
    ky_cli_catch_interrupts();
    return tail_answers(&o);
}
