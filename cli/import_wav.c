/*
 * Sound: RIFF WAVE files with whole numbers of 8, 16, 24 or 32 bits or floats of 32 or 64, any
 * number of channels, which are averaged. Rows are the samples in [-1,1], or log-mel features.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/import.h"
#include "cli/logmel.h"

enum {
    MOST_CHANNELS = 64,
    MOST_SAMPLES = 1 << 28, /* of a file */
    PIECE = 1 << 16,        /* bytes read at a time: what a header claims is not believed */
    PCM = 1,
    FLOATS = 3,
    EXTENSIBLE = 0xfffe,
};

typedef struct wave {
    ky_bytes b;
    int form, channels, bits;
    uint32_t rate_hz;
} wave;

/* Kept from file to file. */
typedef struct sound {
    uint32_t rate_hz;
    char first[256]; /* the file that said so */
    float *x;        /* [n] mono */
    size_t n, cap;
    ky_logmel *mel;
    float *y; /* [frames,bands] */
    size_t y_cap;
} sound;

static void free_sound(void *own)
{
    sound *s = own;

    ky_logmel_free(s->mel);
    free(s->x);
    free(s->y);
    free(s);
}

static uint32_t number(const unsigned char *p, int bytes)
{
    uint32_t v = 0;

    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

/* -- the file --------------------------------------------------------------------------------- */

static int bad(const wave *w, const char *what, ky_err *err)
{
    return ky_fail(err, KY_EFORMAT, "'%s': %s", w->b.path, what);
}

static int skip(wave *w, uint64_t n, ky_err *err)
{
    unsigned char piece[4096];
    int rc = KY_OK;

    for (; rc == KY_OK && n > 0;) {
        size_t now = n < sizeof piece ? (size_t)n : sizeof piece;

        rc = ky_bytes_read_all(&w->b, piece, now, err);
        n -= now;
    }
    return rc;
}

static int read_format(wave *w, uint32_t size, ky_err *err)
{
    unsigned char p[40];
    size_t n = size < sizeof p ? size : sizeof p;
    int rc;

    if (size < 16)
        return bad(w, "its format chunk is too short", err);
    if ((rc = ky_bytes_read_all(&w->b, p, n, err)) < 0 || (rc = skip(w, size - n, err)) < 0)
        return rc;
    w->form = (int)number(p, 2);
    w->channels = (int)number(p + 2, 2);
    w->rate_hz = number(p + 4, 4);
    w->bits = (int)number(p + 14, 2);
    if (w->form == EXTENSIBLE && n >= 26)
        w->form = (int)number(p + 24, 2); /* the first bytes of the subformat */
    if (w->channels < 1 || w->channels > MOST_CHANNELS || w->rate_hz == 0)
        return ky_fail(err, KY_EUNSUPPORTED, "'%s': %d channels at %u Hz", w->b.path, w->channels,
                       (unsigned)w->rate_hz);
    if (!(w->form == PCM && (w->bits == 8 || w->bits == 16 || w->bits == 24 || w->bits == 32)) &&
        !(w->form == FLOATS && (w->bits == 32 || w->bits == 64)))
        return ky_fail(err, KY_EUNSUPPORTED,
                       "'%s': sound of form %d with %d bits; read are PCM of 8 to 32 bits and "
                       "floats",
                       w->b.path, w->form, w->bits);
    if (number(p + 12, 2) != (uint32_t)(w->channels * w->bits / 8))
        return bad(w, "the sizes in its format chunk contradict each other", err);
    return KY_OK;
}

/* Up to the samples; *ret_n bytes of them are announced. */
static int find_samples(wave *w, uint32_t *ret_n, ky_err *err)
{
    unsigned char p[12];
    int rc = ky_bytes_read_all(&w->b, p, 12, err);

    if (rc == KY_OK && (memcmp(p, "RIFF", 4) != 0 || memcmp(p + 8, "WAVE", 4) != 0))
        return bad(w, "no RIFF WAVE file", err);
    while (rc == KY_OK && (rc = ky_bytes_read_all(&w->b, p, 8, err)) == KY_OK) {
        uint32_t size = number(p + 4, 4);

        if (memcmp(p, "data", 4) == 0) {
            *ret_n = size;
            return w->bits > 0 ? KY_OK : bad(w, "samples before their format", err);
        }
        rc = memcmp(p, "fmt ", 4) == 0 ? read_format(w, size, err) : skip(w, size, err);
        if (rc == KY_OK && size % 2 == 1)
            rc = skip(w, 1, err);
    }
    return rc;
}

static double value_of(const wave *w, const unsigned char *p)
{
    uint64_t wide;
    float f;
    double d;

    if (w->form == FLOATS && w->bits == 32) {
        uint32_t v = number(p, 4);

        memcpy(&f, &v, 4);
        return (double)f;
    }
    if (w->form == FLOATS) {
        wide = (uint64_t)number(p + 4, 4) << 32 | number(p, 4);
        memcpy(&d, &wide, 8);
        return d;
    }
    if (w->bits == 8)
        return ((double)p[0] - 128) / 128;
    /* The highest byte is moved to the top, where its sign is the number's. */
    return (double)(int32_t)(number(p, w->bits / 8) << (32 - w->bits)) / 2147483648.0;
}

static int add_sample(const wave *w, sound *s, const unsigned char *p, ky_err *err)
{
    double sum = 0;

    if (s->n == s->cap) {
        size_t cap = s->cap > 0 ? 2 * s->cap : 1 << 14;
        float *more = s->n < MOST_SAMPLES ? realloc(s->x, cap * sizeof *more) : NULL;

        if (more == NULL)
            return ky_fail(err, KY_EFULL, "'%s': over %zu samples, or no memory", w->b.path, s->n);
        s->x = more;
        s->cap = cap;
    }
    for (int c = 0; c < w->channels; c++)
        sum += value_of(w, p + c * (w->bits / 8));
    s->x[s->n] = (float)(sum / w->channels);
    if (!isfinite(s->x[s->n]))
        return ky_fail(err, KY_EFORMAT, "'%s': sample %zu is not finite", w->b.path, s->n);
    s->n++;
    return KY_OK;
}

/* All samples; those that were written to a pipe announce more than there are. */
static int read_samples(wave *w, sound *s, uint32_t bytes, ky_err *err)
{
    size_t block = (size_t)(w->channels * w->bits / 8), got = 1;
    bool open = bytes == 0 || bytes >= 0xffffff00u;
    unsigned char piece[PIECE];
    uint64_t left = open ? UINT64_MAX : bytes;
    int rc = KY_OK;

    for (s->n = 0; rc == KY_OK && left >= block && got > 0;) {
        size_t wanted = PIECE / block * block;

        wanted = left < wanted ? (size_t)(left / block * block) : wanted;
        if ((rc = ky_bytes_read(&w->b, piece, wanted, &got, err)) < 0)
            break;
        if (!open && got < wanted)
            return ky_fail(err, KY_EFORMAT, "'%s' ends early: %llu bytes are missing", w->b.path,
                           (unsigned long long)(left - got));
        for (size_t at = 0; rc == KY_OK && at + block <= got; at += block)
            rc = add_sample(w, s, piece + at, err);
        left -= got;
    }
    if (rc == KY_OK && s->n == 0)
        return bad(w, "not one sample", err);
    return rc;
}

static int read_wave(const char *path, sound *s, uint32_t *ret_rate, ky_err *err)
{
    wave w = { .bits = 0 };
    uint32_t bytes = 0;
    int rc = ky_bytes_open(path, &w.b, err);

    if (rc == KY_OK)
        rc = find_samples(&w, &bytes, err);
    if (rc == KY_OK)
        rc = read_samples(&w, s, bytes, err);
    *ret_rate = w.rate_hz;
    ky_bytes_close(&w.b);
    return rc;
}

/* -- rows ------------------------------------------------------------------------------------- */

/* All files have one rate: nothing is resampled. */
static int check_rate(const ky_import *im, sound *s, const char *path, uint32_t rate_hz,
                      ky_err *err)
{
    const ky_import_opts *o = im->o;
    double high = o->high_hz > 0 ? o->high_hz : rate_hz / 2.0;

    if (s->rate_hz == rate_hz)
        return KY_OK;
    if (s->rate_hz != 0)
        return ky_fail(err, KY_EUNSUPPORTED, "'%s' has %u samples a second, '%s' %u", path,
                       (unsigned)rate_hz, s->first, (unsigned)s->rate_hz);
    s->rate_hz = rate_hz;
    snprintf(s->first, sizeof s->first, "%s", path);
    if (o->bands == 0)
        return KY_OK;
    if (!(o->low_hz < high) || high > rate_hz / 2.0)
        return ky_fail(err, KY_EINVAL,
                       "bands from %g to %g Hz: must rise, up to half of the %u samples a second",
                       o->low_hz, high, (unsigned)rate_hz);
    s->mel = ky_logmel_new((int)o->bands, (int)o->fft, (int)(o->hop > 0 ? o->hop : o->fft / 2),
                           rate_hz, o->low_hz, high);
    return s->mel != NULL
               ? KY_OK
               : ky_fail(err, KY_ENOMEM, "no memory for %lld bands", (long long)o->bands);
}

/* The sound as features: *steps of them. With --frames, that many: cut, or silence behind. */
static int make_features(const ky_import *im, sound *s, int *steps, ky_err *err)
{
    size_t frames = ky_logmel_frames(s->mel, s->n), bands = (size_t)im->o->bands;
    size_t wanted = im->o->frames > 0 ? (size_t)im->o->frames : frames;
    size_t rows = frames > wanted ? frames : wanted;

    if (rows * bands > s->y_cap) {
        float *more = realloc(s->y, rows * bands * sizeof *more);

        if (more == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory for %zu frames", rows);
        s->y = more;
        s->y_cap = rows * bands;
    }
    ky_logmel_run(s->mel, s->x, s->n, s->y);
    for (size_t i = frames * bands; i < wanted * bands; i++)
        s->y[i] = ky_logmel_silence();
    *steps = (int)wanted;
    return KY_OK;
}

static int give(const ky_import *im, sound *s, const ky_import_file *f, ky_sink *sink, ky_err *err)
{
    ky_import_row row = {
        .part = f->part, .x = s->x, .steps = (int)s->n, .from_us = KY_NONE, .ts_us = KY_NONE
    };
    char *label = NULL, *group = NULL;
    int rc = KY_OK;

    if (im->o->bands > 0 && ky_sink_pass(sink) == KY_IMPORT_SCAN) {
        row.x = NULL;
        row.steps =
            (int)(im->o->frames > 0 ? im->o->frames : (int64_t)ky_logmel_frames(s->mel, s->n));
    } else if (im->o->bands > 0) {
        rc = make_features(im, s, &row.steps, err);
        row.x = s->y;
    }
    if (rc == KY_OK)
        rc = ky_import_label(im, f, &label, &group, err);
    row.label = label;
    row.group = group;
    if (rc == KY_OK)
        rc = ky_sink_row(sink, &row, err);
    free(label);
    free(group);
    return rc < 0 ? ky_context(err, rc, "'%s'", f->path) : KY_OK;
}

static int read_wave_file(const ky_import *im, sound *s, const ky_import_file *f, ky_sink *sink,
                          ky_err *err)
{
    const uint64_t dims[] = { im->o->bands > 0 ? (uint64_t)im->o->frames : 0,
                              im->o->bands > 0 ? (uint64_t)im->o->bands : 1 };
    uint32_t rate_hz = 0;
    int rc = read_wave(f->path, s, &rate_hz, err);

    if (rc == KY_OK)
        rc = check_rate(im, s, f->path, rate_hz, err);
    if (rc == KY_OK)
        rc = ky_sink_shape(sink, KY_H5_F32, 2, dims, err);
    return rc == KY_OK ? give(im, s, f, sink, err) : rc;
}

static int check_opts(const ky_import_opts *o, ky_err *err)
{
    if (o->bands == 0)
        return KY_OK;
    if (o->fft < 16 || (o->fft & (o->fft - 1)) != 0)
        return ky_fail(err, KY_EINVAL, "--fft %lld: must be a power of two from 16",
                       (long long)o->fft);
    return KY_OK;
}

static int read_wav(ky_import *im, ky_sink *sink, ky_err *err)
{
    int rc = check_opts(im->o, err);
    ky_h5 *f = ky_sink_file(sink);

    if (rc == KY_OK && im->own == NULL && (im->own = calloc(1, sizeof(sound))) == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory for sound");
    for (int i = 0; rc == KY_OK && i < im->files->n; i++)
        rc = read_wave_file(im, im->own, &im->files->file[i], sink, err);
    if (rc == KY_OK && f != NULL)
        rc = ky_h5_set_attr_num(f, "/", "sample_rate_hz", ((sound *)im->own)->rate_hz, err);
    return rc;
}

static bool is_wav(const char *base, const char *head, size_t n)
{
    (void)base;
    return n >= 12 && memcmp(head, "RIFF", 4) == 0 && memcmp(head + 8, "WAVE", 4) == 0;
}

const ky_format ky_import_wav = {
    "wav", "sound, a file a row", is_wav, read_wav, free_sound, false
};
