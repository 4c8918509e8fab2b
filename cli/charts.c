#include "cli/charts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What charts beside each other measure; points of a cloud; bars of a histogram; characters of a
 * name beside the matrix. */
enum { WIDTH = 480, HEIGHT = 290, MOST_POINTS = 2000, BARS = 31, MOST_NAME = 20 };

static void widen(ky_scale *s, double v)
{
    if (!isfinite(v))
        return;
    s->lo = v < s->lo ? v : s->lo;
    s->hi = v > s->hi ? v : s->hi;
}

static const ky_scale nothing = { .lo = INFINITY, .hi = -INFINITY };

/* ---- curves ---- */

static double value_at(const ky_json *history, size_t i, const char *key)
{
    return ky_json_num(ky_json_get(ky_json_at(history, i), key), NAN);
}

/* A line with gaps where there is no number, and few points as points. */
static void draw_curve(const ky_plot *plot, const ky_json *history, const char *key, bool held_out)
{
    size_t n = ky_json_len(history);
    bool on = false;

    if (ky_json_get(ky_json_at(history, 0), key) == NULL)
        return; /* a learning rate has no validation */
    fprintf(plot->p->to, "<path class=\"%s\" d=\"", held_out ? "two" : "one");
    for (size_t i = 0; i < n; i++) {
        double v = value_at(history, i, key);

        if (isfinite(v))
            fprintf(plot->p->to, "%c%.1f %.1f", on ? 'L' : 'M',
                    ky_plot_x(plot, value_at(history, i, "epoch")), ky_plot_y(plot, v));
        on = isfinite(v);
    }
    fputs("\"/>\n", plot->p->to);
    for (size_t i = 0; i < n && n <= 40; i++)
        if (isfinite(value_at(history, i, key)))
            fprintf(plot->p->to, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>",
                    held_out ? "dot2" : "dot1", ky_plot_x(plot, value_at(history, i, "epoch")),
                    ky_plot_y(plot, value_at(history, i, key)));
}

static void mark_epoch(const ky_plot *plot, int epoch)
{
    double x = ky_plot_x(plot, epoch);
    bool left = x > (plot->x.from + plot->x.to) / 2;

    fprintf(plot->p->to,
            "<path class=\"mark\" d=\"M%.1f %gV%g\"/><text class=\"tick%s\" x=\"%.1f\" y=\"13\">"
            "epoch %d is kept</text>\n",
            x, plot->y.from, plot->y.to, left ? " end" : "", left ? x - 5 : x + 5, epoch);
}

/* Losses that fall by more than this are drawn with a logarithm. */
static const double steep = 50;

void ky_chart_curves(ky_page *p, const ky_json *history, const char *key, int best_epoch)
{
    ky_plot plot = { .p = p, .x = nothing, .y = nothing, .w = WIDTH, .h = HEIGHT };
    char held_out[64];

    snprintf(held_out, sizeof held_out, "val_%s", key);
    for (size_t i = 0; i < ky_json_len(history); i++) {
        widen(&plot.x, value_at(history, i, "epoch"));
        widen(&plot.y, value_at(history, i, key));
        widen(&plot.y, value_at(history, i, held_out));
    }
    if (!(plot.y.hi >= plot.y.lo))
        return; /* no finite number at all */
    plot.y.log = strcmp(key, "accuracy") != 0 && plot.y.lo > 0 && plot.y.hi > steep * plot.y.lo;
    ky_svg_begin(
        p, plot.w, plot.h, "What changed from epoch to epoch",
        "%s by epoch; solid: training; dashed: validation, where there is one; %zu epochs.", key,
        ky_json_len(history));
    ky_plot_axes(&plot, "epoch", plot.y.log ? "logarithmic" : "", 1);
    draw_curve(&plot, history, key, false);
    draw_curve(&plot, history, held_out, true);
    if (best_epoch > 0)
        mark_epoch(&plot, best_epoch);
    ky_svg_end(p);
}

/* ---- confusion ---- */

/* The matrix and what stands around it. */
typedef struct square {
    ky_page *p;
    const ky_scoring *s;
    int C, cell, left, top;
    int every;   /* so many classes share a name */
    bool counts; /* there is room for them */
} square;

static uint32_t count_at(const square *q, int truly, int said)
{
    return q->s->s.confusion[(size_t)truly * (size_t)q->C + (size_t)said];
}

static const char *name_of(const square *q, int c, ky_scoring_label *buffer)
{
    return ky_scoring_name(q->s, c, buffer);
}

/* The share from which text in the other colour has the higher contrast: 4.5 to 1 on both sides. */
static const double dark = 0.71;

