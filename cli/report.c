#include "cli/report.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/charts.h"
#include "models/clock.h"
#include "models/json.h"
#include "models/place.h"

/* Pairs that are listed as confused most; targets that are drawn; classes of the largest matrix
 * that is a table as well; characters of a name in a table. */
enum { MOST_PAIRS = 10, MOST_TARGETS = 6, MOST_SQUARE = 60, MOST_NAME = 40 };

static bool scored(const ky_report *r)
{
    return r->s != NULL && r->s->s.N > 0;
}

static bool shares(const ky_report *r)
{
    return r->s->s.truth != KY_OF_NUMBERS;
}

static void print_number(FILE *to, double v, bool share)
{
    if (isnan(v))
        fputs("&ndash;", to);
    else
        fprintf(to, share ? "%.4f" : "%.4g", v);
}

static void print_name(ky_page *p, const ky_scoring *s, int c)
{
    ky_scoring_label buffer;

    fputs("<bdi>", p->to);
    ky_page_short(p, ky_scoring_name(s, c, &buffer), MOST_NAME);
    fputs("</bdi>", p->to);
}

/* A figure's title as a page can show it. */
static const char *in_html(const char *title)
{
    return strcmp(title, "R2") == 0 ? "R&sup2;" : title;
}

/* "har.h5" of "data/har.h5" */
static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* ---- the head ---- */

static void print_title(ky_page *p, const ky_report *r)
{
    char when[32] = "";
    time_t now = (time_t)(ky_clock_wall_us() / 1000000);
    struct tm tm;

    strftime(when, sizeof when, "%Y-%m-%d %H:%M UTC", gmtime_r(&now, &tm));
    fputs("<header>\n<h1>", p->to);
    ky_page_text(p, base_of(r->path));
    if (scored(r)) {
        fputs(" on ", p->to);
        ky_page_text(p, base_of(r->s->d.what));
    }
    fprintf(p->to, "</h1>\n<p class=\"soft\">%s", when);
    if (scored(r)) {
        fprintf(p->to, "; %d rows of %s, ", r->s->s.N,
                ky_data_shape(r->s->d.rows->rank - 1, r->s->d.rows->dims + 1).text);
        fprintf(p->to, "%d %s", r->s->s.C,
                r->s->s.truth == KY_OF_CLASSES  ? "classes"
                : r->s->s.truth == KY_OF_LABELS ? "labels"
                                                : "targets");
    }
    fputs("</p>\n", p->to);
}

static void print_tiles(ky_page *p, const ky_report *r)
{
    const ky_metrics *s = &r->s->s;

    fputs("<ul class=\"tiles\">\n", p->to);
    for (int f = 0; f < KY_FIGURES; f++) {
        const ky_estimate *e = &s->figure[f];

        if (isnan(e->value))
            continue;
        fprintf(p->to, "<li><span>%s</span><b>", in_html(ky_figure_title(f)));
        print_number(p->to, e->value, shares(r));
        fputs("</b>", p->to);
        if (!isnan(e->low)) {
            fputs("<span>", p->to);
            print_number(p->to, e->low, shares(r));
            fputs(" to ", p->to);
            print_number(p->to, e->high, shares(r));
            fputs("</span>", p->to);
        }
        fputs("</li>\n", p->to);
    }
    fputs("</ul>\n", p->to);
    if (s->groups > 0 && s->resamples > 0)
        fprintf(p->to,
                "<p class=\"soft\">Below each figure: its 95 %% interval, from %d resamples of the "
                "%d groups.</p>\n",
                s->resamples, s->groups);
    else if (s->resamples > 0)
        fprintf(p->to,
                "<p class=\"soft\">Below each figure: its 95 %% interval, %sfrom %d resamples of "
                "the rows.</p>\n",
                s->truth == KY_OF_CLASSES ? "of the accuracy Wilson's, else " : "", s->resamples);
}

/* ---- training ---- */

static bool has(const ky_json *history, const char *key)
{
    return ky_json_get(ky_json_at(history, 0), key) != NULL;
}

static void print_curves(ky_page *p, const ky_json *history, const char *key, int best)
{
    fprintf(p->to, "<figure><figcaption><strong>%s</strong><span class=\"key\"></span>training",
            strcmp(key, "learning_rate") == 0 ? "learning rate" : key);
    if (strcmp(key, "learning_rate") != 0)
        fputs("<span class=\"key two\"></span>validation", p->to);
    fputs("</figcaption>\n", p->to);
    ky_chart_curves(p, history, key, best);
    fputs("</figure>\n", p->to);
}

