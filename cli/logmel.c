#include "cli/logmel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double floor_power = 1e-6, pi = 3.14159265358979323846;

struct ky_logmel {
    int bands, fft, hop;
    double *window;    /* [fft] */
    double *turn;      /* [fft/2,2] cos and sin of 2 pi k/fft */
    double *re, *im;   /* [fft] */
    double *weight;    /* [bands,fft/2+1] */
    int *first, *last; /* [bands] frequencies whose weight is not 0, last excluded */
};

static double mel_of(double hz)
{
    return 2595 * log10(1 + hz / 700);
}

static double hz_of(double mel)
{
    return 700 * (pow(10, mel / 2595) - 1);
}

/* The triangle of each band over the frequencies. */
static void draw_bands(ky_logmel *m, double rate_hz, double low_hz, double high_hz)
{
    int n = m->fft / 2 + 1;
    double low = mel_of(low_hz), step = (mel_of(high_hz) - low) / (m->bands + 1);

    for (int b = 0; b < m->bands; b++) {
        double left = hz_of(low + step * b), top = hz_of(low + step * (b + 1)),
               right = hz_of(low + step * (b + 2));

        m->first[b] = n;
        for (int k = 0; k < n; k++) {
            double f = k * rate_hz / m->fft;
            double rise = (f - left) / (top - left), fall = (right - f) / (right - top);
            double w = rise < fall ? rise : fall;

            if (w <= 0)
                continue;
            m->weight[b * n + k] = w;
            m->first[b] = k < m->first[b] ? k : m->first[b];
            m->last[b] = k + 1;
        }
    }
}

ky_logmel *ky_logmel_new(int bands, int fft, int hop, double rate_hz, double low_hz, double high_hz)
{
    ky_logmel *m = calloc(1, sizeof *m);
    size_t n = (size_t)fft;

    if (m == NULL)
        return NULL;
    *m = (ky_logmel){ .bands = bands, .fft = fft, .hop = hop };
    m->window = calloc(n, sizeof *m->window);
    m->turn = calloc(n, sizeof *m->turn);
    m->re = calloc(n, sizeof *m->re);
    m->im = calloc(n, sizeof *m->im);
    m->weight = calloc((size_t)bands * (n / 2 + 1), sizeof *m->weight);
    m->first = calloc((size_t)bands, sizeof *m->first);
    m->last = calloc((size_t)bands, sizeof *m->last);
    if (m->window == NULL || m->turn == NULL || m->re == NULL || m->im == NULL ||
        m->weight == NULL || m->first == NULL || m->last == NULL) {
        ky_logmel_free(m);
        return NULL;
    }
    for (int i = 0; i < fft; i++)
        m->window[i] = 0.5 - 0.5 * cos(2 * pi * i / (fft - 1));
    for (int k = 0; k < fft / 2; k++) {
        m->turn[2 * k] = cos(2 * pi * k / fft);
        m->turn[2 * k + 1] = sin(2 * pi * k / fft);
    }
    draw_bands(m, rate_hz, low_hz, high_hz);
    return m;
}

void ky_logmel_free(ky_logmel *m)
{
    if (m == NULL)
        return;
    free(m->window);
    free(m->turn);
    free(m->re);
    free(m->im);
    free(m->weight);
    free(m->first);
    free(m->last);
    free(m);
}

size_t ky_logmel_frames(const ky_logmel *m, size_t n)
{
    return n <= (size_t)m->fft ? 1 : 1 + (n - (size_t)m->fft) / (size_t)m->hop;
}

/* Element i changes places with the one whose number has the bits of i back to front. */
static void reverse_bits(ky_logmel *m)
{
    for (int i = 1, j = 0; i < m->fft; i++) {
        int bit = m->fft >> 1;

        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            double t = m->re[i];

            m->re[i] = m->re[j];
            m->re[j] = t; /* the imaginary parts are 0 yet */
        }
    }
}

/* The discrete Fourier transform of re, in place (Cooley and Tukey 1965, radix 2). */
static void transform(ky_logmel *m)
{
    memset(m->im, 0, (size_t)m->fft * sizeof *m->im);
    reverse_bits(m);
    for (int half = 1; half < m->fft; half *= 2)
        for (int at = 0; at < m->fft; at += 2 * half)
            for (int k = 0; k < half; k++) {
                int a = at + k, b = a + half, turn = k * (m->fft / (2 * half));
                double c = m->turn[2 * turn], s = -m->turn[2 * turn + 1];
                double re = m->re[b] * c - m->im[b] * s, im = m->re[b] * s + m->im[b] * c;

                m->re[b] = m->re[a] - re;
                m->im[b] = m->im[a] - im;
                m->re[a] += re;
                m->im[a] += im;
            }
}

void ky_logmel_run(ky_logmel *m, const float *x, size_t n, float *y)
{
    size_t frames = ky_logmel_frames(m, n), bins = (size_t)m->fft / 2 + 1;

    for (size_t t = 0; t < frames; t++) {
        size_t from = t * (size_t)m->hop;

        for (size_t i = 0; i < (size_t)m->fft; i++)
            m->re[i] = from + i < n ? (double)x[from + i] * m->window[i] : 0;
        transform(m);
        for (int b = 0; b < m->bands; b++) {
            double sum = 0;

            for (int k = m->first[b]; k < m->last[b]; k++)
                sum += m->weight[(size_t)b * bins + (size_t)k] *
                       (m->re[k] * m->re[k] + m->im[k] * m->im[k]);
            y[t * (size_t)m->bands + (size_t)b] = (float)log(sum + floor_power);
        }
    }
}

float ky_logmel_silence(void)
{
    return (float)log(floor_power);
}
