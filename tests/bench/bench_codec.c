/* Samples decoded a second of processor time, one thread, beside what bounds them: of json the same
 * bytes only walked over, of f32 memcpy, and of msgpack msgpack-c with a zone kept from message to
 * message. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "connectors/codec.h"
#include "connectors/jsonscan.h"
#include "tests/bench/msgpackc.h"

enum { MESSAGES = 1000, ROUNDS = 200, REPEATS = 5, WIDEST = 1024, LONGEST = 64 + 12 * WIDEST };

static char text[MESSAGES][LONGEST];
static size_t length[MESSAGES];

/* -- messages ----------------------------------------------------------------------- */

static double value(int i, int k)
{
    return ((i * 7919 + k * 104729) % 20000 - 10000) / 10007.0;
}

static void make_json(int values, int digits)
{
    for (int i = 0; i < MESSAGES; i++) {
        int n = snprintf(text[i], LONGEST,
                         "{\"stream\":\"pump-%d\",\"ts\":1732290000.%03d,\"seq\":%d,\"x\":[",
                         i % 10, i, 1000 + i);
        for (int k = 0; k < values; k++)
            n += snprintf(text[i] + n, LONGEST - (size_t)n, "%s%.*g", k > 0 ? "," : "", digits,
                          value(i, k));
        n += snprintf(text[i] + n, LONGEST - (size_t)n, "]}");
        length[i] = (size_t)n;
    }
}

/* A number of n bytes, big-endian. */
static size_t put(char *to, uint64_t v, size_t n)
{
    for (size_t i = n; i-- > 0; v >>= 8)
        to[i] = (char)v;
    return n;
}

/* As packers write it; digits: 32 or 64, the bits of a value. */
static void make_msgpack(int values, int bits)
{
    for (int i = 0; i < MESSAGES; i++) {
        char *p = text[i];
        double ts = 1732290000 + i * 1e-3;
        uint64_t v;

        p += snprintf(p, 32, "\x84\xa6stream\xa6pump-%d\xa2ts\xcb", i % 10);
        memcpy(&v, &ts, sizeof(v));
        p += put(p, v, 8);
        p += snprintf(p, 32, "\xa3seq\xcd");
        p += put(p, (uint64_t)(1000 + i), 2);
        p += snprintf(p, 32, "\xa1x\xdc");
        p += put(p, (uint64_t)values, 2);
        for (int k = 0; k < values; k++) {
            double d = value(i, k);
            float f = (float)d;
            uint32_t w;

            memcpy(&v, &d, sizeof(v));
            memcpy(&w, &f, sizeof(w));
            *p++ = bits == 32 ? '\xca' : '\xcb';
            p += put(p, bits == 32 ? w : v, (size_t)bits / 8);
        }
        length[i] = (size_t)(p - text[i]);
    }
}

static void make_f32(int values, int unused)
{
    (void)unused;
    for (int i = 0; i < MESSAGES; i++) {
        for (int k = 0; k < values; k++) {
            float f = (float)value(i, k);
            memcpy(text[i] + 4 * k, &f, 4);
        }
        length[i] = 4 * (size_t)values;
    }
}

/* -- who reads them --------------------------------------------------------------------- */

static ky_codec *codec;

static double decode_all(void)
{
    ky_sample s;
    ky_err err;
    double sum = 0;

    for (int i = 0; i < MESSAGES; i++) {
        if (ky_codec_decode(codec, text[i], length[i], &s, &err) != KY_OK)
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

static double copy_all(void)
{
    static float x[2 * WIDEST];
    double sum = 0;

    for (int i = 0; i < MESSAGES; i++) {
        memcpy(x, text[i], length[i]);
        __asm__ volatile("" : : "r"(x) : "memory"); /* it is wanted */
        sum += (double)x[0];
    }
    return sum;
}

static double peer_all(void)
{
    double sum = 0;

    for (int i = 0; i < MESSAGES; i++)
        sum += ky_msgpackc_unpack(text[i], length[i]);
    return sum;
}

static double processor_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Samples a second; 0 if it gives no number. */
static double rate_of(double (*all)(void), int rounds)
{
    double best = 0;

    for (int r = 0; r < REPEATS; r++) {
        double begin = processor_s(), sum = 0;

        for (int k = 0; k < rounds; k++)
            sum += all();
        double rate = (double)MESSAGES * rounds / (processor_s() - begin);
        best = isfinite(sum) && rate > best ? rate : best;
    }
    return best;
}

static void measure(const char *format, void (*make)(int values, int how), int values, int how,
                    const char *beside, double (*other)(void))
{
    double bytes = 0;
    char numbers[32];
    int rounds = values > 100 ? ROUNDS / 20 : ROUNDS;

    make(values, how);
    for (int i = 0; i < MESSAGES; i++)
        bytes += (double)length[i] / MESSAGES;
    if (ky_codec_new(&(ky_codec_opts){ .format = format }, &codec, NULL) != KY_OK)
        return;
    double rate = rate_of(decode_all, rounds);
    snprintf(numbers, sizeof(numbers), make == make_json ? "%d digits" : "%d bits", how);
    printf("codec %-7s %4d values of %-9s %4.0f bytes: %6.2f M samples/s, %5.2f GB/s", format,
           values, numbers, bytes, rate / 1e6, rate * bytes / 1e9);
    if (other != NULL)
        printf("  (%s: %.2f M/s)", beside, rate_of(other, rounds) / 1e6);
    printf("\n");
    ky_codec_free(codec);
}

int main(void)
{
    static const int digits[] = { 2, 4, 9, 17 };
    double (*peer)(void) = ky_msgpackc_version() != NULL ? peer_all : NULL;
    char name[64] = "";

    if (peer != NULL)
        snprintf(name, sizeof(name), "msgpack-c %s", ky_msgpackc_version());
    for (int i = 0; i < 4; i++)
        measure("json", make_json, 9, digits[i], "checked and skipped", skip_all);
    measure("json", make_json, WIDEST, 4, "checked and skipped", skip_all);
    measure("msgpack", make_msgpack, 9, 32, name, peer);
    measure("msgpack", make_msgpack, 9, 64, name, peer);
    measure("msgpack", make_msgpack, WIDEST, 32, name, peer);
    measure("f32", make_f32, 9, 32, "memcpy", copy_all);
    measure("f32", make_f32, WIDEST, 32, "memcpy", copy_all);
    return 0;
}
