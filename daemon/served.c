#include "daemon/served.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/store.h"

int ky_served_model(const ky_config *cfg, const char *name)
{
    for (int i = 0; i < cfg->n_models; i++)
        if (strcmp(cfg->models[i].name, name) == 0)
            return i;
    return -1;
}

/* -- one version -- */

static void version_free(ky_version *v, int n_classes)
{
    if (v == NULL)
        return;
    for (int c = 0; v->plan != NULL && c < n_classes; c++)
        ky_plan_free(v->plan[c]);
    free(v->plan);
    ky_model_free(v->m);
    free(v);
}

static int plan_class(const ky_class_cfg *c, const char *model, const ky_model *m, bool test,
                      ky_plan **ret, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);
    int rc;

    if (c->features.n > 0 && c->features.n != f->features)
        return ky_fail(err, KY_ESHAPE,
                       "[stream:%s] has %d features, its model '%s' takes %d values a step",
                       c->name, c->features.n, model, f->features);
    rc = ky_plan_new(m, c->memory, (int)c->window, (int)(c->hop > 0 ? c->hop : 1), ret, err);
    if (rc < 0)
        return ky_context(err, rc, "[stream:%s] model '%s'", c->name, model);
    if (test && (rc = ky_plan_selftest(*ret, err)) < 0)
        return ky_context(err, rc, "[stream:%s] self-test of model '%s'", c->name, model);
    return KY_OK;
}

/* Plans for every class that the model serves, into plan [classes]. */
static int plan_all(const ky_config *cfg, int model, const ky_model *m, bool test, ky_plan **plan,
                    ky_err *err)
{
    for (int c = 0; c < cfg->n_classes; c++) {
        if (ky_class_nth(&cfg->classes[c], cfg->models[model].name) < 0)
            continue;
        int rc = plan_class(&cfg->classes[c], cfg->models[model].name, m, test, &plan[c], err);

        if (rc < 0)
            return rc;
    }
    return KY_OK;
}

static int name_labels(const ky_model_cfg *mc, ky_model *m, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);
    /* One output that is a probability tells two classes apart. */
    int classes = f->outputs == 1 ? 2 : f->outputs;

    if (mc->labels.n == 0)
        return KY_OK;
    if (mc->labels.n != classes)
        return ky_fail(err, KY_ESHAPE, "[model:%s] has %d labels, the file has outputs for %d",
                       mc->name, mc->labels.n, classes);
    return ky_model_set_labels(m, (const char *const *)mc->labels.item, mc->labels.n, err);
}

int ky_served_read(const ky_config *cfg, int model, ky_model **ret, ky_err *err)
{
    const ky_model_cfg *mc = &cfg->models[model];
    ky_plan **plan = NULL;
    ky_model *m = NULL;
    int rc = ky_model_load(mc->file, &m, err);

    if (rc < 0)
        return ky_context(err, rc, "[model:%s]", mc->name);
    if ((rc = name_labels(mc, m, err)) < 0)
        goto out;
    plan = calloc((size_t)cfg->n_classes + 1, sizeof(ky_plan *));
    if (plan == NULL) {
        rc = ky_fail(err, KY_ENOMEM, "[model:%s]: no memory", mc->name);
        goto out;
    }
    rc = plan_all(cfg, model, m, true, plan, err);
    if (rc == KY_OK) {
        *ret = m;
        m = NULL;
    }
out:
    for (int c = 0; plan != NULL && c < cfg->n_classes; c++)
        ky_plan_free(plan[c]);
    free(plan);
    ky_model_free(m);
    return rc;
}

int ky_served_agree(const ky_config *cfg, const int *features, ky_err *err)
{
    for (int c = 0; c < cfg->n_classes; c++) {
        const ky_list *names = &cfg->classes[c].models;
        int first = ky_served_model(cfg, names->item[0]);

        for (int k = 1; k < names->n; k++) {
            int other = ky_served_model(cfg, names->item[k]);

            if (features[first] > 0 && features[other] > 0 && features[first] != features[other])
                return ky_fail(err, KY_ESHAPE,
                               "[stream:%s] model '%s' takes %d values a sample, model '%s' %d: "
                               "those of one class must take as many",
                               cfg->classes[c].name, names->item[0], features[first],
                               names->item[k], features[other]);
        }
    }
    return KY_OK;
}

/* -- all versions -- */

