/* One stream, as JSON or as text: the text is printed from the same JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/streams.h"
#include "models/health.h"
#include "models/json.h"
#include "models/sample.h"
#include "storage/recent.h"
#include "storage/results.h"

#define TIME(us) "strftime('%Y-%m-%dT%H:%M:%SZ', " us " / 1000000, 'unixepoch') AS time"

/* Rows of the database, newest first; ?1: class, ?2: id, ?3: limit. */
static const struct {
    const char *key, *title, *sql;
} sections[] = {
    { "gaps", "Gaps",
      "SELECT g.n, g.what, g.from_seq, g.to_seq, (g.to_ts - g.from_ts) / 1e6 AS seconds"
      " FROM gaps g JOIN streams s ON s.id = g.stream WHERE s.class = ?1 AND s.name = ?2"
      " ORDER BY g.id DESC LIMIT ?3" },
    { "rejects", "Rejects (of any class)",
      "SELECT " TIME(
          "at") ", source, reason"
                " FROM rejects WHERE ?1 IS NOT NULL AND stream = ?2 ORDER BY id DESC LIMIT ?3" },
    { "events", "Events (of any class)",
      "SELECT " TIME("at") ", level, what, detail FROM events WHERE ?1 IS NOT NULL AND object = "
                           "'stream ' || ?2"
                           " ORDER BY id DESC LIMIT ?3" },
};

enum { SECTIONS = sizeof(sections) / sizeof(*sections) };

/* -- from the database --------------------------------------------------------------- */

static int ask(const ky_streams_opts *o, const char *sql, const char *const *args, ky_json **ret,
               ky_err *err)
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    if (to == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    int rc = ky_results_ask(o->db, sql, args, KY_TABLE_JSON, to, err);

    fclose(to);
    if (rc == KY_OK)
        rc = ky_json_parse(text, len, false, ret, err);
    free(text);
    return rc;
}

/* Its number and class; an id may be in several classes. */
static int find(const ky_streams_opts *o, ky_json **ret, ky_err *err)
{
    const char *args[] = { o->id, o->class_name };
    int rc = ask(o, "SELECT id, class FROM streams WHERE name = ?1 AND (?2 IS NULL OR class = ?2)",
                 args, ret, err);

    if (rc < 0)
        return rc;
    if (ky_json_len(*ret) == 1)
        return KY_OK;
    rc = ky_json_len(*ret) == 0
             ? ky_fail(err, KY_ENOENT, "stream '%s' is not in '%s'", o->id, o->db)
             : ky_fail(err, KY_EINVAL,
                       "stream '%s' is in %zu classes, %s and %s among them: which "
                       "one, says --class",
                       o->id, ky_json_len(*ret),
                       ky_json_str(ky_json_get(ky_json_at(*ret, 0), "class"), ""),
                       ky_json_str(ky_json_get(ky_json_at(*ret, 1), "class"), ""));
    ky_json_free(*ret);
    *ret = NULL;
    return rc;
}

/* -- the state ----------------------------------------------------------------------- */

