/*
 * Digits written by nobody: strokes through a few points a digit, bent, turned, slanted and drawn
 * with a pen of some width. Alone (as in MNIST), or moving over a frame without borders.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/simulate.h"

/* Edge and pixels of a glyph, as in MNIST. */
enum { EDGE = 28, PIXELS = EDGE * EDGE };

/* -- drawing a digit -- */

enum { MOST_POINTS = 12, MOST_STROKES = 3 };

/* A smooth line through points of the unit square, x to the right, y down. */
typedef struct stroke {
    int n;
    double at[MOST_POINTS][2];
} stroke;

static const stroke digits[10][MOST_STROKES] = {
    { { 9,
        { { .5, .05 },
          { .2, .2 },
          { .12, .5 },
          { .2, .8 },
          { .5, .95 },
          { .8, .8 },
          { .88, .5 },
          { .8, .2 },
          { .5, .05 } } } },
    { { 2, { { .32, .22 }, { .56, .05 } } }, { 2, { { .56, .05 }, { .54, .95 } } } },
    { { 7,
        { { .15, .25 },
          { .3, .08 },
          { .6, .05 },
          { .82, .25 },
          { .7, .5 },
          { .4, .75 },
          { .13, .95 } } },
      { 2, { { .13, .95 }, { .88, .93 } } } },
    { { 5, { { .18, .12 }, { .5, .04 }, { .8, .22 }, { .7, .42 }, { .42, .48 } } },
      { 5, { { .42, .48 }, { .75, .55 }, { .86, .75 }, { .6, .95 }, { .15, .88 } } } },
    { { 2, { { .62, .05 }, { .12, .65 } } },
      { 2, { { .12, .65 }, { .9, .63 } } },
      { 2, { { .68, .33 }, { .66, .97 } } } },
    { { 2, { { .82, .06 }, { .28, .07 } } },
      { 2, { { .28, .07 }, { .22, .46 } } },
      { 6,
        { { .22, .46 }, { .55, .37 }, { .84, .58 }, { .75, .86 }, { .45, .96 }, { .15, .86 } } } },
    { { 9,
        { { .72, .06 },
          { .38, .25 },
          { .16, .6 },
          { .24, .88 },
          { .52, .96 },
          { .8, .8 },
          { .76, .56 },
          { .48, .48 },
          { .2, .66 } } } },
    { { 2, { { .12, .07 }, { .88, .06 } } }, { 3, { { .88, .06 }, { .6, .5 }, { .42, .96 } } } },
    { { 11,
        { { .5, .48 },
          { .22, .28 },
          { .34, .07 },
          { .66, .07 },
          { .78, .28 },
          { .5, .48 },
          { .18, .72 },
          { .3, .94 },
          { .7, .94 },
          { .82, .72 },
          { .5, .48 } } } },
    { { 9,
        { { .8, .36 },
          { .55, .5 },
          { .25, .42 },
          { .22, .18 },
          { .5, .05 },
          { .78, .18 },
          { .8, .4 },
          { .74, .7 },
          { .6, .96 } } } },
};

/* How one hand writes one digit: the unit square to pixels, and the pen. */
typedef struct hand {
    double a[2][2], to[2]; /* pixel = to + a (point - centre) */
    double radius, ink;
} hand;

static hand draw_hand(ky_rng *rng)
{
    double turn = 0.03 * ky_rng_normal(rng), slant = 0.2 * ky_rng_normal(rng);
    double wide = ky_sim_between(rng, 10, 17), high = ky_sim_between(rng, 17, 21);
    double c = ky_sim_wave(turn + 0.25), s = ky_sim_wave(turn);

    return (hand){ .a = { { c * wide, -(s + slant) * high }, { s * wide, c * high } },
                   .to = { ky_sim_between(rng, 12.5, 15.5), ky_sim_between(rng, 12.5, 15.5) },
                   .radius = ky_sim_between(rng, 0.7, 1.6),
                   .ink = ky_sim_between(rng, 200, 255) };
}

