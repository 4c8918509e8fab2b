/* Series of sensors: bodies, hearts, bearings; and two that show when memory is worth its price. */
#include <string.h>

#include "cli/simulate.h"

/* What ky_sim_seed is asked for beside rows: what stays with a person. */
enum { SEED_PERSON = 100 };

static void add_noise(const ky_sim *s, const ky_sim_row *row, float *x)
{
    for (size_t i = 0; i < s->values; i++)
        x[i] += (float)(s->noise * ky_rng_normal(row->rng));
}

/* -- activity: a phone at the waist of a person, 50 samples a second -- */

enum { AXES = 3, CHANNELS = 3 * AXES };

/* Steps a second (0: at rest), how strong and how sharp, and how the trunk leans, in turns. */
typedef struct gait {
    double rate, move[AXES], turn[AXES], sharp, lean;
} gait;

static const gait gaits[] = {
    { 1.85, { .30, .16, .14 }, { .45, .35, .30 }, .5, .00 },
    { 1.55, { .26, .20, .16 }, { .75, .45, .40 }, .3, .04 },
    { 1.75, { .42, .18, .20 }, { .60, .55, .45 }, .9, -.03 },
    { 0, { .010, .010, .010 }, { .03, .03, .03 }, 0, .07 },
    { 0, { .015, .012, .012 }, { .05, .04, .04 }, 0, .01 },
    { 0, { .008, .008, .008 }, { .02, .02, .02 }, 0, .24 },
};

typedef struct person {
    double pace, strength, lean, roll, phase[CHANNELS];
} person;

static person find_person(const ky_sim *s, int number)
{
    person p;
    ky_rng rng;

    ky_sim_seed(&rng, s->seed, SEED_PERSON, number);
    p.pace = ky_sim_between(&rng, 0.9, 1.1);
    p.strength = ky_sim_between(&rng, 0.8, 1.25);
    p.lean = 0.012 * ky_rng_normal(&rng);
    p.roll = 0.02 * ky_rng_normal(&rng);
    for (int c = 0; c < CHANNELS; c++)
        p.phase[c] = c % AXES * 0.25 + 0.06 * ky_rng_normal(&rng);
    return p;
}

/* A stride is two steps; what is sharp has more of the higher harmonics. */
static double swing(double turns, double sharp)
{
    return 0.3 * ky_sim_wave(turns / 2) + ky_sim_wave(turns) + sharp * ky_sim_wave(2 * turns) +
           0.5 * sharp * ky_sim_wave(3 * turns);
}

static void draw_activity(const ky_sim *s, const ky_sim_row *row, float *x)
{
    const gait *g = &gaits[row->label];
    person p = find_person(s, row->group);
    double rate = g->rate * p.pace * ky_sim_between(row->rng, 0.94, 1.06);
    double begun = 2 * ky_rng_uniform(row->rng);
    double strength = p.strength * ky_sim_between(row->rng, 0.85, 1.15);
    double lean = g->lean + p.lean + 0.006 * ky_rng_normal(row->rng), up = ky_sim_wave(lean + 0.25);
    double gravity[AXES] = { up * ky_sim_wave(p.roll + 0.25), up * ky_sim_wave(p.roll),
                             ky_sim_wave(lean) };

    for (int t = 0; t < s->steps; t++)
        for (int a = 0; a < AXES; a++) {
            float *now = x + t * CHANNELS + a;
            double turns = begun + rate * t / 50;
            double move = g->move[a] * strength, turn = g->turn[a] * strength;

            move *= rate > 0 ? swing(turns + p.phase[a], g->sharp) : ky_rng_normal(row->rng);
            turn *=
                rate > 0 ? swing(turns + p.phase[AXES + a], g->sharp / 2) : ky_rng_normal(row->rng);
            now[0] = (float)move;
            now[AXES] = (float)turn;
            now[2 * AXES] = (float)(move + gravity[a]);
        }
    add_noise(s, row, x);
}

