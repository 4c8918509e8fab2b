/*
 * The parts of `kymo compare`: the rows (compare_data.c), which models run (compare_models.c), what
 * they cost where they are served (compare_serve.c), what their figures mean (compare_judge.c), and
 * telling it (compare_print.c). compare.c trains them. Everything belongs to the main thread.
 */
#ifndef KY_COMPARE_H
#define KY_COMPARE_H

#include "cli/training.h"
#include "models/metrics.h"

enum { KY_COMPARE_MODELS = 6, KY_COMPARE_SEEDS = 20 };

/* What a model can make use of; each also of those before. */
enum ky_compare_sees {
    KY_SEES_VALUES, /* each value at its place */
    KY_SEES_SHAPES, /* values that stand together, wherever they stand */
    KY_SEES_ORDER,  /* all that has been before: memory */
};

/* A sort of model. The W in its layers is the width, which decides the number of weights. */
typedef struct ky_contender {
    const char *name, *title, *layers;
    enum ky_compare_sees sees;
} ky_contender;

/* What rows are, and the models for such rows, the simplest first. */
typedef struct ky_compare_kind {
    const char *name;
    int rank;           /* of the data, rows included */
    const char *step;   /* what follows one another: "step", "frame", "word"; NULL: nothing */
    const char *values; /* what decides where seeing values is enough, */
    const char *shapes; /* and where seeing shapes is: ends of a sentence */
    size_t weights;     /* of each model where nobody wants another number */
    ky_contender models[KY_COMPARE_MODELS];
} ky_compare_kind;

/* One model of the comparison and what came of it. */
typedef struct ky_entry {
    const ky_contender *c;
    ky_err left_out; /* code < 0: why it does not run */
    char arch[256];
    int width;
    size_t weights;
    int reach; /* steps it sees at once where it has no memory; 0: all */
    /* as served */
    bool stream; /* memory = stream; else windows, an answer every step */
    size_t macs, state_bytes;
    double latency_us;
    /* trained, a run a seed */
    int runs, unfinished; /* unfinished: the last epoch was the best */
    double figure[KY_COMPARE_SEEDS], second[KY_COMPARE_SEEDS], row_variance[KY_COMPARE_SEEDS];
    double mean, second_mean, seed_error, row_error, error;
    /* of the run with the lowest validation loss */
    ky_model *kept;
    double kept_loss;
} ky_entry;

/* What is measured for a task. */
typedef struct ky_compare_task {
    enum ky_truth truth;
    enum ky_figure figure, second;
    bool less_is_better;
} ky_compare_task;

typedef struct ky_comparison {
    ky_training base; /* data, task, budget; arch and seed are those of a run */
    ky_data train, test;
    ky_subset kept, held; /* the training part's rows, where there is no test part */
    float *padded[2];     /* their rows as the file has them, where they are of several lengths */
    ky_arch_opts arch;
    const ky_compare_kind *kind;
    const ky_compare_task *task;
    size_t weights; /* wanted of each */
    int seeds, n;
    double seconds; /* the budget of each training; 0: epochs are */
    ky_entry entry[KY_COMPARE_MODELS];
    bool test_part; /* the file has one; else rows were held out */
    bool interrupted;
    /* the verdict */
    const ky_entry *best, *recommended, *plain, *memory; /* the best without, with memory; NULL */
    double commonest; /* share of the test rows' most frequent class; NaN */
} ky_comparison;

/** Read the training part, and the test part or, where there is none, a quarter of the rows. */
int ky_compare_load(ky_comparison *c, ky_err *err);
void ky_compare_unload(ky_comparison *c);

/** Both parts as the model takes them. */
int ky_compare_fit(ky_comparison *c, const ky_model *m, ky_err *err);

/** The kind of that name, or NULL: the one that the rows look like. KY_EINVAL, KY_ESHAPE: there is
 *  none, or not for rows of this shape. */
int ky_compare_kind_of(const ky_data *d, const char *name, const ky_compare_kind **ret,
                       ky_err *err);

/** Fill in the entries of the models wanted: `only` names some, by comma; NULL: all. KY_EINVAL
 *  names the word that is no model of the kind. */
int ky_compare_choose(ky_comparison *c, const char *only, ky_err *err);

/** Give every entry the width at which its weights are nearest to those wanted. */
int ky_compare_size(ky_comparison *c, ky_err *err);

/** What a step of an entry's model costs where it is served, measured with rows of the test part.
 */
int ky_compare_serve(const ky_comparison *c, ky_entry *e, const ky_model *m, ky_err *err);

/** Means, errors and the verdict, from the runs there are. */
void ky_compare_judge(ky_comparison *c);

/** Whether a is better than b, by more than `by`. */
bool ky_compare_better(const ky_comparison *c, double a, double b, double by);

/** "0.912 +- 0.010": shares with three places, numbers with four digits. */
typedef struct ky_compare_text {
    char s[96];
} ky_compare_text;
ky_compare_text ky_compare_estimate(const ky_comparison *c, double value, double error);

/** The verdict in words, in paragraphs that end with a newline; free(). NULL: no memory. */
char *ky_compare_words(const ky_comparison *c);

void ky_compare_print_table(const ky_comparison *c);
void ky_compare_print_json(const ky_comparison *c);

#endif
