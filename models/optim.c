#include "models/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BETA1   0.9
#define BETA2   0.999
#define EPSILON 1e-7

typedef struct rule {
    const char *name;
    double learning_rate, weight_decay;
    bool momentum; /* whether it has one */
    int (*n_slots)(const ky_optim_opts *o);
    void (*apply)(const ky_optim *a, const ky_kernels *k, size_t at, size_t n, ky_real *w,
                  const ky_real *g);
} rule;

/* ---- the rules ---- */

/* m += (g - m)(1 - b1), v += (g^2 - v)(1 - b2), w -= alpha m / (sqrt(v) + eps)
 * (Kingma and Ba 2015; eps as Keras has it). */
static int adam_slots(const ky_optim_opts *o)
{
    (void)o;
    return 2;
}

static void adam_apply(const ky_optim *a, const ky_kernels *k, size_t at, size_t n, ky_real *w,
                       const ky_real *g)
{
    k->adam(n, w, g, a->slot[0] + at, a->slot[1] + at, a->alpha, (ky_real)BETA1, (ky_real)BETA2,
            (ky_real)EPSILON);
}

/* w -= lr g, or with momentum u: v = u v - lr g, w += v (nesterov: w += u v - lr g). */
static int sgd_slots(const ky_optim_opts *o)
{
    return o->momentum > 0 ? 1 : 0;
}

static void sgd_apply(const ky_optim *a, const ky_kernels *k, size_t at, size_t n, ky_real *w,
                      const ky_real *g)
{
    ky_real *v = a->n_slots > 0 ? a->slot[0] + at : NULL, u = (ky_real)a->o.momentum;

    (void)k;
    for (size_t i = 0; i < n; i++) {
        ky_real step = a->rate * g[i];

        if (v == NULL) {
            w[i] -= step;
            continue;
        }
        v[i] = u * v[i] - step;
        w[i] += a->o.nesterov ? u * v[i] - step : v[i];
    }
}

/* v = rho v + (1 - rho) g^2, w -= lr g / sqrt(v + eps); centered: v - m^2 in the place of v, where
 * m = rho m + (1 - rho) g; with momentum u: p = u p + what w would lose, w -= p. */
static int rmsprop_slots(const ky_optim_opts *o)
{
    return 1 + (o->momentum > 0) + o->centered;
}

static void rmsprop_apply(const ky_optim *a, const ky_kernels *k, size_t at, size_t n, ky_real *w,
                          const ky_real *g)
{
    ky_real *v = a->slot[0] + at, *m = a->o.centered ? a->slot[1] + at : NULL;
    ky_real *p = a->o.momentum > 0 ? a->slot[a->n_slots - 1] + at : NULL;
    ky_real rho = (ky_real)a->o.rho, rest = 1 - rho, u = (ky_real)a->o.momentum;

    (void)k;
    for (size_t i = 0; i < n; i++) {
        ky_real spread, step;

        spread = v[i] = rho * v[i] + rest * (g[i] * g[i]);
        if (m != NULL) {
            m[i] = rho * m[i] + rest * g[i];
            spread = v[i] - m[i] * m[i];
            spread = spread > 0 ? spread : 0; /* rounding may take it below */
        }
        step = a->rate * g[i] / (ky_real)sqrt(spread + (ky_real)EPSILON);
        if (p != NULL)
            step = p[i] = u * p[i] + step;
        w[i] -= step;
    }
}

static const rule rules[] = {
    [KY_ADAM] = { "adam", 1e-3, 0, false, adam_slots, adam_apply },
    [KY_ADAMW] = { "adamw", 1e-3, 0.004, false, adam_slots, adam_apply },
    [KY_SGD] = { "sgd", 1e-2, 0, true, sgd_slots, sgd_apply },
    [KY_RMSPROP] = { "rmsprop", 1e-3, 0, true, rmsprop_slots, rmsprop_apply },
};

enum { N_RULES = sizeof rules / sizeof *rules };

/* ---- what is common ---- */

void ky_optim_defaults(enum ky_optimizer kind, ky_optim_opts *ret)
{
    *ret = (ky_optim_opts){ .kind = kind, .rho = 0.9, .weight_decay = rules[kind].weight_decay };
}

double ky_optim_rate(enum ky_optimizer kind)
{
    return rules[kind].learning_rate;
}

int ky_optim_find(const char *name, enum ky_optimizer *ret, ky_err *err)
{
    for (int i = 0; i < N_RULES; i++)
        if (strcmp(name, rules[i].name) == 0) {
            *ret = (enum ky_optimizer)i;
            return KY_OK;
        }
    return ky_fail(err, KY_EINVAL, "optimizer '%.40s' is none of adam, adamw, sgd, rmsprop", name);
}

