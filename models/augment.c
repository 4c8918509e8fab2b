#include "models/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/rng.h"

enum { MOST_SHIFT = 1 << 20 };

/* ---- options ---- */

static int take_word(const char *word, size_t len, ky_augment *a, unsigned *seen, ky_err *err)
{
    static const char *const names[] = { "jitter", "scale", "shift" };
    const char *equals = memchr(word, '=', len);
    size_t n = equals != NULL ? (size_t)(equals - word) : len;
    int shown = len > 60 ? 60 : (int)len;
    char *end = NULL;
    double v;

    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) != n || memcmp(names[i], word, n) != 0)
            continue;
        v = equals != NULL ? strtod(equals + 1, &end) : -1;
        if (end != word + len || n + 1 >= len || !(v >= 0 && v <= (i == 2 ? MOST_SHIFT : 100)) ||
            (i == 2 && v != floor(v)) || (*seen & 1u << i) != 0)
            return ky_fail(err, KY_EINVAL, "'%.*s': %s wants one %s, from 0", shown, word, names[i],
                           i == 2 ? "whole number" : "number");
        *seen |= 1u << i;
        if (i == 2)
            a->shift = (int)v;
        else
            *(i == 0 ? &a->jitter : &a->scale) = v;
        return KY_OK;
    }
    return ky_fail(err, KY_EINVAL, "'%.*s' is none of jitter=X, scale=X, shift=N", shown, word);
}

int ky_augment_parse(const char *text, ky_augment *ret, ky_err *err)
{
    ky_augment a = { 0 };
    unsigned seen = 0;

    for (bool more = true; more;) {
        size_t len = strcspn(text, ",");
        int rc = take_word(text, len, &a, &seen, err);

        if (rc < 0)
            return rc;
        more = text[len] != 0;
        text += len + more;
    }
    *ret = a;
    return KY_OK;
}

bool ky_augment_any(const ky_augment *a)
{
    return a->jitter > 0 || a->scale > 0 || a->shift > 0;
}

/* ---- rows ---- */

int ky_augmenter_init(ky_augmenter *a, const ky_augment *by, const ky_model *m, int T,
                      const ky_moments *moments, ky_err *err)
{
    int d[KY_MAX_RANK], rank;
    const char *name;

    rank = ky_model_input(m, 0, T, d, &name);
    *a = (ky_augmenter){ .by = *by,
                         .m = m,
                         .moments = moments,
                         .frames = 1,
                         .height = 1,
                         .width = 1,
                         .channels = (size_t)d[rank - 1] };
    if (m->info.tokens > 0)
        return ky_fail(err, KY_EINVAL,
                       "tokens cannot be augmented: the next number is another word");
    if (rank == 2)
        a->height = (size_t)d[0];
    for (int i = 0; rank > 3 && i < rank - 3; i++)
        a->frames *= (size_t)d[i];
    if (rank >= 3) {
        a->height = (size_t)d[rank - 3];
        a->width = (size_t)d[rank - 2];
    }
    if (by->shift > 0 && (size_t)by->shift >= a->height)
        return ky_fail(err, KY_EINVAL,
                       rank == 1 ? "vectors have nothing to shift along"
                                 : "rows cannot be shifted by up to %d: they have %zu %s",
                       by->shift, a->height, rank == 2 ? "steps" : "rows of pixels");
    return KY_OK;
}

/* Steps that are there: those that are not stand behind. */
static size_t real_steps(const ky_augmenter *a, const float *x)
{
    size_t n = a->height;

    while (a->width == 1 && n > 0 &&
           ky_step_is_masked(a->m, x + (n - 1) * a->channels, a->channels))
        n--;
    return n;
}

/* -most ... most */
static ptrdiff_t draw_shift(ky_rng *rng, int most)
{
    return (ptrdiff_t)ky_rng_below(rng, 2 * (uint64_t)most + 1) - most;
}

/* Where `at`, moved, comes from among n. */
static size_t moved_from(size_t at, ptrdiff_t by, size_t n)
{
    ptrdiff_t from = (ptrdiff_t)at - by;

    return from < 0 ? 0 : (size_t)from < n ? (size_t)from : n - 1;
}

static void change_values(const ky_augmenter *a, ky_rng *rng, double by, const float *x, float *y)
{
    const ky_moments *s = a->moments;

    for (size_t c = 0; c < a->channels; c++) {
        double v = s->mean[c] + ((double)x[c] - s->mean[c]) * by;

        if (a->by.jitter > 0)
            v += a->by.jitter * sqrt(s->squares[c] / s->n) * ky_rng_normal(rng);
        y[c] = (float)v;
    }
}

void ky_augment_row(const ky_augmenter *a, uint64_t seed, const float *x, float *y)
{
    size_t line = a->width * a->channels, frame = a->height * line, real = real_steps(a, x);
    ptrdiff_t down = 0, right = 0;
    double by = 1;
    ky_rng rng;

    ky_rng_seed(&rng, seed);
    if (a->by.scale > 0)
        by += a->by.scale * ky_rng_normal(&rng);
    if (a->by.shift > 0) {
        down = draw_shift(&rng, a->by.shift);
        right = a->width > 1 ? draw_shift(&rng, a->by.shift) : 0;
    }
    for (size_t f = 0; f < a->frames; f++, x += frame, y += frame) {
        for (size_t h = 0; h < real; h++)
            for (size_t w = 0; w < a->width; w++)
                change_values(a, &rng, by,
                              x + moved_from(h, down, real) * line +
                                  moved_from(w, right, a->width) * a->channels,
                              y + h * line + w * a->channels);
        memcpy(y + real * line, x + real * line, (a->height - real) * line * sizeof *y);
    }
}
