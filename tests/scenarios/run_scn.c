/*
 * Runs scripts, tests/scenarios/NAME.scn: what goes into a daemon, what time it is, and what is to
 * come of it. Each runs with 1, 2 and 4 lanes, and with `again` meaning nothing, a stop and a
 * start, or a kill and a start; answers, gaps, labels and states must be the same in all nine, bit
 * for bit.
 *
 *     model ARCH                 first of all: another model than the usual one
 *     config                     up to `end`: the settings; the state directory, the files of
 *                                [model:m] and [model:b] and the endpoint of [publish:out] are
 *                                given
 *     send SOURCE STREAM WORD..  a sample: x=I or x=I..J (values number I; so many steps), seq=,
 *                                ts=, label=, start, end, reset, forget
 *     on SOURCE STREAM WORD..    likewise; what comes next does not wait until it is answered
 *     many COUNT SOURCE STREAM WORD..    the same of streams STREAM0, STREAM1 ...
 *     flood COUNT SOURCE STREAM WORD..    likewise, again and again until `calm SOURCE`, and all
 *                                with the number of the source's last message
 *     raw SOURCE TEXT            a message as it stands
 *     null SOURCE KEY            a Kafka value of null
 *     pass TIME                  the clock goes on: 250ms, 3s, 5m, 2h
 *     tick TIME                  likewise, and nobody is waited for
 *     wall TIME                  somebody sets the host's time of day: 1h, -1h
 *     again                      stop or kill and start
 *     restart                    stop and start, always: with the settings of another `config`
 *     swap MODEL SEED [reset]    other weights take over, at each stream's next start or at once
 *     answer STREAM N [of MODEL] [seed SEED] = I J ..  [is QUALITY]
 *                                its answer N is that of these values one after the other from
 *                                zeros, of this quality; the model is m unless it is said, and its
 *                                weights those it began with
 *     none STREAM N [of MODEL]   there is no answer N
 *     told COUNT TEXT            so many of the messages published contain this
 *     is NUMBER SQL              what a query of one number gives
 *     counter NUMBER NAME        of the status: streams, counters.late
 *
 * Lines that begin with # say why.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/sample.h"
#include "tests/full.h"
#include "tests/scenarios/inside.h"

enum { SOURCES = 8, MODELS = 8, LINE = 1024, SEED_M = 11, SEED_B = 23 };

enum again { AGAIN_NOTHING, AGAIN_STOP, AGAIN_KILL };

static const char *const again_words[] = { "not at all", "after a stop", "after a kill" };

typedef struct run {
    ky_scene scene;
    const char *file;
    int line, lanes;
    enum again again;
    char ini[320], arch[200];
    bool running;
    struct {
        char name[KY_NAME_MAX + 1];
        uint64_t sent;
    } source[SOURCES];
    struct {
        uint64_t seed;
        ky_inside_model *m;
    } model[MODELS];
    bool fresh; /* results.db has all */
} run;

#define WANT(r, cond, fmt, ...)                                                                    \
    KY_WANT(cond, "%s:%d (%d lanes, again %s): " fmt, (r)->file, (r)->line, (r)->lanes,            \
            again_words[(r)->again], __VA_ARGS__)

/* -- samples -- */

/* One word of a sample as a member of its JSON. */
static int put_word(const run *r, char *buf, size_t size, const char *word)
{
    char x[4096];
    int from, to;

    if (sscanf(word, "x=%d..%d", &from, &to) == 2) {
        ky_inside_x(x, sizeof(x), from, to);
        return snprintf(buf, size, ",\"x\":[%s]", x);
    }
    if (sscanf(word, "x=%d", &from) == 1) {
        ky_inside_x(x, sizeof(x), from, from);
        return snprintf(buf, size, ",\"x\":%s", x);
    }
    if (strncmp(word, "seq=", 4) == 0)
        return snprintf(buf, size, ",\"seq\":%s", word + 4);
    if (strncmp(word, "ts=", 3) == 0)
        return snprintf(buf, size, strpbrk(word, "-:") == NULL ? ",\"ts\":%s" : ",\"ts\":\"%s\"",
                        word + 3);
    if (strncmp(word, "label=", 6) == 0)
        return snprintf(buf, size, ",\"label\":\"%s\"", word + 6);
    WANT(r, strspn(word, "abcdefghijklmnopqrstuvwxyz") == strlen(word), "what is '%s'?", word);
    return snprintf(buf, size, ",\"%s\":true", word);
}