/* Where the pen is at u in [0,1] between points 1 and 2 of four (Catmull and Rom 1974). */
static double between_points(const double p[4], double u)
{
    return p[1] + 0.5 * u *
                      (p[2] - p[0] +
                       u * (2 * p[0] - 5 * p[1] + 4 * p[2] - p[3] +
                            u * (3 * (p[1] - p[2]) + p[3] - p[0])));
}

/* A straight piece of line from p to q, over what is there already. */
static void draw_line(const hand *h, const double p[2], const double q[2], float *x)
{
    double d[2] = { q[0] - p[0], q[1] - p[1] }, length2 = d[0] * d[0] + d[1] * d[1];
    double reach = h->radius + 1;
    int low[2], high[2];

    for (int k = 0; k < 2; k++) {
        low[k] = (int)floor(fmin(p[k], q[k]) - reach);
        high[k] = (int)floor(fmax(p[k], q[k]) + reach);
        low[k] = low[k] > 0 ? low[k] : 0;
        high[k] = high[k] < EDGE - 1 ? high[k] : EDGE - 1;
    }
    for (int r = low[1]; r <= high[1]; r++)
        for (int c = low[0]; c <= high[0]; c++) {
            double to[2] = { c + 0.5 - p[0], r + 0.5 - p[1] };
            double u = length2 > 0 ? (to[0] * d[0] + to[1] * d[1]) / length2 : 0;

            u = u < 0 ? 0 : u > 1 ? 1 : u;
            to[0] -= u * d[0];
            to[1] -= u * d[1];
            double ink = h->radius + 0.5 - sqrt(to[0] * to[0] + to[1] * to[1]);
            float v = (float)(h->ink * (ink < 0 ? 0 : ink > 1 ? 1 : ink));

            if (v > x[r * EDGE + c])
                x[r * EDGE + c] = v;
        }
}

static void draw_stroke(const hand *h, const stroke *s, ky_rng *rng, float *x)
{
    enum { PIECES = 6 };
    double at[2][MOST_POINTS + 2], last[2] = { 0, 0 };

    for (int i = 0; i < s->n; i++) {
        double u = s->at[i][0] - 0.5 + 0.025 * ky_rng_normal(rng);
        double v = s->at[i][1] - 0.5 + 0.025 * ky_rng_normal(rng);

        for (int k = 0; k < 2; k++)
            at[k][i + 1] = h->to[k] + h->a[k][0] * u + h->a[k][1] * v;
    }
    for (int k = 0; k < 2; k++) {
        at[k][0] = at[k][1];
        at[k][s->n + 1] = at[k][s->n];
        last[k] = at[k][1];
    }
    for (int i = 0; i + 1 < s->n; i++)
        for (int piece = 1; piece <= PIECES; piece++) {
            double next[2];

            for (int k = 0; k < 2; k++)
                next[k] = between_points(at[k] + i, (double)piece / PIECES);
            draw_line(h, last, next, x);
            memcpy(last, next, sizeof last);
        }
}

static void draw_digit(int digit, ky_rng *rng, float *x)
{
    hand h = draw_hand(rng);

    for (int i = 0; i < MOST_STROKES && digits[digit][i].n > 0; i++)
        draw_stroke(&h, &digits[digit][i], rng, x);
}

static void add_noise(double noise, ky_rng *rng, float *x, size_t n)
{
    for (size_t i = 0; noise > 0 && i < n; i++)
        x[i] += (float)(noise * ky_rng_normal(rng));
}

static void draw_image(const ky_sim *s, const ky_sim_row *row, float *x)
{
    draw_digit(row->label, row->rng, x);
    add_noise(s->noise, row->rng, x, PIXELS);
}

static const char *const digit_names[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };

const ky_sim_kind ky_sim_digits = {
    .name = "digits",
    .brief = "images of drawn digits, 28 x 28",
    .draw = draw_image,
    .classes = digit_names,
    .n_classes = 10,
    .type = KY_H5_U8,
    .rank = 3,
    .shape = { EDGE, EDGE, 1 },
    .rows = { 6000, 1000 },
};