int ky_served_init(ky_served *s, const ky_config *cfg, ky_err *err)
{
    memset(s, 0, sizeof(*s));
    s->cfg = cfg;
    pthread_mutex_init(&s->lock, NULL);
    if ((size_t)snprintf(s->dir, sizeof(s->dir), "%s/models", cfg->state_dir) >= sizeof(s->dir))
        return ky_fail(err, KY_EINVAL, "state_dir: '%s' is too long", cfg->state_dir);
    s->first = calloc((size_t)cfg->n_models + 1, sizeof(*s->first));
    if (s->first == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    return KY_OK;
}

void ky_served_done(ky_served *s)
{
    for (int i = 0; s->first != NULL && i < s->cfg->n_models; i++)
        for (ky_version *v = atomic_load(&s->first[i]), *next; v != NULL; v = next) {
            next = v->next;
            version_free(v, s->cfg->n_classes);
        }
    free(s->first);
    s->first = NULL;
    pthread_mutex_destroy(&s->lock);
}

const ky_version *ky_served_find(const ky_served *s, int model, uint32_t version)
{
    for (const ky_version *v = atomic_load_explicit(&s->first[model], memory_order_acquire);
         v != NULL; v = v->next)
        if (v->version == version)
            return v;
    return NULL;
}

static int version_new(ky_served *s, int model, uint32_t version, uint64_t hash, bool test,
                       ky_version **ret, ky_err *err)
{
    const ky_model_cfg *mc = &s->cfg->models[model];
    ky_version *v = calloc(1, sizeof(*v));
    int rc;

    if (v == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    v->model = model;
    v->version = version;
    v->plan = calloc((size_t)s->cfg->n_classes + 1, sizeof(*v->plan));
    if (v->plan == NULL) {
        rc = ky_fail(err, KY_ENOMEM, "no memory");
        goto fail;
    }
    if ((rc = ky_store_load(s->dir, mc->name, version, hash, &v->m, err)) < 0 ||
        (rc = name_labels(mc, v->m, err)) < 0 ||
        (rc = plan_all(s->cfg, model, v->m, test, v->plan, err)) < 0)
        goto fail;
    v->facts = ky_model_facts(v->m);
    const ky_version *other = atomic_load(&s->first[model]);

    /* Samples in flight have as many values as the versions before. */
    if (other != NULL && other->facts->features != v->facts->features) {
        rc = ky_fail(err, KY_ESHAPE,
                     "takes %d values a step, version %u takes %d: give it a name of its own",
                     v->facts->features, other->version, other->facts->features);
        goto fail;
    }
    v->hash = v->facts->hash;
    *ret = v;
    return KY_OK;
fail:
    version_free(v, s->cfg->n_classes);
    return ky_context(err, rc, "model '%s@%u'", mc->name, version);
}

int ky_served_load(ky_served *s, int model, uint32_t version, uint64_t hash, bool test,
                   const ky_version **ret, ky_err *err)
{
    ky_version *v = NULL;
    int rc = KY_OK;

    pthread_mutex_lock(&s->lock);
    const ky_version *have = ky_served_find(s, model, version);

    if (have != NULL && hash != 0 && have->hash != hash) {
        rc = ky_fail(err, KY_ECORRUPT, "model '%s@%u' has hash %016llx, not %016llx",
                     s->cfg->models[model].name, version, (unsigned long long)have->hash,
                     (unsigned long long)hash);
    } else if (have == NULL) {
        rc = version_new(s, model, version, hash, test, &v, err);
        if (rc == KY_OK) {
            v->next = atomic_load(&s->first[model]);
            atomic_store_explicit(&s->first[model], v, memory_order_release);
            have = v;
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (rc == KY_OK)
        *ret = have;
    return rc;
}

uint32_t ky_served_by_hash(const ky_served *s, int model, uint64_t hash)
{
    const char *name = s->cfg->models[model].name;
    uint32_t latest = 0;

    if (ky_store_latest(s->dir, name, &latest, NULL) < 0)
        return 0;
    for (uint32_t v = latest; v > 0; v--) {
        ky_model *m;

        if (ky_store_load(s->dir, name, v, hash, &m, NULL) == KY_OK) {
            ky_model_free(m);
            return v;
        }
    }
    return 0;
}

/* -- what an answer says -- */

int ky_served_decide(const ky_model_info *facts, const float *y, float *ret_score)
{
    int best = 0;

    *ret_score = y[0];
    if (!facts->probabilities && facts->n_labels == 0)
        return -1;
    if (facts->outputs == 1) {
        best = y[0] > 0.5f;
        *ret_score = best ? y[0] : 1.0f - y[0];
        return best;
    }
    for (int i = 1; i < facts->outputs; i++)
        if (y[i] > y[best])
            best = i;
    *ret_score = y[best];
    return best;
}

const char *ky_served_label(const ky_model_info *facts, int label, char number[12])
{
    if (label < facts->n_labels)
        return facts->labels[label];
    snprintf(number, 12, "%d", label);
    return number;
}