/* How many messages it had. */
static uint64_t *sent_by(run *r, const char *source)
{
    int i = 0;

    while (i < SOURCES && *r->source[i].name && strcmp(r->source[i].name, source) != 0)
        i++;
    WANT(r, i < SOURCES, "more than %d sources", SOURCES);
    snprintf(r->source[i].name, sizeof(r->source[i].name), "%s", source);
    return &r->source[i].sent;
}

static uint64_t next_number(run *r, const char *source)
{
    return ++*sent_by(r, source);
}

static char *word_of(run *r, char **rest)
{
    char *word = strtok_r(NULL, " \t", rest);

    WANT(r, word != NULL, "%s", "a word is missing");
    return word;
}

/* The members of a sample's JSON behind its stream. */
static void put_words(run *r, char *buf, size_t size, char *rest)
{
    int len = 0;
    char *word;

    while ((word = strtok_r(NULL, " \t", &rest)) != NULL)
        len += put_word(r, buf + len, size - (size_t)len - 2, word);
    snprintf(buf + len, size - (size_t)len, "}");
}

static void do_send(run *r, char *rest)
{
    const char *source = word_of(r, &rest), *stream = word_of(r, &rest);
    char words[7000], text[8000];

    put_words(r, words, sizeof(words), rest);
    snprintf(text, sizeof(text), "{\"stream\":\"%s\"%s", stream, words);
    ky_inside_put(source, "", next_number(r, source), text);
}

static void do_on(run *r, char *rest)
{
    const char *source = word_of(r, &rest), *stream = word_of(r, &rest);
    char words[7000], text[8000];

    put_words(r, words, sizeof(words), rest);
    snprintf(text, sizeof(text), "{\"stream\":\"%s\"%s", stream, words);
    ky_inside_put_on(source, "", next_number(r, source), text);
    ky_inside_hear();
}

static void put_many(run *r, const char *source, int count, const char *stream, char *rest,
                     bool known)
{
    char words[7000], text[8000];

    put_words(r, words, sizeof(words), rest);
    for (int i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "{\"stream\":\"%s%d\"%s", stream, i, words);
        ky_inside_put_on(source, "", known ? *sent_by(r, source) : next_number(r, source), text);
    }
}

static void do_many(run *r, char *rest)
{
    int count = atoi(word_of(r, &rest));
    const char *source = word_of(r, &rest), *stream = word_of(r, &rest);

    put_many(r, source, count, stream, rest, false);
    ky_inside_turn(0);
}

static void do_flood(run *r, char *rest)
{
    int count = atoi(word_of(r, &rest));
    const char *source = word_of(r, &rest), *stream = word_of(r, &rest);

    put_many(r, source, count, stream, rest, true);
    ky_inside_flood(source, true);
}

static void do_calm(run *r, char *rest)
{
    ky_inside_flood(word_of(r, &rest), false);
}

static void do_raw(run *r, char *rest)
{
    const char *source = word_of(r, &rest);

    ky_inside_put(source, "", next_number(r, source), rest);
}

static void do_null(run *r, char *rest)
{
    const char *source = word_of(r, &rest);

    ky_inside_put(source, word_of(r, &rest), next_number(r, source), NULL);
}

/* -- time -- */

static int64_t time_of(run *r, char *rest)
{
    static const struct {
        const char *unit;
        int64_t us;
    } units[] = { { "ms", 1000 }, { "s", 1000000 }, { "m", 60000000 }, { "h", 3600000000 } };
    char *unit;
    int64_t n = strtoll(word_of(r, &rest), &unit, 10);

    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
        if (strcmp(unit, units[i].unit) == 0)
            return n * units[i].us;
    WANT(r, false, "'%s' is no unit of time", unit);
    return 0;
}