static void print_epochs(ky_page *p, const ky_json *history, const char *measure, int best)
{
    char held_out[64];
    const char *const keys[] = { "loss", measure, "val_loss", held_out, "learning_rate" };
    int columns = has(history, "learning_rate") ? 5 : 4;

    snprintf(held_out, sizeof held_out, "val_%s", measure);
    fputs("<details><summary>All epochs</summary>\n<div class=\"wide\" "
          "tabindex=\"0\"><table><caption>Means over "
          "the epoch; val_: of the validation part after it</caption><thead><tr><th "
          "scope=\"col\" class=\"l\">epoch</th>",
          p->to);
    for (int k = 0; k < columns; k++)
        fprintf(p->to, "<th scope=\"col\">%s</th>", keys[k]);
    fputs("</tr></thead><tbody>\n", p->to);
    for (size_t i = 0; i < ky_json_len(history); i++) {
        const ky_json *e = ky_json_at(history, i);
        int epoch = (int)ky_json_int(ky_json_get(e, "epoch"), 0);

        fprintf(p->to, "<tr><th scope=\"row\">%d%s</th>", epoch, epoch == best ? " (kept)" : "");
        for (int k = 0; k < columns; k++) {
            fputs("<td>", p->to);
            print_number(p->to, ky_json_num(ky_json_get(e, keys[k]), NAN), false);
            fputs("</td>", p->to);
        }
        fputs("</tr>\n", p->to);
    }
    fputs("</tbody></table></div></details>\n", p->to);
}

static void print_training(ky_page *p, const ky_report *r)
{
    const ky_json *origin = r->m->meta.extra, *history = ky_json_get(origin, "history");
    int best = (int)ky_json_int(ky_json_get(origin, "best_epoch"), 0);
    const char *measure = has(history, "mae") ? "mae" : "accuracy";

    if (ky_json_len(history) == 0)
        return;
    fputs("<section>\n<h2>Training</h2>\n<div class=\"row\">\n", p->to);
    print_curves(p, history, "loss", best);
    print_curves(p, history, measure, best);
    if (has(history, "learning_rate"))
        print_curves(p, history, "learning_rate", best);
    fputs("</div>\n", p->to);
    print_epochs(p, history, measure, best);
    fputs("</section>\n", p->to);
}

/* ---- answers ---- */

static void print_pairs(ky_page *p, const ky_scoring *s)
{
    ky_metrics_pair pairs[MOST_PAIRS];
    int n = ky_metrics_confused(&s->s, pairs, MOST_PAIRS);

    if (n == 0) {
        fputs("<p>No row was taken for another class.</p>\n", p->to);
        return;
    }
    fputs("<table><caption>Confused most, with the share of the true class</caption><thead><tr><th "
          "scope=\"col\" class=\"l\">"
          "true</th><th scope=\"col\" class=\"l\">said</th><th scope=\"col\">rows</th>"
          "<th scope=\"col\">share</th></tr></thead><tbody>\n",
          p->to);
    for (int i = 0; i < n; i++) {
        fputs("<tr><th scope=\"row\">", p->to);
        print_name(p, s, pairs[i].truly);
        fputs("</th><td class=\"l\">", p->to);
        print_name(p, s, pairs[i].said);
        fprintf(p->to, "</td><td>%u</td><td>%.1f %%</td></tr>\n", pairs[i].rows,
                100 * pairs[i].rows / s->s.each[pairs[i].truly].support);
    }
    fputs("</tbody></table>\n", p->to);
}

/* What the drawing shows, for those who read it. */
static void print_square(ky_page *p, const ky_scoring *s)
{
    fputs("<details><summary>As a table</summary>\n<div class=\"wide\" "
          "tabindex=\"0\"><table><caption>Rows are "
          "what they are, columns what the model said</caption><thead><tr><th scope=\"col\" "
          "class=\"l\">true</th>",
          p->to);
    for (int c = 0; c < s->s.C; c++) {
        fputs("<th scope=\"col\">", p->to);
        print_name(p, s, c);
        fputs("</th>", p->to);
    }
    fputs("</tr></thead><tbody>\n", p->to);
    for (int i = 0; i < s->s.C; i++) {
        fputs("<tr><th scope=\"row\">", p->to);
        print_name(p, s, i);
        fputs("</th>", p->to);
        for (int j = 0; j < s->s.C; j++)
            fprintf(p->to, "<td>%u</td>", s->s.confusion[(size_t)i * (size_t)s->s.C + (size_t)j]);
        fputs("</tr>\n", p->to);
    }
    fputs("</tbody></table></div></details>\n", p->to);
}

