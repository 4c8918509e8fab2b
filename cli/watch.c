#include "cli/watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/clock.h"
#include "models/json.h"
#include "models/place.h"

/* A history is not written more often than this while it grows: every time it is the whole. */
static const int64_t write_interval_ns = 1000000000;

enum { MOST_COLUMNS = 7 };

/* ---- the history ---- */

static bool ends_in(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n > m && strcmp(s + n - m, end) == 0;
}

/* The epochs, each with its rate and its time. */
static ky_json *timed(const ky_watch *w, const ky_json *history)
{
    ky_json *all = ky_json_array();

    for (size_t i = 0; i < ky_json_len(history); i++) {
        ky_json *e = ky_json_copy(ky_json_at(history, i));
        int epoch = (int)ky_json_int(ky_json_get(e, "epoch"), 0);
        bool seen = epoch >= 1 && epoch <= w->most;

        if (ky_json_get(e, "learning_rate") == NULL)
            ky_json_set(e, "learning_rate", ky_json_of_num(w->learning_rate));
        ky_json_set(e, "seconds", ky_json_of_num(seen ? w->seconds[epoch - 1] : NAN));
        ky_json_append(all, e);
    }
    return all;
}

typedef struct listing {
    const ky_json *all;
    const char *measure;
} listing;

/* The keys of an epoch are the columns; what is not finite is empty. */
static void print_csv(FILE *f, void *arg)
{
    const listing *h = arg;
    char held_out[64];
    const char *const columns[MOST_COLUMNS] = { "epoch",  "loss",          h->measure, "val_loss",
                                                held_out, "learning_rate", "seconds" };

    snprintf(held_out, sizeof held_out, "val_%s", h->measure);
    for (int c = 0; c < MOST_COLUMNS; c++)
        fprintf(f, c > 0 ? ",%s" : "%s", columns[c]);
    fputc('\n', f);
    for (size_t i = 0; i < ky_json_len(h->all); i++) {
        for (int c = 0; c < MOST_COLUMNS; c++) {
            double v = ky_json_num(ky_json_get(ky_json_at(h->all, i), columns[c]), NAN);

            fprintf(f, c > 0 ? "," : "");
            if (isfinite(v))
                fprintf(f, "%.9g", v);
        }
        fputc('\n', f);
    }
}

static void print_json(FILE *to, void *arg)
{
    const listing *h = arg;
    char *text = ky_json_text(h->all, 1);

    fprintf(to, "%s\n", text != NULL ? text : "[]");
    free(text);
}

static int write_history(const ky_watch *w, const ky_json *epochs, const char *measure, ky_err *err)
{
    ky_json *all = timed(w, epochs);
    listing h = { all, measure };
    int rc =
        ky_place_print(w->history, ends_in(w->history, ".csv") ? print_csv : print_json, &h, err);

    ky_json_free(all);
    return rc;
}

/* A training does not end because its history cannot be written; that is said once. */
static void keep_history(ky_watch *w, const ky_json *history, const char *measure, bool last)
{
    int64_t now = ky_clock_mono_ns();
    ky_err err;

    if (w->history == NULL || (!last && now - w->written_ns < write_interval_ns))
        return;
    w->written_ns = now;
    if (write_history(w, history, measure, &err) < 0 && !w->failed) {
        w->failed = true;
        ky_progress_clear(&w->bar);
        ky_cli_fail(&err);
    }
}

static void take_time(ky_watch *w, int epoch, double seconds)
{
    if (epoch > w->most) {
        int most = epoch + 64;
        double *more = realloc(w->seconds, (size_t)most * sizeof *more);

        if (more == NULL)
            return; /* its time is not told */
        for (int i = w->most; i < most; i++)
            more[i] = NAN;
        w->seconds = more;
        w->most = most;
    }
    w->seconds[epoch - 1] = seconds;
}

/* ---- the screen ---- */

static int digits(int v)
{
    return snprintf(NULL, 0, "%d", v);
}

/* For people where there is a terminal, else for `grep` and `awk`: the keys stay. */
static void print_epoch(const ky_watch *w, const ky_train_progress *p, double seconds)
{
    bool best = p->best_epoch == p->epoch;

    if (w->bar.tty)
        fprintf(
            stderr, "epoch %*d/%d  loss %.4f  %s %.4f  validation: loss %.4f  %s %.4f  %.1f s%s\n",
            snprintf(NULL, 0, "%d", p->epochs), p->epoch, p->epochs, p->loss, p->measure,
            p->accuracy, p->val_loss, p->measure, p->val_accuracy, seconds, best ? "  best" : "");
    else
        fprintf(stderr,
                "epoch=%d epochs=%d loss=%.6g %s=%.6g val_loss=%.6g val_%s=%.6g learning_rate=%.6g "
                "seconds=%.3f best=%s\n",
                p->epoch, p->epochs, p->loss, p->measure, p->accuracy, p->val_loss, p->measure,
                p->val_accuracy, p->learning_rate, seconds, best ? "yes" : "no");
    fflush(stderr);
}

/* The bar is of the epoch, the time to go of all that may follow. */
static void show_rows(ky_watch *w, const ky_train_progress *p)
{
    int rows = p->rows + p->held;
    double done = p->epoch - 1 + rows / w->bar.total - w->before;
    char note[80];

    w->bar.left_s = p->seconds / done * (p->epochs - w->before - done);
    snprintf(note, sizeof note, "%sloss %.4f %s %.4f", p->held > 0 ? "validating, " : "", p->loss,
             p->measure, p->accuracy);
    ky_progress_show(&w->bar, rows, note);
}

static void begin_epoch(ky_watch *w, const ky_train_progress *p)
{
    if (w->epoch == 0)
        w->before = p->epoch - 1;
    w->epoch = p->epoch;
    snprintf(w->title, sizeof w->title, "epoch %*d/%d", digits(p->epochs), p->epoch, p->epochs);
    w->bar = (ky_progress){ .what = w->title,
                            .unit = "rows",
                            .total = (double)p->rows_all + p->held_all,
                            .taken_s = p->seconds - w->epoch_began_s };
    ky_progress_begin(&w->bar);
    w->bar.quiet = w->quiet || !w->bar.tty;
}

int ky_watch_show(const ky_train_progress *p, void *arg)
{
    ky_watch *w = arg;

    if (p->epoch != w->epoch)
        begin_epoch(w, p);
    if (p->batch < p->batches || p->held > 0) {
        show_rows(w, p);
        return ky_cli_interrupted();
    }
    take_time(w, p->epoch, p->seconds - w->epoch_began_s);
    ky_progress_clear(&w->bar);
    if (!w->quiet)
        print_epoch(w, p, p->seconds - w->epoch_began_s);
    keep_history(w, p->history, p->measure, false);
    w->epoch_began_s = p->seconds;
    return ky_cli_interrupted();
}

bool ky_watch_takes(const char *history)
{
    return ends_in(history, ".csv") || ends_in(history, ".json");
}

int ky_watch_begin(ky_watch *w, const char *measure, ky_err *err)
{
    return w->history != NULL ? write_history(w, NULL, measure, err) : KY_OK;
}

void ky_watch_end(ky_watch *w, const ky_train_result *ret)
{
    ky_progress_clear(&w->bar);
    if (ret != NULL)
        keep_history(w, ret->history, ret->measure, true);
    if (ret != NULL && !w->quiet && ky_cli_interrupted())
        fprintf(stderr, "interrupted: epoch %d is kept, the best so far\n", ret->best_epoch);
    free(w->seconds);
}
