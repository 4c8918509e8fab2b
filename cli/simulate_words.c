/* Words, spoken and written. */
#include <string.h>

#include "cli/simulate.h"
#include "models/kernels.h"
#include "models/vocabulary.h"

/* -- spoken: log-mel spectra of words, 40 bands up to 4 kHz, 100 frames a second -- */

enum { BANDS = 40, FORMANTS = 3, MOST_SOUNDS = 5, SEED_SPEAKER = 200 };

/* Resonances of the mouth, how loud they are, a hiss around a frequency; Hz, and mouths of men and
 * women between them (Peterson and Barney 1952, rounded). */
typedef struct sound {
    char name[3];
    double formant[FORMANTS], voice, hiss_hz, hiss;
} sound;

static const sound sounds[] = {
    { "iy", { 300, 2400, 3000 }, 6, 0, 0 },     { "ih", { 400, 2050, 2600 }, 6, 0, 0 },
    { "eh", { 560, 1900, 2500 }, 6, 0, 0 },     { "ah", { 640, 1200, 2400 }, 6, 0, 0 },
    { "aa", { 750, 1120, 2450 }, 6, 0, 0 },     { "ao", { 580, 860, 2450 }, 6, 0, 0 },
    { "uw", { 310, 880, 2250 }, 6, 0, 0 },      { "ow", { 460, 920, 2350 }, 6, 0, 0 },
    { "r", { 340, 1080, 1450 }, 5, 0, 0 },      { "w", { 300, 640, 2150 }, 5, 0, 0 },
    { "n", { 260, 1500, 2400 }, 4, 0, 0 },      { "v", { 260, 1100, 2200 }, 3, 2500, 2 },
    { "z", { 260, 1500, 2500 }, 3, 3700, 4 },   { "s", { 300, 1500, 2500 }, 0, 3800, 5 },
    { "f", { 300, 1100, 2300 }, 0, 2600, 2.5 }, { "t", { 300, 1700, 2600 }, 0, 3200, 3 },
    { "k", { 300, 1900, 2500 }, 0, 2000, 3 },
};

/* Two letters a sound, and how long each lasts beside the others. */
typedef struct spoken_word {
    const char *sounds;
    double length[MOST_SOUNDS];
} spoken_word;

static const spoken_word spoken_words[] = {
    { "z ihr ow", { 2, 2, 1, 4 } }, { "w ahn ", { 2, 4, 3 } },
    { "t uw", { 1, 5 } },           { "f r iy", { 2, 1, 5 } },
    { "f aor ", { 2, 4, 2 } },      { "f aaihv ", { 2, 3, 2, 2 } },
    { "s ihk s ", { 2, 2, 1, 3 } }, { "s ehv ehn ", { 2, 2, 1, 1, 2 } },
    { "ehiht ", { 3, 3, 1 } },      { "n aaihn ", { 2, 3, 2, 2 } },
};

/* The band around a frequency, bands counted from the lowest (O'Shaughnessy's mel scale). */
static double band_of(double hz)
{
    static const double top_hz = 4000;

    return (BANDS - 1) * ky_ln(1 + hz / 700) / ky_ln(1 + top_hz / 700);
}

static const sound *find_sound(const char *name)
{
    for (size_t i = 0; i < sizeof sounds / sizeof *sounds; i++)
        if (name[0] == sounds[i].name[0] &&
            name[1] == (sounds[i].name[1] != 0 ? sounds[i].name[1] : ' '))
            return &sounds[i];
    return &sounds[0];
}

/* What the mouth does at `u` in [0,1) of the word: towards the end of a sound it is on its way to
 * the next. */
static sound sound_at(const spoken_word *w, double u)
{
    const sound *now, *next;
    double sum = 0, share;
    int i = 0, n = (int)strlen(w->sounds) / 2;
    sound s;

    for (int k = 0; k < n; k++)
        sum += w->length[k];
    for (u *= sum; i + 1 < n && u >= w->length[i]; i++)
        u -= w->length[i];
    now = find_sound(w->sounds + (size_t)i * 2);
    next = i + 1 < n ? find_sound(w->sounds + (size_t)i * 2 + 2) : now;
    share = u / w->length[i] - 0.6;
    share = share > 0 ? share : 0;
    s = *now;
    for (int k = 0; k < FORMANTS; k++)
        s.formant[k] += share * (next->formant[k] - now->formant[k]);
    s.voice += share * (next->voice - now->voice);
    s.hiss += share * (next->hiss - now->hiss);
    s.hiss_hz = s.hiss_hz > 0 ? s.hiss_hz : next->hiss_hz;
    return s;
}

/* One frame over silence, which is 0; `longer` makes the frequencies of a longer throat lower. */
static void put_sound(const sound *s, double longer, double loud, float *x)
{
    for (int b = 0; b < BANDS; b++) {
        double v = 0, hiss = s->hiss * ky_sim_hill(b - band_of(s->hiss_hz), 12);

        for (int k = 0; k < FORMANTS; k++)
            v += (s->voice - k) * ky_sim_hill(b - band_of(s->formant[k] / longer), 5);
        x[b] = (float)(loud * (v > hiss ? v : hiss));
    }
}

static void draw_spoken(const ky_sim *s, const ky_sim_row *row, float *x)
{
    ky_rng speaker;
    double longer, pace, from, length, loud = ky_sim_between(row->rng, 0.7, 1.1);

    ky_sim_seed(&speaker, s->seed, SEED_SPEAKER, row->group);
    longer = ky_sim_between(&speaker, 0.88, 1.12);
    pace = ky_sim_between(&speaker, 0.85, 1.15);
    length = s->steps * 0.55 * pace * ky_sim_between(row->rng, 0.8, 1.2);
    from = ky_sim_between(row->rng, 2, s->steps - length - 2);
    longer *= ky_sim_between(row->rng, 0.97, 1.03);
    for (int t = 0; t < s->steps; t++) {
        double u = (t - from) / length;

        if (u >= 0 && u < 1) {
            sound now = sound_at(&spoken_words[row->label], u);

            put_sound(&now, longer, loud * (1 - 0.5 * u * u), x + t * BANDS);
        }
    }
    for (size_t i = 0; i < s->values; i++)
        x[i] += (float)(s->noise * ky_rng_normal(row->rng));
}