static void draw_cell(const square *q, int i, int j, double share)
{
    FILE *to = q->p->to;
    double x = q->left + j * q->cell, y = q->top + i * q->cell;
    uint32_t n = count_at(q, i, j);
    ky_scoring_label buffer;

    fprintf(to, "<g><title>%u of ", n);
    ky_page_text(q->p, name_of(q, i, &buffer));
    fputs(" said to be ", to);
    ky_page_text(q->p, name_of(q, j, &buffer));
    /* What happened once is still seen. */
    fprintf(to,
            " (%.1f %%)</title><rect class=\"cell\" x=\"%g\" y=\"%g\" width=\"%d\" height=\"%d\" "
            "fill-opacity=\"%.3f\"/>",
            100 * share, x, y, q->cell, q->cell, 0.12 + 0.88 * share);
    if (q->counts)
        fprintf(to, "<text class=\"mid %s\" x=\"%g\" y=\"%g\">%u</text>",
                share > dark ? "on" : "low", x + q->cell / 2.0, y + q->cell / 2.0 + 4, n);
    fputs("</g>\n", to);
}

static void draw_names(const square *q)
{
    ky_scoring_label buffer;

    for (int c = 0; c < q->C; c += q->every) {
        double middle = (c + 0.5) * q->cell;

        fprintf(q->p->to, "<text class=\"tick end\" x=\"%d\" y=\"%.1f\">", q->left - 6,
                q->top + middle + 4);
        ky_page_short(q->p, name_of(q, c, &buffer), MOST_NAME);
        fprintf(q->p->to,
                "</text><text class=\"tick\" transform=\"translate(%.1f %d) "
                "rotate(-55)\">",
                q->left + middle + 3, q->top - 7);
        ky_page_short(q->p, name_of(q, c, &buffer), MOST_NAME);
        fputs("</text>\n", q->p->to);
    }
}

/* Units that the longest name takes, of those that are cut. */
static int room_for_names(const ky_scoring *s)
{
    ky_scoring_label buffer;
    size_t most = 2;

    for (int c = 0; c < s->s.C; c++) {
        size_t len = strlen(ky_scoring_name(s, c, &buffer));

        most = len > most ? len : most;
    }
    return 7 * (int)(most < MOST_NAME ? most : MOST_NAME) + 12;
}

static int cell_of(int C)
{
    return C <= 6 ? 56 : C <= 12 ? 42 : C <= 25 ? 30 : C <= 60 ? 14 : 840 / C;
}

void ky_chart_confusion(ky_page *p, const ky_scoring *s)
{
    int C = s->s.C, cell = cell_of(C), room = room_for_names(s);
    square q = { .p = p,
                 .s = s,
                 .C = C,
                 .cell = cell,
                 .left = room + 24,
                 .top = (int)(room * 0.82) + 30,
                 .every = cell >= 13 ? 1 : (13 + cell - 1) / cell,
                 .counts = cell >= 30 };
    double w = q.left + C * cell + 0.57 * room + 8, h = q.top + C * cell + 6;

    if (C > KY_CHART_CLASSES)
        return;
    ky_svg_begin(p, w, h, "Confusion matrix",
                 "%d classes; rows are what the samples are, columns what the model said; a fuller "
                 "shade is a "
                 "larger share of the row.",
                 C);
    fprintf(p->to,
            "<text class=\"name mid\" x=\"%g\" y=\"14\">said</text>"
            "<text class=\"name mid\" transform=\"translate(14 %g) rotate(-90)\">true</text>\n",
            q.left + C * cell / 2.0, q.top + C * cell / 2.0);
    draw_names(&q);
    for (int i = 0; i < C; i++)
        for (int j = 0; j < C; j++)
            if (count_at(&q, i, j) > 0)
                draw_cell(&q, i, j, count_at(&q, i, j) / s->s.each[i].support);
    fprintf(p->to, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", q.left,
            q.top, C * cell, C * cell);
    ky_svg_end(p);
}

/* ---- calibration ---- */

static void draw_bin(const ky_plot *plot, const ky_metrics_bin *b, int i)
{
    double left = ky_plot_x(plot, (double)i / KY_BINS),
           right = ky_plot_x(plot, (double)(i + 1) / KY_BINS);
    double x = ky_plot_x(plot, b->confidence), y = ky_plot_y(plot, b->right);
    ky_estimate e = ky_wilson(b->right * b->n, b->n);

    fprintf(plot->p->to,
            "<g><title>%.0f answers, confidence %.3f on average, %.3f right</title>"
            "<rect class=\"area\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>"
            "<path class=\"range\" d=\"M%.1f %.1fV%.1f\"/>"
            "<circle class=\"dot1\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/></g>\n",
            b->n, b->confidence, b->right, left + 0.5, y, right - left - 1, ky_plot_y(plot, 0) - y,
            x, ky_plot_y(plot, e.low), ky_plot_y(plot, e.high), x, y);
}