static const char *const activity_names[] = { "walking", "upstairs", "downstairs",
                                              "sitting", "standing", "laying" };
static const char *const activity_channels[] = {
    "body_acc_x",  "body_acc_y",  "body_acc_z",  "body_gyro_x", "body_gyro_y",
    "body_gyro_z", "total_acc_x", "total_acc_y", "total_acc_z",
};

const ky_sim_kind ky_sim_activity = {
    .name = "activity",
    .brief = "bodies doing six things: 9 channels, 128 steps, by person",
    .draw = draw_activity,
    .classes = activity_names,
    .n_classes = 6,
    .features = activity_channels,
    .noise = 0.03,
    .type = KY_H5_F32,
    .rank = 2,
    .shape = { KY_SIM_STEPS, CHANNELS },
    .steps = 128,
    .least_steps = 16,
    .groups = { 20, 10 },
    .rows = { 1800, 600 },
};

/* -- heartbeats: one beat, 128 samples a second, in millivolts -- */

/* The waves of a beat: when they come after the R wave, in steps, and how they look. */
typedef struct beat_wave {
    double at, height, width;
} beat_wave;

enum { WAVES = 6, ST = 4, T_WAVE = 5 };

static const beat_wave beat[WAVES] = { { -20, .14, 9 },  { -4, -.12, 4 }, { 0, 1.1, 5 },
                                       { 4.5, -.25, 5 }, { 15, 0, 13 },   { 29, .32, 17 } };

/* A level and the waves on top, at a time from the R wave on. */
static double add_waves(double level, double t, double strength, const double *height)
{
    for (int w = 0; w < WAVES; w++)
        level += strength * height[w] * ky_sim_hill(t - beat[w].at, beat[w].width);
    return level;
}

static void draw_beat(const ky_sim *s, const ky_sim_row *row, float *x)
{
    double at = 0.4 * s->steps + 2 * ky_rng_normal(row->rng);
    double pace = s->steps / 96.0 * ky_sim_between(row->rng, 0.9, 1.1);
    double strength = ky_sim_between(row->rng, 0.8, 1.2), drift = 0.05 * ky_rng_normal(row->rng);
    double height[WAVES];

    for (int w = 0; w < WAVES; w++)
        height[w] = beat[w].height * ky_sim_between(row->rng, 0.8, 1.2);
    /* Too little blood: the ST segment sinks and the T wave flattens or turns over. */
    height[ST] = 0.04 * ky_rng_normal(row->rng) - (row->label == 1 ? 0.14 : 0);
    height[T_WAVE] -= row->label == 1 ? ky_sim_between(row->rng, 0.1, 0.5) : 0;
    for (int t = 0; t < s->steps; t++)
        x[t] = (float)add_waves(drift, (t - at) / pace, strength, height);
    add_noise(s, row, x);
}

static const char *const beat_names[] = { "normal", "ischemic" };
static const char *const beat_channels[] = { "mV" };

const ky_sim_kind ky_sim_heartbeats = {
    .name = "heartbeats",
    .brief = "normal and ischemic beats, 96 steps",
    .draw = draw_beat,
    .classes = beat_names,
    .n_classes = 2,
    .features = beat_channels,
    .noise = 0.05,
    .type = KY_H5_F32,
    .rank = 2,
    .shape = { KY_SIM_STEPS, 1 },
    .steps = 96,
    .least_steps = 32,
    .rows = { 400, 400 },
};

/* -- beats: hearts that go on beating; every row is the next beat of somebody -- */

/* The height of the ST segment differs from heart to heart by about as much as it sinks with too
 * little blood; the line sways with the breath from beat to beat. */