static const char *const spoken_names[] = { "zero", "one", "two",   "three", "four",
                                            "five", "six", "seven", "eight", "nine" };

const ky_sim_kind ky_sim_spoken = {
    .name = "spoken",
    .brief = "ten words as log-mel spectra, by speaker",
    .draw = draw_spoken,
    .classes = spoken_names,
    .n_classes = 10,
    .noise = 1,
    .type = KY_H5_F32,
    .rank = 2,
    .shape = { KY_SIM_STEPS, BANDS },
    .steps = 64,
    .least_steps = 32,
    .groups = { 12, 6 },
    .rows = { 1000, 400 },
};

/* -- sentiment: two clauses, of which one is the verdict -- */

/* Words by what they do, from KY_WORD_FIRST on. */
static const char *const vocabulary[] = {
    "the",
    "was",
    "not",
    "but",
    "although",
    /* nouns */
    "film",
    "plot",
    "acting",
    "music",
    "ending",
    "script",
    "cast",
    "dialogue",
    "story",
    "camera",
    "pace",
    "humour",
    /* how much */
    "very",
    "really",
    "quite",
    "truly",
    "so",
    "rather",
    /* good */
    "good",
    "great",
    "funny",
    "moving",
    "clever",
    "brilliant",
    "charming",
    "fresh",
    "gripping",
    "wonderful",
    "honest",
    "warm",
    /* bad */
    "bad",
    "awful",
    "dull",
    "boring",
    "stupid",
    "flat",
    "clumsy",
    "stale",
    "tedious",
    "dreadful",
    "fake",
    "cold",
    NULL,
};

enum { THE = KY_WORD_FIRST, WAS, NOT, BUT, ALTHOUGH, NOUNS, N_NOUNS = 12 };
enum { DEGREES = NOUNS + N_NOUNS, N_DEGREES = 6 };
enum { GOOD = DEGREES + N_DEGREES, N_JUDGED = 12, BAD = GOOD + N_JUDGED };
enum { LONGEST = 13 }; /* words of a sentence */

static int draw_word(ky_rng *rng, int first, int n)
{
    return first + (int)ky_rng_below(rng, (uint64_t)n);
}

/* "the plot was not really good"; returns how many words. */
static int put_clause(ky_rng *rng, bool good, bool negated, float *x)
{
    int n = 0;

    x[n++] = THE;
    x[n++] = (float)draw_word(rng, NOUNS, N_NOUNS);
    x[n++] = WAS;
    if (negated)
        x[n++] = NOT;
    if (ky_rng_below(rng, 2) > 0)
        x[n++] = (float)draw_word(rng, DEGREES, N_DEGREES);
    x[n++] = (float)draw_word(rng, good ? GOOD : BAD, N_JUDGED);
    return n;
}

/* One clause, now and then negated: where learning can begin. */
static int draw_clause(ky_rng *rng, bool good, float *words)
{
    bool negated = ky_rng_below(rng, 4) == 0;

    return put_clause(rng, good != negated, negated, words);
}

/*
 * Two clauses. The verdict is the one behind "but", or the one without "although". With one "not"
 * the sentence has it in either clause, with none or two its adjectives contradict each other: so
 * the words without their order are as likely in a good sentence as in a bad one.
 */
static int draw_clauses(ky_rng *rng, bool label, float *words)
{
    enum { BUT_SECOND, ALTHOUGH_FIRST, ALTHOUGH_SECOND, FORMS };
    int form = (int)ky_rng_below(rng, FORMS), verdict = form != ALTHOUGH_SECOND, n = 0;
    bool negated[2] = { ky_rng_below(rng, 2) > 0, ky_rng_below(rng, 2) > 0 }, good[2];

    good[verdict] = label != negated[verdict];
    good[1 - verdict] = negated[0] == negated[1] ? !good[verdict] : ky_rng_below(rng, 2) > 0;
    if (form == ALTHOUGH_FIRST)
        words[n++] = ALTHOUGH;
    n += put_clause(rng, good[0], negated[0], words + n);
    if (form != ALTHOUGH_FIRST)
        words[n++] = form == BUT_SECOND ? BUT : ALTHOUGH;
    return n + put_clause(rng, good[1], negated[1], words + n);
}

/* Of three sentences one has a single clause. */
static void draw_sentence(const ky_sim *s, const ky_sim_row *row, float *x)
{
    float words[LONGEST];
    bool single = ky_rng_below(row->rng, 3) == 0;
    int n = (single ? draw_clause : draw_clauses)(row->rng, row->label == 1, words);

    memcpy(x + s->steps - n, words, (size_t)n * sizeof *words); /* padded at the start */
}

static const char *const sentiment_names[] = { "negative", "positive" };

const ky_sim_kind ky_sim_sentiment = {
    .name = "sentiment",
    .brief = "sentences of words, for which the order of words decides",
    .draw = draw_sentence,
    .classes = sentiment_names,
    .n_classes = 2,
    .vocabulary = vocabulary,
    .noise = -1,
    .type = KY_H5_I32,
    .rank = 1,
    .shape = { KY_SIM_STEPS },
    .steps = 16,
    .least_steps = LONGEST,
    .rows = { 4000, 1000 },
};