static void do_pass(run *r, char *rest)
{
    ky_inside_turn(time_of(r, rest));
}

static void do_tick(run *r, char *rest)
{
    ky_inside_tick(time_of(r, rest));
}

static void do_wall(run *r, char *rest)
{
    ky_inside_step_wall(time_of(r, rest));
}

static void start(run *r)
{
    ky_inside_start(&r->scene, r->ini, r->lanes);
    r->running = true;
}

static void do_again(run *r, char *rest)
{
    (void)rest;
    if (r->again == AGAIN_NOTHING)
        return;
    if (r->again == AGAIN_STOP)
        ky_inside_stop();
    else
        ky_inside_kill();
    start(r);
}

static void do_restart(run *r, char *rest)
{
    (void)rest;
    ky_inside_stop();
    start(r);
}

/* -- models -- */

/* Its weights, in a file of this name. */
static ky_inside_model *model_of(run *r, const char *file, uint64_t seed)
{
    int i = 0;

    while (i < MODELS && r->model[i].m != NULL && r->model[i].seed != seed)
        i++;
    WANT(r, i < MODELS, "more than %d models", MODELS);
    if (r->model[i].m == NULL)
        r->model[i].m =
            ky_inside_model_new(ky_inside_file(&r->scene, file), *r->arch ? r->arch : NULL, seed);
    r->model[i].seed = seed;
    return r->model[i].m;
}

static void do_swap(run *r, char *rest)
{
    const char *model = word_of(r, &rest), *reset;
    char file[32];

    snprintf(file, sizeof(file), "seed-%s", word_of(r, &rest));
    reset = strtok_r(NULL, " \t", &rest);
    model_of(r, file, strtoull(file + 5, NULL, 10));
    ky_inside_swap(model, ky_inside_file(&r->scene, file), reset != NULL);
}

/* -- what is expected -- */

static void commit(run *r)
{
    if (!r->fresh)
        ky_inside_commit();
    r->fresh = true;
}

/* An answer that is asked for. */
typedef struct wanted {
    const char *stream, *model;
    int n;
    uint64_t seed;
} wanted;

/* Up to the word behind it, "" at the end. */
static wanted wanted_of(run *r, char **rest, const char *model, const char **ret_next)
{
    wanted w = { .stream = word_of(r, rest), .model = model };
    char *word;

    w.n = atoi(word_of(r, rest));
    while ((word = strtok_r(NULL, " \t", rest)) != NULL)
        if (strcmp(word, "of") == 0)
            w.model = word_of(r, rest);
        else if (strcmp(word, "seed") == 0)
            w.seed = strtoull(word_of(r, rest), NULL, 10);
        else
            break;
    *ret_next = word != NULL ? word : "";
    return w;
}

/* How many answers of this kind there are for which something holds. */
static int64_t answers(const run *r, const wanted *w, const char *model, const char *is)
{
    char sql[600];

    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM history WHERE stream = '%s' AND n = %d AND model LIKE '%s'"
             " AND %s",
             w->stream, w->n, model, is);
    return ky_scene_number(&r->scene, sql);
}

static void do_answer(run *r, char *rest)
{
    char hex[KY_INSIDE_HEX], is[200], *word;
    const char *next, *quality = NULL;
    wanted w = wanted_of(r, &rest, "m", &next);
    int values[256], count = 0;

    WANT(r, strcmp(next, "=") == 0, "%s", "= is missing");
    if (w.seed == 0)
        w.seed = strcmp(w.model, "b") == 0 ? SEED_B : SEED_M;
    while ((word = strtok_r(NULL, " \t", &rest)) != NULL && strcmp(word, "is") != 0 && count < 256)
        values[count++] = atoi(word);
    if (word != NULL)
        quality = word_of(r, &rest);
    ky_inside_answer(model_of(r, w.model, w.seed), values, count, hex);
    commit(r);
    WANT(r, answers(r, &w, w.model, "1") == 1, "%s: there is no answer %d of %s", w.stream, w.n,
         w.model);
    snprintf(is, sizeof(is), "hex(probs) = '%s'", hex);
    WANT(r, answers(r, &w, w.model, is) == 1, "%s: answer %d of %s is not that of these values",
         w.stream, w.n, w.model);
    snprintf(is, sizeof(is), "quality = '%s'", quality != NULL ? quality : "");
    WANT(r, quality == NULL || answers(r, &w, w.model, is) == 1, "%s: answer %d of %s is not '%s'",
         w.stream, w.n, w.model, quality);
}