/* -- digits that move -- */

/* Glyphs of somebody's file, a part each. */
typedef struct glyphs {
    size_t n[KY_SIM_PARTS];
    uint8_t *pixels[KY_SIM_PARTS]; /* [n,28,28], behind this struct */
} glyphs;

enum { MOST_GLYPHS = 100000 };

static int check_glyphs(const ky_sim *s, ky_h5 *f, const char *path, size_t *ret, ky_err *err)
{
    ky_h5_info i;
    int rc = ky_h5_stat(f, path, &i, err);

    if (rc < 0)
        return rc;
    if (i.type != KY_H5_U8 || i.rank < 3 || i.dims[0] == 0 || i.dims[1] != EDGE ||
        i.dims[2] != EDGE || (i.rank > 3 && i.dims[3] != 1) || i.rank > 4)
        return ky_fail(err, KY_ESHAPE, "'%s': '%s' must hold bytes [N,%d,%d,1], a glyph a row",
                       s->digits, path + 1, EDGE, EDGE);
    *ret = i.dims[0] < MOST_GLYPHS ? (size_t)i.dims[0] : MOST_GLYPHS;
    return KY_OK;
}

static int read_glyphs(ky_sim *s, ky_err *err)
{
    static const char *const paths[KY_SIM_PARTS] = { "/X_train", "/X_test" };
    size_t n[KY_SIM_PARTS];
    glyphs *g = NULL;
    ky_h5 *f;
    int rc;

    if (s->digits == NULL)
        return KY_OK;
    if ((rc = ky_h5_open(s->digits, &f, err)) < 0)
        return rc;
    for (int p = 0; rc == KY_OK && p < KY_SIM_PARTS; p++)
        rc = check_glyphs(s, f, paths[p], &n[p], err);
    if (rc == KY_OK && (g = malloc(sizeof *g + (n[0] + n[1]) * PIXELS)) == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory for %zu glyphs", n[0] + n[1]);
    for (int p = 0; rc == KY_OK && p < KY_SIM_PARTS; p++) {
        g->n[p] = n[p];
        g->pixels[p] = (uint8_t *)(g + 1) + (p > 0 ? n[0] * PIXELS : 0);
        rc = ky_h5_read_rows(f, paths[p], KY_H5_U8, 0, n[p], g->pixels[p], err);
    }
    ky_h5_close(f);
    s->own = g;
    return rc;
}

/* One glyph: somebody's, or drawn. */
static void take_glyph(const ky_sim *s, const ky_sim_row *row, float *x)
{
    const glyphs *g = s->own;

    memset(x, 0, PIXELS * sizeof *x);
    if (g == NULL) {
        draw_digit((int)ky_rng_below(row->rng, 10), row->rng, x);
        return;
    }
    const uint8_t *from =
        g->pixels[row->part] + PIXELS * (size_t)ky_rng_below(row->rng, g->n[row->part]);
    for (int i = 0; i < PIXELS; i++)
        x[i] = from[i];
}

/* Mean over the part of the row [from,to) of a line of EDGE values, `step` apart. */
static double mean_over(const float *x, int step, double from, double to)
{
    double sum = 0;

    for (int i = (int)from; i < EDGE && i < to; i++)
        sum += x[i * step] * (fmin(i + 1, to) - fmax(i, from));
    return sum / (to - from);
}

/* A glyph as an image of `edge` pixels, each the mean of what it covers. */
static void shrink(const float *x, int edge, float *ret)
{
    double scale = (double)EDGE / edge;
    float lines[EDGE * EDGE];

    for (int r = 0; r < EDGE; r++)
        for (int c = 0; c < edge; c++)
            lines[r * edge + c] = (float)mean_over(x + r * EDGE, 1, c * scale, (c + 1) * scale);
    for (int r = 0; r < edge; r++)
        for (int c = 0; c < edge; c++)
            ret[r * edge + c] = (float)mean_over(lines + c, edge, r * scale, (r + 1) * scale);
}

/*
 * Each motion stands beside its reverse. The frame has no borders (what leaves it comes in on the
 * other side) and an object starts anywhere in it, each place as likely: so in every single frame
 * it is anywhere, whatever the motion, and a set of frames without their order tells a motion from
 * all but its reverse.
 */
typedef struct motion {
    double x, y; /* of a straight line */
    double turn; /* of a circle: +1 clockwise */
} motion;

static const motion motions[] = {
    { 1, 0, 0 }, { -1, 0, 0 }, { 0, 1, 0 }, { 0, -1, 0 },
    { 0, 0, 1 }, { 0, 0, -1 }, { 1, 1, 0 }, { -1, -1, 0 },
};

static const char *const motion_names[] = { "right",     "left",          "down",    "up",
                                            "clockwise", "anticlockwise", "falling", "rising" };

/* Where an object is, from where it began; lengths in edges of the frame. */
typedef struct flight {
    const motion *m;
    double start[2], speed, radius, phase;
} flight;

static flight draw_flight(const motion *m, ky_rng *rng)
{
    flight f = { .m = m };

    f.start[0] = ky_rng_uniform(rng);
    f.start[1] = ky_rng_uniform(rng);
    f.speed = m->turn != 0 ? ky_sim_between(rng, 0.07, 0.11) : ky_sim_between(rng, 0.06, 0.11);
    f.radius = ky_sim_between(rng, 0.15, 0.25);
    f.phase = ky_rng_uniform(rng);
    return f;
}

static void place_at(const flight *f, int t, int size, int ret[2])
{
    double far = f->speed * t, at[2] = { f->start[0] + f->m->x * far, f->start[1] + f->m->y * far };

    if (f->m->turn != 0) { /* `speed` turns a frame */
        double a = f->phase + f->m->turn * far;

        at[0] += f->radius * ky_sim_wave(a + 0.25);
        at[1] += f->radius * ky_sim_wave(a);
    }
    for (int k = 0; k < 2; k++)
        ret[k] = (int)((at[k] - floor(at[k])) * size) % size;
}

static void put_glyph(const float *glyph, int edge, const int at[2], int size, float *frame)
{
    for (int r = 0; r < edge; r++)
        for (int c = 0; c < edge; c++) {
            float *to = frame + (at[1] + r) % size * size + (at[0] + c) % size;

            if (glyph[r * edge + c] > *to)
                *to = glyph[r * edge + c];
        }
}

static void draw_video(const ky_sim *s, const ky_sim_row *row, float *x)
{
    int edge = s->size * 7 / 16;
    size_t frame = (size_t)s->size * (size_t)s->size;
    float whole[PIXELS], glyph[PIXELS];

    edge = edge < EDGE ? edge : EDGE;
    for (int k = 0; k < s->objects; k++) {
        flight f = draw_flight(&motions[row->label], row->rng);

        take_glyph(s, row, whole);
        shrink(whole, edge, glyph);
        for (int t = 0; t < s->steps; t++) {
            int at[2];

            place_at(&f, t, s->size, at);
            put_glyph(glyph, edge, at, s->size, x + (size_t)t * frame);
        }
    }
    add_noise(s->noise, row->rng, x, s->values);
}

const ky_sim_kind ky_sim_moving_digits = {
    .name = "moving-digits",
    .brief = "videos of a digit that moves; the class is how it moves",
    .begin = read_glyphs,
    .draw = draw_video,
    .classes = motion_names,
    .n_classes = sizeof motions / sizeof *motions,
    .some_classes = 6,
    .type = KY_H5_U8,
    .rank = 4,
    .shape = { KY_SIM_STEPS, KY_SIM_SIZE, KY_SIM_SIZE, 1 },
    .steps = 10,
    .least_steps = 2,
    .size = 32,
    .least_size = 16,
    .objects = 2,
    .digits = true,
    .rows = { 8000, 1000 },
};