static void draw_next_beat(const ky_sim *s, const ky_sim_row *row, float *x)
{
    int64_t before = (int64_t)(row->number / s->kind->groups[row->part]) * s->steps;
    double at = 0.4 * s->steps + 2 * ky_rng_normal(row->rng), pace = s->steps / 96.0;
    double strength, level, sway, breath, phase, height[WAVES];
    ky_rng own;

    ky_sim_seed(&own, s->seed, SEED_PERSON, row->group);
    strength = ky_sim_between(&own, 0.8, 1.2);
    level = 0.1 * ky_rng_normal(&own);
    sway = ky_sim_between(&own, 0.02, 0.06);
    breath = ky_sim_between(&own, 0.0018, 0.0026);
    phase = ky_rng_uniform(&own);
    for (int w = 0; w < WAVES; w++)
        height[w] = beat[w].height * ky_sim_between(row->rng, 0.9, 1.1);
    height[ST] = level + 0.03 * ky_rng_normal(row->rng) - (row->label == 1 ? 0.14 : 0);
    height[T_WAVE] -= row->label == 1 ? ky_sim_between(row->rng, 0, 0.1) : 0;
    for (int t = 0; t < s->steps; t++)
        x[t] = (float)add_waves(sway * ky_sim_wave(breath * (double)(before + t) + phase),
                                (t - at) / pace, strength, height);
    add_noise(s, row, x);
}

const ky_sim_kind ky_sim_beats = {
    .name = "beats",
    .brief = "the same as streams, labelled beat by beat, by person",
    .draw = draw_next_beat,
    .classes = beat_names,
    .n_classes = 2,
    .features = beat_channels,
    .noise = 0.03,
    .type = KY_H5_F32,
    .rank = 2,
    .shape = { KY_SIM_STEPS, 1 },
    .steps = 96,
    .least_steps = 32,
    .groups = { 20, 10 },
    .rows = { 2000, 1000 },
};

/* -- bearings: an accelerometer at a motor that turns 30 times a second, 12000 samples a second --
 */

/*
 * What is damaged strikes so often a turn of the shaft, which sets something ringing; how hard
 * follows how the damage goes through the load. The numbers are the geometry of a bearing 6205-2RS:
 * 9 balls of 0.3126 inch on a circle of 1.537 inch.
 */
typedef struct damage {
    double strikes, ring_hz, with, depth;
} damage;

static const damage damages[] = {
    { 0, 0, 0, 0 },
    { 4.7135, 2600, 0.3983, 0.5 },
    { 5.4152, 3100, 1, 0.8 },
    { 3.5848, 3400, 0, 0 },
};

static void draw_bearing(const ky_sim *s, const ky_sim_row *row, float *x)
{
    static const double rate_hz = 12000, fade = 0.94; /* a sample */
    const damage *d = &damages[row->label];
    double shaft_hz = 29.95 * ky_sim_between(row->rng, 0.97, 1.03);
    double begun = ky_rng_uniform(row->rng), hard = ky_sim_between(row->rng, 0.4, 0.9);
    double ring = d->ring_hz * ky_sim_between(row->rng, 0.93, 1.07) / rate_hz;
    double next = ky_rng_uniform(row->rng), loud = 0, since = 0;

    for (int t = 0; t < s->steps; t++) {
        double turns = begun + shaft_hz * t / rate_hz;

        loud *= fade;
        since++;
        if (d->strikes > 0 && turns - begun >= next / d->strikes) {
            loud = hard * (1 + d->depth * ky_sim_wave(d->with * turns));
            since = 0;
            next += ky_sim_between(row->rng, 0.98, 1.02); /* balls slip a little */
        }
        x[t] = (float)(loud * ky_sim_wave(ring * since + 0.25) + 0.05 * ky_sim_wave(turns) +
                       0.03 * ky_sim_wave(2 * turns + 0.1));
    }
    add_noise(s, row, x);
}

static const char *const bearing_names[] = { "normal", "ball", "inner_race", "outer_race" };
static const char *const bearing_channels[] = { "drive_end" };