static void print_confusion(ky_page *p, const ky_report *r)
{
    const ky_scoring *s = r->s;

    fputs("<section>\n<h2>Confusion</h2>\n", p->to);
    fputs(s->s.C <= 12 ? "<div class=\"row\">\n" : "<div>\n", p->to);
    if (s->s.C <= KY_CHART_CLASSES) {
        fputs("<figure class=\"wide\" tabindex=\"0\"><figcaption>Rows are what they are, columns "
              "what the model "
              "said; the shade is the share of the row.</figcaption>\n",
              p->to);
        ky_chart_confusion(p, s);
        fputs("</figure>\n", p->to);
    } else {
        fprintf(p->to, "<p>%d classes are too many to draw.</p>\n", s->s.C);
    }
    fputs("<div class=\"wide\" tabindex=\"0\">\n", p->to);
    print_pairs(p, s);
    fputs("</div>\n</div>\n", p->to);
    if (s->s.C <= MOST_SQUARE)
        print_square(p, s);
    fputs("</section>\n", p->to);
}

static void print_cell(ky_page *p, const ky_scoring_column *column, double v, bool share)
{
    if (column->counts) {
        fprintf(p->to, "<td>%.0f</td>", v);
        return;
    }
    if (share && !isnan(v))
        fprintf(p->to, "<td class=\"bar\" style=\"--v:%.3f\">", v);
    else
        fputs("<td>", p->to);
    print_number(p->to, v, share);
    fputs("</td>", p->to);
}

static void print_each(ky_page *p, const ky_report *r)
{
    static const struct {
        const char *head, *one, *caption;
    } words[] = {
        [KY_OF_CLASSES] = { "Classes", "class",
                            "Precision: of what was said to be the class, the share that is. "
                            "Recall: of what is the class, the share that was found." },
        [KY_OF_LABELS] = { "Labels", "label", "Each label by itself, said above one half." },
        [KY_OF_NUMBERS] = { "Targets", "target", "In the unit of each target." },
    };
    enum ky_truth truth = r->s->s.truth;
    const ky_scoring_column *column;
    int n = ky_scoring_columns(truth, &column);

    fprintf(
        p->to,
        "<section>\n<h2>%s</h2>\n<div class=\"wide\" tabindex=\"0\"><table><caption>%s</caption>"
        "<thead><tr><th scope=\"col\" class=\"l\">%s</th>",
        words[truth].head, words[truth].caption, words[truth].one);
    for (int i = 0; i < n; i++)
        fprintf(p->to, "<th scope=\"col\">%s</th>", in_html(column[i].title));
    fputs("</tr></thead><tbody>\n", p->to);
    for (int c = 0; c < r->s->s.C; c++) {
        fputs("<tr><th scope=\"row\">", p->to);
        print_name(p, r->s, c);
        fputs("</th>", p->to);
        for (int i = 0; i < n; i++)
            print_cell(p, &column[i], ky_scoring_cell(&r->s->s.each[c], &column[i]), shares(r));
        fputs("</tr>\n", p->to);
    }
    fputs("</tbody></table></div>\n</section>\n", p->to);
}

static void print_bins(ky_page *p, const ky_metrics *s)
{
    fputs("<div class=\"wide\" tabindex=\"0\"><table><caption>The bins with "
          "answers</caption><thead><tr><th "
          "scope=\"col\" class=\"l\">confidence</th><th scope=\"col\">answers</th><th "
          "scope=\"col\">mean</th><th scope=\"col\">right</th></tr></thead><tbody>\n",
          p->to);
    for (int b = 0; b < KY_BINS; b++)
        if (s->bin[b].n > 0)
            fprintf(p->to,
                    "<tr><th scope=\"row\">%.2f to %.2f</th><td>%.0f</td><td>%.3f</td>"
                    "<td>%.3f</td></tr>\n",
                    (double)b / KY_BINS, (b + 1.0) / KY_BINS, s->bin[b].n, s->bin[b].confidence,
                    s->bin[b].right);
    fputs("</tbody></table></div>\n", p->to);
}