static int check(const ky_optim_opts *o, ky_err *err)
{
    const char *name = rules[o->kind].name;

    if (!(o->momentum >= 0 && o->momentum < 1) || !(o->rho >= 0 && o->rho < 1))
        return ky_fail(err, KY_EINVAL, "momentum %g, rho %g: each must be at least 0 and below 1",
                       o->momentum, o->rho);
    if (!(o->weight_decay >= 0) || !isfinite(o->weight_decay))
        return ky_fail(err, KY_EINVAL, "weight decay %g: must not be negative", o->weight_decay);
    if (o->momentum > 0 && !rules[o->kind].momentum)
        return ky_fail(err, KY_EINVAL, "%s has no momentum to set; sgd and rmsprop have", name);
    if (o->nesterov && (o->kind != KY_SGD || o->momentum <= 0))
        return ky_fail(err, KY_EINVAL, "Nesterov's step is for sgd with momentum");
    if (o->centered && o->kind != KY_RMSPROP)
        return ky_fail(err, KY_EINVAL, "%s cannot be centered; rmsprop can", name);
    return KY_OK;
}

int ky_optim_init(ky_optim *a, const ky_optim_opts *o, size_t n, ky_err *err)
{
    int rc;

    *a = (ky_optim){ .o = *o, .decay1 = 1, .decay2 = 1, .n = n };
    if ((rc = check(o, err)) < 0)
        return rc;
    a->n_slots = rules[o->kind].n_slots(o);
    for (int i = 0; i < a->n_slots; i++)
        if ((a->slot[i] = calloc(n > 0 ? n : 1, sizeof *a->slot[i])) == NULL) {
            ky_optim_done(a);
            return ky_fail(err, KY_ENOMEM, "no memory for %s's slots of %zu weights",
                           rules[o->kind].name, n);
        }
    return KY_OK;
}

void ky_optim_done(ky_optim *a)
{
    for (int i = 0; i < KY_MAX_SLOTS; i++) {
        free(a->slot[i]);
        a->slot[i] = NULL;
    }
}

void ky_optim_begin(ky_optim *a, double rate)
{
    a->decay1 *= BETA1;
    a->decay2 *= BETA2;
    a->rate = (ky_real)rate;
    a->alpha = (ky_real)(rate * sqrt(1 - a->decay2) / (1 - a->decay1));
}

void ky_optim_apply(const ky_optim *a, const ky_kernels *k, size_t at, size_t n, ky_real *w,
                    const ky_real *g)
{
    ky_real decay = (ky_real)a->o.weight_decay;

    for (size_t i = 0; i < n && decay > 0; i++)
        w[i] -= w[i] * decay * a->rate;
    rules[a->o.kind].apply(a, k, at, n, w, g);
}

/* ---- the learning rate ---- */

static const char *const decays[] = { [KY_DECAY_NONE] = "constant",
                                      [KY_DECAY_EXPONENTIAL] = "exponential",
                                      [KY_DECAY_COSINE] = "cosine",
                                      [KY_DECAY_PLATEAU] = "plateau" };

int ky_decay_find(const char *name, enum ky_decay *ret, ky_err *err)
{
    for (int i = 0; i < (int)(sizeof decays / sizeof *decays); i++)
        if (strcmp(name, decays[i]) == 0) {
            *ret = (enum ky_decay)i;
            return KY_OK;
        }
    return ky_fail(err, KY_EINVAL,
                   "schedule '%.40s' is none of constant, exponential, cosine, plateau", name);
}

int ky_rate_init(ky_rate *r, ky_err *err)
{
    if (!(r->first > 0) || !isfinite(r->first))
        return ky_fail(err, KY_EINVAL, "learning rate %g: must be above 0", r->first);
    if ((r->kind == KY_DECAY_EXPONENTIAL || r->kind == KY_DECAY_PLATEAU) &&
        !(r->factor > 0 && r->factor <= 1))
        return ky_fail(err, KY_EINVAL, "decay %g of the learning rate: must be above 0, at most 1",
                       r->factor);
    if (r->kind == KY_DECAY_PLATEAU && r->patience < 1)
        return ky_fail(err, KY_EINVAL, "patience %d of the learning rate: must be at least 1",
                       r->patience);
    r->now = r->first;
    r->best = INFINITY;
    r->since_best = 0;
    return KY_OK;
}

/* cos(pi x), x in [0,1], as the series of sin(pi (1/2 - x)): C libraries' cosines differ in their
 * last bits. */
static double cos_pi(double x)
{
    const double t = 3.14159265358979323846 * (0.5 - x);
    double term = t, sum = t;

    for (int i = 2; i <= 20; i += 2) {
        term *= -t * t / (i * (i + 1));
        sum += term;
    }
    return sum;
}

double ky_rate_at(const ky_rate *r, double done)
{
    return r->kind == KY_DECAY_COSINE ? r->first * 0.5 * (1 + cos_pi(done)) : r->now;
}

void ky_rate_next(ky_rate *r, double val_loss)
{
    if (r->kind == KY_DECAY_EXPONENTIAL)
        r->now *= r->factor;
    if (r->kind != KY_DECAY_PLATEAU)
        return;
    if (val_loss < r->best - 1e-4) {
        r->best = val_loss;
        r->since_best = 0;
    } else if (++r->since_best >= r->patience) {
        r->now *= r->factor;
        r->since_best = 0;
    }
}