static int nibble(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* A blob as SQL prints it; the caller frees. */
static float *floats_of(const char *hex, size_t *ret_n)
{
    size_t n = strlen(hex) / 8;
    float *v = malloc(n * sizeof(float) + 1);

    for (size_t i = 0; v != NULL && i < n * sizeof(float); i++)
        ((unsigned char *)v)[i] = (unsigned char)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    *ret_n = v != NULL ? n : 0;
    return v;
}

static ky_json *number(double v)
{
    return isfinite(v) ? ky_json_of_num(v) : ky_json_of_null();
}

static ky_json *array_of(const float *v, size_t n)
{
    ky_json *a = ky_json_array();

    for (size_t i = 0; i < n; i++)
        ky_json_append(a, number((double)v[i]));
    return a;
}

/* `bytes` of a recurrent layer's part become its figures and its values. */
static void put_layer(ky_json *part)
{
    const char *hex = ky_json_str(ky_json_get(part, "values"), NULL);
    size_t h = (size_t)ky_json_int(ky_json_get(part, "h"), 0), n = 0;
    bool bounded = ky_json_int(ky_json_get(part, "bounded"), 0) != 0;
    ky_health health = { 0 };
    float *v = hex != NULL ? floats_of(hex, &n) : NULL;

    h = h < n ? h : n;
    ky_health_add(&health, v, n, bounded ? h : 0);
    ky_json_set(part, "rms", number(ky_health_rms(&health)));
    ky_json_set(part, "largest", number(n > 0 ? (double)health.largest : (double)NAN));
    ky_json_set(part, "saturated", number(ky_health_saturated(&health)));
    ky_json_set(part, "h", array_of(v, h));
    ky_json_set(part, "c", array_of(n > h ? v + h : v, n - h));
    ky_json_set(part, "values", ky_json_of_int((int64_t)n));
    free(v);
}

static int add_layers(const ky_streams_opts *o, const char *const *args, ky_json *to, ky_err *err)
{
    ky_json *parts;
    int rc = ask(o,
                 "SELECT t.model, p.layer, p.what, p.bytes, p.h, p.bounded,"
                 " CASE WHEN p.h > 0 THEN substr(t.state, p.at + 1, p.bytes) END AS \"values\""
                 " FROM states t JOIN streams s ON s.id = t.stream"
                 " JOIN state_parts p ON p.model = t.model AND p.layout = t.layout"
                 " WHERE s.class = ?1 AND s.name = ?2 ORDER BY t.model, p.part",
                 args, &parts, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ky_json_len(parts); i++)
        put_layer(ky_json_at(parts, i));
    ky_json_set(to, "layers", parts);
    return KY_OK;
}

/* -- answers ------------------------------------------------------------------------- */

#define NEWEST(level)                                                                              \
    "SELECT * FROM (SELECT a.* FROM runs r CROSS JOIN answers a ON a.id BETWEEN r.first AND"       \
    " r.last WHERE r.level = " level " AND r.series = ?1 ORDER BY r.n DESC, a.id DESC LIMIT ?2)"

/* Of each of its series, from its last run on: a stream may have millions. */
static int add_answers(const ky_streams_opts *o, const char *const *args, ky_json *to, ky_err *err)
{
    ky_json *series = NULL, *answers = ky_json_array();
    int rc = ask(o,
                 "SELECT cast(e.id AS TEXT) AS id FROM series e JOIN streams s ON s.id = e.stream"
                 " WHERE s.class = ?1 AND s.name = ?2 ORDER BY e.model, e.role",
                 args, &series, err);

    ky_json_set(to, "answers", answers);
    for (size_t i = 0; rc == KY_OK && i < ky_json_len(series); i++) {
        const char *of[] = { ky_json_str(ky_json_get(ky_json_at(series, i), "id"), ""), args[2] };
        ky_json *rows;

        rc = ask(o,
                 "SELECT a.n, " TIME(
                     "a.ts") ", a.label, a.score, q.name AS quality,"
                             " e.model || '@' || a.version AS model, l.label AS truth, a.probs"
                             " FROM (" NEWEST("0") " UNION ALL " NEWEST(
                                 "1") ") a JOIN series e ON e.id = ?1"
                                      " LEFT JOIN qualities q ON q.id = a.quality"
                                      " LEFT JOIN labels l ON l.stream = e.stream AND l.n = a.n"
                                      " ORDER BY a.n DESC LIMIT ?2",
                 of, &rows, err);
        for (size_t k = 0; rc == KY_OK && k < ky_json_len(rows); k++)
            ky_json_append(answers, ky_json_copy(ky_json_at(rows, k)));
        if (rc == KY_OK)
            ky_json_free(rows);
    }
    ky_json_free(series);
    return rc;
}

/* -- samples ------------------------------------------------------------------------- */

static int add_samples(const ky_streams_opts *o, const char *class_name, uint32_t id, ky_json *to,
                       ky_err *err)
{
    int most = o->limit < 100000 ? (int)o->limit : 100000;
    ky_recent r;
    int rc = ky_recent_samples(o->dir, class_name, o->id, id, most, &r, err);
    ky_json *samples = ky_json_array();

    ky_json_set(to, "samples", samples);
    if (rc < 0) { /* who may read results.db need not be let near the samples */
        ky_json_set(to, "samples_missing", ky_json_of_str(err->text));
        return rc == KY_ENOMEM ? rc : KY_OK;
    }

    for (int i = r.n - 1; i >= 0; i--) {
        const ky_recent_sample *s = &r.sample[i];
        ky_json *one = ky_json_object();

        ky_json_set(one, "n", ky_json_of_int(s->n));
        ky_json_set(one, "seq", s->seq == KY_NONE ? ky_json_of_null() : ky_json_of_int(s->seq));
        ky_json_set(one, "ts", s->ts_us == KY_NONE ? ky_json_of_null() : ky_json_of_int(s->ts_us));
        ky_json_set(one, "x", array_of(s->x, (size_t)s->features));
        ky_json_append(samples, one);
    }
    ky_recent_free(&r);
    return KY_OK;
}

/* -- text ---------------------------------------------------------------------------- */

static void print_value(const ky_json *v, size_t most)
{
    if (ky_json_is_array(v)) {
        for (size_t i = 0; i < ky_json_len(v) && i < most; i++)
            printf("%s%.4g", i > 0 ? " " : "", ky_json_num(ky_json_at(v, i), (double)NAN));
        printf("%s", ky_json_len(v) > most ? " ..." : "");
    } else if (ky_json_is_string(v)) {
        ky_cli_print_safe(stdout, ky_json_str(v, ""), strlen(ky_json_str(v, "")));
    } else if (ky_json_is_null(v)) {
        printf("-");
    } else {
        char *text = ky_json_text(v, 0);

        printf("%s", text != NULL ? text : "?");
        free(text);
    }
}

/* A line for each member. */
static void print_members(const ky_json *row)
{
    for (const char *key = NULL; (key = ky_json_next_key(row, key)) != NULL;) {
        printf("  %-15s ", key);
        print_value(ky_json_get(row, key), SIZE_MAX);
        printf("\n");
    }
}

/* A line for each row, `key value` behind each other. */
static void print_rows(const char *title, const ky_json *rows, const char *none, bool all)
{
    printf("\n%s\n%s", title, ky_json_len(rows) == 0 ? none : "");
    for (size_t i = 0; i < ky_json_len(rows); i++) {
        const ky_json *row = ky_json_at(rows, i);

        for (const char *key = NULL; (key = ky_json_next_key(row, key)) != NULL;) {
            const ky_json *v = ky_json_get(row, key);

            if (ky_json_is_null(v) || (!all && strcmp(key, "probs") == 0))
                continue;
            printf("  %s ", key);
            print_value(v, all ? SIZE_MAX : 8);
        }
        printf("\n");
    }
}

static void print_layers(const ky_json *layers, bool values)
{
    printf("\nState\n%s",
           ky_json_len(layers) == 0 ? "  not described: written by an older kymod\n" : "");
    for (size_t i = 0; i < ky_json_len(layers); i++) {
        const ky_json *l = ky_json_at(layers, i);

        printf("  ");
        print_value(ky_json_get(l, "model"), 0);
        printf("  ");
        print_value(ky_json_get(l, "layer"), 0);
        printf("%s", *ky_json_str(ky_json_get(l, "layer"), "") ? ", " : "");
        print_value(ky_json_get(l, "what"), 0);
        printf(": ");
        if (ky_json_len(ky_json_get(l, "h")) == 0) {
            printf("%lld bytes\n", (long long)ky_json_int(ky_json_get(l, "bytes"), 0));
            continue;
        }
        printf("%zu h", ky_json_len(ky_json_get(l, "h")));
        if (ky_json_len(ky_json_get(l, "c")) > 0)
            printf(" + %zu c", ky_json_len(ky_json_get(l, "c")));
        printf(", rms %.4g, largest %.4g", ky_json_num(ky_json_get(l, "rms"), 0),
               ky_json_num(ky_json_get(l, "largest"), 0));
        if (!ky_json_is_null(ky_json_get(l, "saturated")))
            printf(", saturated %.0f %%", 100 * ky_json_num(ky_json_get(l, "saturated"), 0));
        printf("\n");
        for (int k = 0; values && k < 2; k++) {
            const ky_json *v = ky_json_get(l, k == 0 ? "h" : "c");

            if (ky_json_len(v) == 0)
                continue;
            printf("    %s  ", k == 0 ? "h" : "c");
            print_value(v, SIZE_MAX);
            printf("\n");
        }
    }
}

static void print_text(const ky_streams_opts *o, const ky_json *all)
{
    const ky_json *health = ky_json_get(all, "health");

    print_value(ky_json_get(all, "stream"), 0);
    printf(" of class ");
    print_value(ky_json_get(all, "class"), 0);
    printf("\n");
    for (size_t i = 0; i < ky_json_len(health); i++)
        print_members(ky_json_at(health, i));
    print_layers(ky_json_get(all, "layers"), o->values);
    print_rows("Recent samples", ky_json_get(all, "samples"), "  none are kept: ", o->values);
    if (ky_json_len(ky_json_get(all, "samples")) == 0)
        printf("%s\n", ky_json_str(ky_json_get(all, "samples_missing"),
                                   "they have left the journal, and are in no archive"));
    print_rows("Recent answers", ky_json_get(all, "answers"), "  none\n", o->values);
    for (int i = 0; i < SECTIONS; i++)
        print_rows(sections[i].title, ky_json_get(all, sections[i].key), "  none\n", o->values);
}

int ky_streams_one(const ky_streams_opts *o, ky_err *err)
{
    char limit[24], *text;
    ky_json *found, *rows, *all = NULL;
    int rc = find(o, &found, err);

    if (rc < 0)
        return rc;
    const char *class_name = ky_json_str(ky_json_get(ky_json_at(found, 0), "class"), "");
    const char *args[] = { class_name, o->id, limit };
    uint32_t id = (uint32_t)ky_json_int(ky_json_get(ky_json_at(found, 0), "id"), 0);

    snprintf(limit, sizeof(limit), "%lld", (long long)o->limit);
    all = ky_json_object();
    ky_json_set(all, "class", ky_json_of_str(class_name));
    ky_json_set(all, "stream", ky_json_of_str(o->id));
    rc = ask(o, "SELECT * FROM state_health WHERE class = ?1 AND stream = ?2", args, &rows, err);
    if (rc == KY_OK)
        ky_json_set(all, "health", rows);
    if (rc == KY_OK)
        rc = add_layers(o, args, all, err);
    if (rc == KY_OK)
        rc = add_samples(o, class_name, id, all, err);
    if (rc == KY_OK)
        rc = add_answers(o, args, all, err);
    for (int i = 0; rc == KY_OK && i < SECTIONS; i++)
        if ((rc = ask(o, sections[i].sql, args, &rows, err)) == KY_OK)
            ky_json_set(all, sections[i].key, rows);
    if (rc == KY_OK && o->json) {
        text = ky_json_text(all, 2);
        printf("%s\n", text != NULL ? text : "{}");
        free(text);
    } else if (rc == KY_OK) {
        print_text(o, all);
    }
    ky_json_free(all);
    ky_json_free(found);
    return rc;
}