static void do_none(run *r, char *rest)
{
    const char *next;
    wanted w = wanted_of(r, &rest, "%", &next);

    commit(r);
    WANT(r, answers(r, &w, w.model, "1") == 0, "%s: there is an answer %d", w.stream, w.n);
}

static int64_t lines_with(const run *r, const char *text)
{
    char path[400], line[4096];
    int64_t n = 0;

    snprintf(path, sizeof(path), "%s/told", r->scene.dir);
    FILE *f = fopen(path, "r");

    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        n += strstr(line, text) != NULL;
    if (f != NULL)
        fclose(f);
    return n;
}

static void do_told(run *r, char *rest)
{
    int64_t want = atoll(word_of(r, &rest)), n = -1;

    ky_inside_turn(0);
    for (int i = 0; n != want && i < 1000; i++) { /* what is published is behind the rest */
        if (i > 0)
            ky_inside_turn(0);
        n = lines_with(r, rest);
    }
    WANT(r, n == want, "%lld messages with %s, not %lld", (long long)n, rest, (long long)want);
}

static void do_is(run *r, char *rest)
{
    int64_t want = atoll(word_of(r, &rest)), n;

    commit(r);
    n = ky_scene_number(&r->scene, rest);
    WANT(r, n == want, "%s: %lld, not %lld", rest, (long long)n, (long long)want);
}

static void do_counter(run *r, char *rest)
{
    int64_t want = atoll(word_of(r, &rest));
    const char *name = word_of(r, &rest);
    int64_t n = ky_inside_status(name);

    for (int i = 0; n != want && i < 1000; i++) { /* what is published is behind the rest */
        ky_inside_turn(0);
        n = ky_inside_status(name);
    }

    WANT(r, n == want, "%s is %lld, not %lld", name, (long long)n, (long long)want);
}

/* -- a script -- */

static const struct {
    const char *word;
    void (*act)(run *r, char *rest);
    bool changes; /* results.db is behind afterwards */
} acts[] = {
    { "send", do_send, true },       { "on", do_on, true },
    { "many", do_many, true },       { "flood", do_flood, true },
    { "calm", do_calm, true },       { "raw", do_raw, true },
    { "null", do_null, true },       { "pass", do_pass, true },
    { "tick", do_tick, true },       { "wall", do_wall, true },
    { "again", do_again, true },     { "swap", do_swap, true },
    { "restart", do_restart, true }, { "answer", do_answer, false },
    { "none", do_none, false },      { "told", do_told, false },
    { "is", do_is, false },          { "counter", do_counter, false },
};

static void act(run *r, char *line)
{
    char *rest, *word = strtok_r(line, " \t", &rest);

    if (word == NULL || *word == '#')
        return;
    model_of(r, "m", SEED_M);
    model_of(r, "b", SEED_B);
    if (!r->running)
        start(r);
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        if (strcmp(acts[i].word, word) != 0)
            continue;
        if (acts[i].changes)
            r->fresh = false;
        acts[i].act(r, rest);
        return;
    }
    WANT(r, false, "what is '%s'?", word);
}

static void read_config(run *r, FILE *f)
{
    char text[8192] = "", line[LINE];

    while (fgets(line, sizeof(line), f) != NULL && strcmp(line, "end\n") != 0) {
        r->line++;
        strncat(text, line, sizeof(text) - strlen(text) - 1);
    }
    r->line++;
    snprintf(r->ini, sizeof(r->ini), "%s", ky_scene_write(&r->scene, "kymod.ini", text));
}

