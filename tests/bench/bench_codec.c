/* Samples decoded a second, one thread, beside the same bytes only walked over. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "connectors/codec.h"
#include "connectors/jsonscan.h"
#include "models/clock.h"

enum { MESSAGES = 1000, ROUNDS = 200, REPEATS = 5 };

static char text[MESSAGES][256];
static size_t length[MESSAGES];

static void make_messages(int digits)
{
    for (int i = 0; i < MESSAGES; i++) {
        int n = snprintf(text[i], sizeof(text[i]),
                         "{\"stream\":\"pump-%d\",\"ts\":1732290000.%03d,\"seq\":%d,\"x\":[",
                         i % 10, i, 1000 + i);
        for (int k = 0; k < 9; k++)
            n += snprintf(text[i] + n, sizeof(text[i]) - (size_t)n, "%s%.*g", k > 0 ? "," : "",
                          digits, ((i * 7919 + k * 104729) % 20000 - 10000) / 10007.0);
        n += snprintf(text[i] + n, sizeof(text[i]) - (size_t)n, "]}");
        length[i] = (size_t)n;
    }
}

static double decode_all(ky_codec *c)
{
    ky_sample s;
    ky_err err;
    double sum = 0;

    for (int i = 0; i < MESSAGES; i++) {
        if (ky_codec_decode(c, text[i], length[i], &s, &err) != KY_OK)
            printf("refused: %s\n", err.text);
        sum += (double)s.x[0];
    }
    return sum;
}

static double skip_all(void)
{
    ky_err err;
    double sum = 0;

    for (int i = 0; i < MESSAGES; i++) {
        ky_scan s;
        ky_scan_init(&s, text[i], length[i], &err);
        sum += ky_scan_skip(&s) == KY_OK;
    }
    return sum;
}

static void measure(int digits)
{
    ky_codec *c;
    double best = 0, best_skip = 0, bytes = 0;
    double sum = 0;

    make_messages(digits);
    for (int i = 0; i < MESSAGES; i++)
        bytes += (double)length[i] / MESSAGES;
    if (ky_codec_new(&(ky_codec_opts){ 0 }, &c, NULL) != KY_OK)
        return;
    for (int r = 0; r < REPEATS; r++) {
        int64_t t0 = ky_clock_mono_ns();
        for (int k = 0; k < ROUNDS; k++)
            sum += decode_all(c);
        int64_t t1 = ky_clock_mono_ns();
        for (int k = 0; k < ROUNDS; k++)
            sum += skip_all();
        int64_t t2 = ky_clock_mono_ns();
        double rate = 1e9 * MESSAGES * ROUNDS / (double)(t1 - t0);
        double skip = 1e9 * MESSAGES * ROUNDS / (double)(t2 - t1);
        best = rate > best ? rate : best;
        best_skip = skip > best_skip ? skip : best_skip;
    }
    printf("codec json, 9 values of %2d digits, %3.0f bytes: %5.2f M samples/s, %4.2f GB/s "
           "(checked and "
           "skipped: %5.2f M/s)\n",
           digits, bytes, best / 1e6, best * bytes / 1e9, best_skip / 1e6);
    if (!isfinite(sum))
        printf("codec json: a value is not finite\n");
    ky_codec_free(c);
}

int main(void)
{
    measure(2);
    measure(4);
    measure(9);
    measure(17);
    return 0;
}
