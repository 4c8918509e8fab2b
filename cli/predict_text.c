#include "cli/predict_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* What one sentence after the other goes through. */
typedef struct asker {
    const ky_model *m;
    const ky_model_info *f;
    ky_work *work;
    int T, length; /* steps of the model, words of a row */
    int32_t *words;
    ky_real *x, *y;
} asker;

static void done(asker *a)
{
    ky_work_free(a->work);
    free(a->words);
    free(a->x);
    free(a->y);
}

static int begin(asker *a, const ky_model *m, ky_err *err)
{
    const ky_model_info *f = ky_model_facts(m);

    *a = (asker){ .m = m, .f = f };
    if (f->vocabulary == NULL)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "model '%s' has no vocabulary: it was not trained on data that `kymo "
                       "import` made of text",
                       f->name);
    if (f->n_inputs > 1 || f->n_outputs > 1)
        return ky_fail(err, KY_EUNSUPPORTED, "model '%s' has %d inputs and %d outputs", f->name,
                       f->n_inputs, f->n_outputs);
    a->length = f->window > 0 ? f->window * f->features : ky_vocabulary_length(f->vocabulary);
    a->length = a->length > 0 ? a->length : f->features;
    a->T = a->length / f->features;
    a->words = calloc((size_t)a->length, sizeof *a->words);
    a->x = calloc((size_t)a->length, sizeof *a->x);
    a->y = calloc((size_t)f->outputs, sizeof *a->y);
    if (a->words == NULL || a->x == NULL || a->y == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for rows of %d words", a->length);
    if (a->T * f->features != a->length || (a->work = ky_work_new(m, a->T, 1)) == NULL)
        return ky_fail(err, KY_ESHAPE, "model '%s' cannot answer rows of %d words", f->name,
                       a->length);
    return KY_OK;
}

/* The class that is most likely and its probability; one sigmoid tells two apart. */
static int class_of(const asker *a, double *ret_p)
{
    int best = 0;

    if (a->f->outputs == 1) {
        *ret_p = a->y[0] > 0.5 ? (double)a->y[0] : 1 - (double)a->y[0];
        return a->y[0] > 0.5;
    }
    for (int c = 1; c < a->f->outputs; c++)
        if (a->y[c] > a->y[best])
            best = c;
    *ret_p = (double)a->y[best];
    return best;
}

static void print_answer(const asker *a, const char *text, size_t len)
{
    double p;
    int c = class_of(a, &p);

    if (a->f->probabilities && a->f->n_labels > c) {
        ky_cli_print_safe(stdout, a->f->labels[c], strlen(a->f->labels[c]));
        printf("\t%.4f", p);
    } else if (a->f->probabilities) {
        printf("%d\t%.4f", c, p);
    } else {
        for (int i = 0; i < a->f->outputs; i++)
            printf("%s%g", i > 0 ? " " : "", (double)a->y[i]);
    }
    printf("\t");
    ky_cli_print_safe(stdout, text, len);
    printf("\n");
}

static int ask(asker *a, const char *text, size_t len, ky_err *err)
{
    if (ky_vocabulary_encode(a->f->vocabulary, text, len, a->words, a->length) < 0)
        return ky_fail(err, KY_ENOMEM, "no memory for rows of %d words", a->length);
    for (int i = 0; i < a->length; i++)
        a->x[i] = (ky_real)a->words[i];
    ky_model_predict(a->m, a->work, 1, a->T, a->x, a->y);
    print_answer(a, text, len);
    return KY_OK;
}

/* Each answer is out before the next line is waited for. */
static int ask_lines(asker *a, ky_err *err)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int rc = KY_OK;

    while (rc == KY_OK && (n = getline(&line, &cap, stdin)) >= 0) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            n--;
        rc = ask(a, line, (size_t)n, err);
        fflush(stdout);
    }
    if (rc == KY_OK && ferror(stdin))
        rc = ky_fail(err, KY_EIO, "standard input: %s", strerror(errno));
    free(line);
    return rc;
}

int ky_predict_text(const ky_model *m, const ky_strs *texts, ky_err *err)
{
    asker a;
    int rc = begin(&a, m, err);

    for (int i = 0; rc == KY_OK && i < texts->n; i++)
        rc = ask(&a, texts->item[i], strlen(texts->item[i]), err);
    if (rc == KY_OK && texts->n == 0)
        rc = ask_lines(&a, err);
    done(&a);
    return rc;
}