static void print_calibration(ky_page *p, const ky_report *r)
{
    const ky_metrics *s = &r->s->s;

    if (isnan(s->figure[KY_ECE].value))
        return;
    fputs("<section>\n<h2>Calibration</h2>\n<div class=\"row\">\n<figure><figcaption>Points on the "
          "dashed line are as often right as the model was sure; above it, it was too "
          "careful, below it too sure.</figcaption>\n",
          p->to);
    ky_chart_calibration(p, s);
    fprintf(
        p->to,
        "</figure>\n<div><p>Expected calibration error <strong>%.4f</strong>: the mean distance "
        "to the line, over %d bins, each counted by its answers.</p>\n<p>Brier score "
        "<strong>%.4f</strong>: the mean square of what was missing to the truth, %s; 0 is "
        "perfect.</p>\n",
        s->figure[KY_ECE].value, KY_BINS, s->figure[KY_BRIER].value,
        s->truth == KY_OF_CLASSES ? "summed over the classes, at most 2" : "at most 1");
    print_bins(p, s);
    fputs("</div>\n</div>\n</section>\n", p->to);
}

static void print_numbers(ky_page *p, const ky_report *r)
{
    int C = r->s->s.C, shown = C < MOST_TARGETS ? C : MOST_TARGETS;

    fputs("<section>\n<h2>Answers</h2>\n", p->to);
    for (int c = 0; c < shown; c++) {
        fputs("<div class=\"row\">\n<figure><figcaption><strong>", p->to);
        print_name(p, r->s, c);
        fputs("</strong>answers against truths</figcaption>\n", p->to);
        ky_chart_scatter(p, r->s, c);
        fputs("</figure>\n<figure><figcaption><strong>", p->to);
        print_name(p, r->s, c);
        fputs("</strong>what is left between them</figcaption>\n", p->to);
        ky_chart_residuals(p, r->s, c);
        fputs("</figure>\n</div>\n", p->to);
    }
    if (shown < C)
        fprintf(p->to, "<p class=\"soft\">%d more targets are in the table below.</p>\n",
                C - shown);
    fputs("</section>\n", p->to);
}

/* ---- where it comes from ---- */

static void begin_fact(ky_page *p, const char *name)
{
    fputs("<tr><th scope=\"row\">", p->to);
    ky_page_text(p, name);
    fputs("</th><td class=\"any\">", p->to);
}

static void end_fact(ky_page *p)
{
    fputs("</td></tr>\n", p->to);
}

static void print_fact(ky_page *p, const char *name, const char *text)
{
    begin_fact(p, name);
    ky_page_text(p, text);
    end_fact(p);
}

/* A word as a shell would take it. */
static void print_word(ky_page *p, const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "-_./:=,+@%^";

    if (*word != 0 && word[strspn(word, plain)] == 0) {
        ky_page_text(p, word);
        return;
    }
    ky_page_text(p, "'");
    for (const char *s = strchr(word, '\''); s != NULL; s = strchr(word, '\'')) {
        char *before = strndup(word, (size_t)(s - word));

        ky_page_text(p, before != NULL ? before : "?");
        ky_page_text(p, "'\\''");
        free(before);
        word = s + 1;
    }
    ky_page_text(p, word);
    ky_page_text(p, "'");
}

static void print_command(ky_page *p, const ky_report *r)
{
    begin_fact(p, "command");
    fputs("<code>kymo", p->to);
    for (int i = 0; i < r->argc; i++) {
        fputc(' ', p->to);
        print_word(p, r->argv[i]);
    }
    fputs("</code>", p->to);
    end_fact(p);
}

