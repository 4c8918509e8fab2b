#include "daemon/beside.h"

#include <stdlib.h>

#include "daemon/accept.h"
#include "daemon/archiver.h"
#include "daemon/control.h"
#include "daemon/core.h"
#include "daemon/retrain.h"

struct ky_beside {
    const ky_config *cfg;
    ky_pipeline *p;
    ky_archiver *archiver; /* NULL: journal = no */
    ky_retrainer *retrainer;
    ky_control *control;
    ky_heart heart; /* the control thread's */
};

/* -- for the archive -- */

static const char *const *labels(const char *model, int *ret_n, void *arg)
{
    const ky_beside *b = arg;
    int row = ky_served_model(b->cfg, model);
    const ky_version *v =
        row < 0 ? NULL : ky_served_find(&b->p->served, row, ky_pipeline_version(b->p, model));

    *ret_n = v != NULL ? v->facts->n_labels : 0;
    return v != NULL ? v->facts->labels : NULL;
}

static void event(const char *level, const char *what, const char *detail, void *arg)
{
    ky_accept_event(((ky_beside *)arg)->p->accept, level, "archive", what, detail);
}

/* -- for retraining -- */

static uint32_t version(const char *model, void *arg)
{
    return ky_pipeline_version(((ky_beside *)arg)->p, model);
}

static int seal(void *arg, ky_err *err)
{
    return ky_pipeline_seal(((ky_beside *)arg)->p, err);
}

static int swap(const char *model, uint32_t new_version, uint64_t hash, int policy, void *arg,
                ky_err *err)
{
    return ky_pipeline_swap(((ky_beside *)arg)->p, model, new_version, hash, policy, err);
}

/* -- for the control socket -- */

static ky_json *status(void *arg)
{
    ky_beside *b = arg;
    ky_json *o = ky_pipeline_status(b->p);

    ky_json_set(o, "archive",
                b->archiver != NULL ? ky_archiver_status(b->archiver) : ky_json_of_null());
    ky_json_set(o, "retrain", ky_retrainer_status(b->retrainer));
    return o;
}

static int retrain(const char *model, uint64_t *ret_request, void *arg, ky_err *err)
{
    return ky_retrainer_request(((ky_beside *)arg)->retrainer, model, ret_request, err);
}

int ky_beside_start(const ky_config *cfg, ky_pipeline *p, ky_watchdog *w, ky_beside **ret,
                    ky_err *err)
{
    ky_beside *b = calloc(1, sizeof(*b));
    int rc = KY_OK;

    if (b == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    b->cfg = cfg;
    b->p = p;

    const ky_archiver_opts archive = {
        .state_dir = cfg->state_dir,
        .journal = ky_pipeline_journal(p),
        .labels = labels,
        .event = event,
        .arg = b,
    };
    const ky_control_ops ops = { .status = status, .retrain = retrain, .arg = b };

    if (archive.journal != NULL)
        rc = ky_archiver_start(&archive, &b->archiver, err);
    if (rc == KY_OK) {
        const ky_retrain_opts training = { .cfg = cfg,
                                           .archiver = b->archiver,
                                           .ops = { version, seal, swap, b } };

        rc = ky_retrainer_start(&training, &b->retrainer, err);
    }
    if (rc == KY_OK)
        rc = ky_control_start(cfg->runtime_dir, &ops, &b->heart, &b->control, err);
    if (rc < 0) {
        ky_beside_stop(b);
        return rc;
    }
    if (w != NULL)
        ky_watchdog_add(w, "control", &b->heart);
    *ret = b;
    return KY_OK;
}

void ky_beside_stop(ky_beside *b)
{
    if (b == NULL)
        return;
    ky_control_stop(b->control);
    ky_retrainer_stop(b->retrainer);
    ky_archiver_stop(b->archiver);
    free(b);
}