const ky_sim_kind ky_sim_bearings = {
    .name = "bearings",
    .brief = "vibration of sound and damaged bearings, 1024 samples",
    .draw = draw_bearing,
    .classes = bearing_names,
    .n_classes = 4,
    .features = bearing_channels,
    .noise = 0.1,
    .type = KY_H5_F32,
    .rank = 2,
    .shape = { KY_SIM_STEPS, 1 },
    .steps = 1024,
    .least_steps = 256,
    .rows = { 800, 400 },
};

/* -- memory: two events far from each other, and the class is which came first -- */

/* Either sign is as likely, so that the mean of every value is the same for both classes. */
static void put_event(ky_rng *rng, double at, int steps, int channel, float *x)
{
    static const double half_width = 3;
    double height = ky_sim_between(rng, 1.5, 2.5) * (ky_rng_below(rng, 2) > 0 ? 1 : -1);

    for (int t = 0; t < steps; t++)
        x[t * 2 + channel] += (float)(height * ky_sim_hill(t - at, half_width));
}

/*
 * The first event in the second sixth of the row, the other between its middle and three quarters:
 * no short stretch has both, and none has the beginning or the end beside one of them.
 */
static void draw_memory(const ky_sim *s, const ky_sim_row *row, float *x)
{
    double first = s->steps * ky_sim_between(row->rng, 1 / 6.0, 1 / 3.0);
    double second = s->steps * ky_sim_between(row->rng, 7 / 12.0, 3 / 4.0);

    put_event(row->rng, first, s->steps, row->label, x);
    put_event(row->rng, second, s->steps, 1 - row->label, x);
    add_noise(s, row, x);
}

static const char *const memory_names[] = { "a_first", "b_first" };
static const char *const memory_channels[] = { "a", "b" };

const ky_sim_kind ky_sim_memory = {
    .name = "memory",
    .brief = "which of two events came first, long ago: memory is needed",
    .draw = draw_memory,
    .classes = memory_names,
    .n_classes = 2,
    .features = memory_channels,
    .noise = 0.1,
    .type = KY_H5_F32,
    .rank = 2,
    .shape = { KY_SIM_STEPS, 2 },
    .steps = 96,
    .least_steps = 48,
    .rows = { 1000, 500 },
};

/* -- local: one short shape anywhere in noise -- */

/* Heights of the hills by which each shape is made. Those of a shape are nothing together: but for
 * the ends of the row, the mean of every value is the same for all classes. */
enum { SHAPE_HILLS = 3 };
static const double shapes[][SHAPE_HILLS] = {
    { -0.5, 1, -0.5 }, { 0.5, -1, 0.5 }, { 0.87, 0, -0.87 }, { -0.87, 0, 0.87 }
};

static void draw_local(const ky_sim *s, const ky_sim_row *row, float *x)
{
    static const double half_width = 3;
    const double *h = shapes[row->label];
    double at = ky_sim_between(row->rng, 8, s->steps - 8);
    double strength = ky_sim_between(row->rng, 2, 3);

    for (int t = 0; t < s->steps; t++)
        for (int k = 0; k < SHAPE_HILLS; k++)
            x[t] +=
                (float)(strength * h[k] * ky_sim_hill(t - at - (k - 1) * half_width, half_width));
    add_noise(s, row, x);
}

static const char *const local_names[] = { "peak", "valley", "fall", "rise" };
static const char *const local_channels[] = { "value" };

const ky_sim_kind ky_sim_local = {
    .name = "local",
    .brief = "short shapes somewhere in noise: memory gains little",
    .draw = draw_local,
    .classes = local_names,
    .n_classes = 4,
    .features = local_channels,
    .noise = 0.3,
    .type = KY_H5_F32,
    .rank = 2,
    .shape = { KY_SIM_STEPS, 1 },
    .steps = 64,
    .least_steps = 24,
    .rows = { 1000, 500 },
};