void ky_chart_calibration(ky_page *p, const ky_metrics *s)
{
    bool labels = s->truth == KY_OF_LABELS;
    const char *x_name = labels ? "probability of the label" : "confidence of what was said";
    ky_plot plot = { .p = p, .x = { .hi = 1 }, .y = { .hi = 1 }, .w = WIDTH, .h = 360 };
    ky_plot below = { .p = p, .x = { .hi = 1 }, .y = { .lo = 0, .hi = 1 }, .w = WIDTH, .h = 150 };

    ky_svg_begin(p, plot.w, plot.h, "Reliability diagram",
                 "The share that was right in each of %d bins of confidence, with its 95 %% "
                 "interval; on the dashed line both are the same.",
                 KY_BINS);
    ky_plot_axes(&plot, x_name, labels ? "share that has it" : "share that was right", 0);
    fprintf(p->to, "<path class=\"diag\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", plot.x.from, plot.y.from,
            plot.x.to, plot.y.to);
    for (int i = 0; i < KY_BINS; i++)
        if (s->bin[i].n > 0)
            draw_bin(&plot, &s->bin[i], i);
    ky_svg_end(p);
    for (int i = 0; i < KY_BINS; i++)
        widen(&below.y, s->bin[i].n);
    ky_svg_begin(p, below.w, below.h, "Answers of each confidence",
                 "How many answers fell into each bin of the diagram above.");
    ky_plot_axes(&below, x_name, "answers", 0);
    for (int i = 0; i < KY_BINS; i++)
        fprintf(p->to,
                "<rect class=\"dot1\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">"
                "<title>%.0f answers</title></rect>\n",
                ky_plot_x(&below, (double)i / KY_BINS) + 0.5, ky_plot_y(&below, s->bin[i].n),
                (below.x.to - below.x.from) / KY_BINS - 1,
                below.y.from - ky_plot_y(&below, s->bin[i].n), s->bin[i].n);
    ky_svg_end(p);
}

/* ---- numbers ---- */

static double truth_at(const ky_scoring *s, int i, int c)
{
    return (double)s->d.set.target[(size_t)i * (size_t)s->s.C + (size_t)c];
}

static double answer_at(const ky_scoring *s, int i, int c)
{
    return (double)s->p[(size_t)i * (size_t)s->s.C + (size_t)c];
}

void ky_chart_scatter(ky_page *p, const ky_scoring *s, int c)
{
    ky_plot plot = { .p = p, .x = nothing, .w = WIDTH, .h = 400 };
    int N = s->s.N, shown = N < MOST_POINTS ? N : MOST_POINTS;

    for (int i = 0; i < N; i++) {
        widen(&plot.x, truth_at(s, i, c));
        widen(&plot.x, answer_at(s, i, c));
    }
    if (!(plot.x.hi >= plot.x.lo))
        return;
    plot.y = plot.x;
    ky_svg_begin(p, plot.w, plot.h, "Answers against truths",
                 "%d of %d rows; on the dashed line the answer is the truth.", shown, N);
    ky_plot_axes(&plot, "true", "answered", 0);
    fprintf(p->to, "<path class=\"diag\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n<g class=\"cloud\">\n",
            ky_plot_x(&plot, plot.x.lo), ky_plot_y(&plot, plot.x.lo), ky_plot_x(&plot, plot.x.hi),
            ky_plot_y(&plot, plot.x.hi));
    for (int k = 0; k < shown; k++) {
        int i = (int)((int64_t)k * N / shown); /* evenly over all rows */

        if (isfinite(answer_at(s, i, c)))
            fprintf(p->to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n",
                    ky_plot_x(&plot, truth_at(s, i, c)), ky_plot_y(&plot, answer_at(s, i, c)));
    }
    fputs("</g>\n", p->to);
    ky_svg_end(p);
}

void ky_chart_residuals(ky_page *p, const ky_scoring *s, int c)
{
    ky_plot plot = { .p = p, .x = nothing, .y = { .lo = 0, .hi = 1 }, .w = WIDTH, .h = HEIGHT };
    double bars[BARS] = { 0 }, wide;

    for (int i = 0; i < s->s.N; i++)
        widen(&plot.x, fabs(answer_at(s, i, c) - truth_at(s, i, c)));
    if (!(plot.x.hi >= 0))
        return;
    plot.x.hi = plot.x.hi > 0 ? plot.x.hi : 1;
    plot.x.lo = -plot.x.hi;
    wide = 2 * plot.x.hi / BARS;
    for (int i = 0; i < s->s.N; i++) {
        double r = answer_at(s, i, c) - truth_at(s, i, c);
        int b = isfinite(r) ? (int)((r + plot.x.hi) / wide) : -1;

        if (b >= 0)
            widen(&plot.y, ++bars[b < BARS ? b : BARS - 1]);
    }
    double lo = plot.x.lo;
    ky_svg_begin(p, plot.w, plot.h, "Residuals",
                 "How many rows were answered so much too low (left) or too high (right).");
    ky_plot_axes(&plot, "answer - truth", "rows", 0);
    for (int b = 0; b < BARS; b++) {
        double x = ky_plot_x(&plot, lo + b * wide), y = ky_plot_y(&plot, bars[b]);

        fprintf(p->to,
                "<rect class=\"dot1\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">"
                "<title>%.0f rows</title></rect>\n",
                x + 0.5, y, ky_plot_x(&plot, lo + (b + 1) * wide) - x - 1, plot.y.from - y,
                bars[b]);
    }
    fprintf(p->to, "<path class=\"mark\" d=\"M%.1f %.1fV%.1f\"/>\n", ky_plot_x(&plot, 0),
            plot.y.from, plot.y.to);
    ky_svg_end(p);
}