/* Figures of a cross-validation, each a fact. */
static void print_folds(ky_page *p, const ky_json *folds)
{
    char name[64], text[64];

    snprintf(text, sizeof text, "%d", (int)ky_json_num(ky_json_get(folds, "folds"), 0));
    print_fact(p, "folds", text);
    for (const char *key = ky_json_next_key(folds, NULL); key != NULL;
         key = ky_json_next_key(folds, key)) {
        const ky_json *f = ky_json_get(folds, key);

        if (!ky_json_is_object(f))
            continue;
        snprintf(name, sizeof name, "%.40s of folds", key);
        snprintf(text, sizeof text, "%.4g, standard error %.2g",
                 ky_json_num(ky_json_get(f, "mean"), NAN),
                 ky_json_num(ky_json_get(f, "standard_error"), NAN));
        print_fact(p, name, text);
    }
}

/* What the model's file keeps of its training, but for the curves above. */
static void print_origin(ky_page *p, const ky_json *origin)
{
    for (const char *key = ky_json_is_object(origin) ? ky_json_next_key(origin, NULL) : NULL;
         key != NULL; key = ky_json_next_key(origin, key)) {
        const ky_json *v = ky_json_get(origin, key);
        char *text;

        if (ky_json_is_object(v) && strcmp(key, "cross_validation") == 0) {
            print_folds(p, v);
            continue;
        }
        text = ky_json_is_string(v) || ky_json_is_array(v) ? NULL : ky_json_text(v, 0);

        if (!ky_json_is_array(v))
            print_fact(p, key, text != NULL ? text : ky_json_str(v, ""));
        free(text);
    }
}

static void print_facts(ky_page *p, const ky_report *r)
{
    const ky_model_info *f = ky_model_facts(r->m);
    char text[64];

    fputs(
        "<section>\n<h2>Where it comes from</h2>\n<div class=\"row facts\">\n<table><caption>This "
        "report</caption><tbody>\n",
        p->to);
    print_command(p, r);
    print_fact(p, "kymo", PACKAGE_VERSION);
    print_fact(p, "model", r->path);
    snprintf(text, sizeof text, "%016" PRIx64, f->hash);
    print_fact(p, "hash of the model", text);
    snprintf(text, sizeof text, "%zu in %d layers", f->params, r->m->n_layers);
    print_fact(p, "weights", text);
    if (scored(r)) {
        print_fact(p, "data", r->s->d.what);
        snprintf(text, sizeof text, "%016" PRIx64, r->s->d.hash);
        print_fact(p, "hash of the data", text);
        snprintf(text, sizeof text, "%" PRIu64, r->s->seed);
        print_fact(p, "seed of the resamples", text);
    }
    fputs("</tbody></table>\n", p->to);
    if (ky_json_is_object(r->m->meta.extra)) {
        fputs("<table><caption>The training, as the model's file tells it</caption><tbody>\n",
              p->to);
        print_origin(p, r->m->meta.extra);
        fputs("</tbody></table>\n", p->to);
    }
    fputs("</div>\n</section>\n", p->to);
}

/* ---- the page ---- */

static void print_page(FILE *to, void *arg)
{
    const ky_report *r = arg;
    ky_page page = { .to = to }, *p = &page;
    char title[300];

    snprintf(title, sizeof title, "kymo: %.250s", r->path);
    ky_page_begin(p, title);
    print_title(p, r);
    if (scored(r))
        print_tiles(p, r);
    else
        fputs("<p>There was no test part to score; <code>kymo eval --report</code> scores any "
              "labelled data.</p>\n",
              p->to);
    fputs("</header>\n<main>\n", p->to);
    print_training(p, r);
    if (scored(r)) {
        if (r->s->s.truth == KY_OF_CLASSES)
            print_confusion(p, r);
        if (r->s->s.truth == KY_OF_NUMBERS)
            print_numbers(p, r);
        print_each(p, r);
        print_calibration(p, r);
    }
    print_facts(p, r);
    fputs("</main>\n", p->to);
    ky_page_end(p);
}

int ky_report_prepare(const char *dir, ky_err *err)
{
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return ky_fail(err, KY_EIO, "report '%s': %s", dir, strerror(errno));
    if (access(dir, W_OK | X_OK) != 0)
        return ky_fail(err, KY_EIO, "report '%s': %s", dir, strerror(errno));
    return KY_OK;
}

int ky_report_write(const ky_report *r, ky_err *err)
{
    char *path = NULL;
    int rc;

    if (asprintf(&path, "%s/index.html", r->dir) < 0)
        return ky_fail(err, KY_ENOMEM, "report '%s': no memory", r->dir);
    rc = ky_place_print(path, print_page, (void *)r, err);
    free(path);
    return rc;
}