/* What must not depend on lanes and on pauses. Times of arrival and of ends by silence are the
 * clock's, which committing moves. */
static const char *const same[] = {
    "SELECT stream, n, model, version, seq, iif(time_source = 'arrival', 0, ts), label, truth, "
    "probs, quality FROM history ORDER BY stream, n, model",
    "SELECT s.name, g.n, g.from_seq, g.to_seq, g.what FROM gaps g JOIN streams s ON s.id = "
    "g.stream "
    "ORDER BY 1, 2, g.id",
    "SELECT stream, reason FROM rejects ORDER BY pos",
    "SELECT s.name, t.model, t.version, t.n, t.start_n, t.epoch, t.ended, t.seq_high, t.seq_mask, "
    "t.layout, t.state, t.extra, t.rms, t.largest, t.saturated, t.steps, t.quarantines, "
    "t.quarantined_n, t.quarantined_from FROM states t JOIN streams s ON s.id = t.stream "
    "ORDER BY 1, 2",
};

enum { SAME = sizeof(same) / sizeof(*same) };

static void run_once(const char *file, int lanes, enum again again, uint64_t ret[SAME])
{
    run r = { .file = strrchr(file, '/') + 1, .lanes = lanes, .again = again };
    FILE *f = fopen(file, "r");
    char line[LINE];

    KY_WANT(f != NULL, "%s cannot be read", file);
    ky_scene_open(&r.scene, "scn");
    ky_inside_set_clock(1800000000000000);
    while (fgets(line, sizeof(line), f) != NULL) {
        r.line++;
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "model ", 6) == 0)
            snprintf(r.arch, sizeof(r.arch), "%.190s", line + 6);
        else if (strcmp(line, "config") == 0)
            read_config(&r, f);
        else
            act(&r, line);
    }
    fclose(f);
    ky_inside_stop();
    for (int i = 0; i < SAME; i++)
        ret[i] = ky_scene_hash(&r.scene, same[i]);
    for (int i = 0; i < MODELS && r.model[i].m != NULL; i++)
        ky_inside_model_free(r.model[i].m);
    ky_scene_close(&r.scene);
}

/* Each number of lanes and each meaning of `again` at least once, undisturbed first; with
 * KYMO_TEST_FULL all of them together. */
static void run_script(const char *file)
{
    static const struct {
        int lanes;
        enum again again;
    } ways[] = {
        { 1, AGAIN_NOTHING }, { 2, AGAIN_STOP },    { 4, AGAIN_KILL },
        { 1, AGAIN_KILL },    { 4, AGAIN_NOTHING }, { 1, AGAIN_STOP },
        { 2, AGAIN_KILL },    { 2, AGAIN_NOTHING }, { 4, AGAIN_STOP },
    };
    size_t n = ky_test_full() ? sizeof(ways) / sizeof(*ways) : 3;
    uint64_t first[SAME], now[SAME];

    for (size_t k = 0; k < n; k++) {
        run_once(file, ways[k].lanes, ways[k].again, k == 0 ? first : now);
        for (int i = 0; k > 0 && i < SAME; i++)
            KY_WANT(now[i] == first[i], "%s: with %d lanes, again %s, this is not the same: %s",
                    file, ways[k].lanes, again_words[ways[k].again], same[i]);
    }
    printf("PASS %s\n", strrchr(file, '/') + 1);
}

int main(int argc, char **argv)
{
    const char *src = getenv("KY_SRCDIR");
    char pattern[400];
    glob_t found;

    snprintf(pattern, sizeof(pattern), "%s/tests/scenarios/%s.scn", src != NULL ? src : ".",
             argc > 1 ? argv[1] : "*");
    KY_WANT(glob(pattern, 0, NULL, &found) == 0, "%s: there is no such script", pattern);
    for (size_t i = 0; i < found.gl_pathc; i++)
        run_script(found.gl_pathv[i]);
    globfree(&found);
    return 0;
}
