/* What `kymo train` is told: its options, what they mean, and which go together. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/folds.h"
#include "cli/training.h"
#include "cli/watch.h"

/* The words of the optimizer and the schedule, and what they mean where a number is not given. */
static int check_optimizer(const ky_usage *u, ky_training *t)
{
    ky_err err;

    if (ky_optim_find(t->optimizer, &t->optim.kind, &err) < 0 ||
        ky_decay_find(t->schedule, &t->rate.kind, &err) < 0)
        return ky_cli_usage(u, "%s", err.text);
    if (isnan(t->weight_decay)) {
        ky_optim_opts o;

        ky_optim_defaults(t->optim.kind, &o);
        t->weight_decay = o.weight_decay;
    }
    t->optim.weight_decay = t->weight_decay;
    if (isnan(t->learning_rate))
        t->learning_rate = ky_optim_rate(t->optim.kind);
    if (isnan(t->clip_norm))
        t->clip_norm = t->clip_array > 0 || t->clip_value > 0 ? 0 : 1;
    if (!isnan(t->rate.factor) && t->rate.kind != KY_DECAY_EXPONENTIAL &&
        t->rate.kind != KY_DECAY_PLATEAU)
        return ky_cli_usage(u, "--decay goes with --schedule exponential or plateau");
    if (isnan(t->rate.factor))
        t->rate.factor = t->rate.kind == KY_DECAY_PLATEAU ? 0.1 : 0.95;
    t->rate.patience = (int)t->decay_patience;
    return -1;
}

/* The task and a loss that goes with it. */
static int check_task(const ky_usage *u, ky_training *t)
{
    ky_err err;
    bool cross;

    if (ky_task_find(t->task_name, &t->task, &err) < 0)
        return ky_cli_usage(u, "%s", err.text);
    if (t->task == KY_TASK_CLASSIFY)
        return t->loss_name == NULL ? -1
                                    : ky_cli_usage(u, "--loss goes with --task regress: classes "
                                                      "are learned by their cross-entropy");
    if (t->segments.n > 0)
        return ky_cli_usage(u, "--segments are learned from with --task classify only");
    t->loss = t->task == KY_TASK_REGRESS ? KY_LOSS_MSE : KY_LOSS_BINARY;
    if (t->loss_name != NULL && ky_loss_find(t->loss_name, &t->loss, &err) < 0)
        return ky_cli_usage(u, "%s", err.text);
    cross = t->loss == KY_LOSS_BINARY || t->loss == KY_LOSS_CATEGORICAL;
    if (cross != (t->task == KY_TASK_MULTILABEL) || t->loss == KY_LOSS_CATEGORICAL)
        return ky_cli_usage(u, "--loss %s does not go with --task %s", t->loss_name, t->task_name);
    return -1;
}

/* Of a model that nobody named: for "dir/har.h5:X" har-model.h5 in this folder, or if there is
 * one har-model-2.h5 ... */
static const char *free_name(const char *data)
{
    static char name[160];
    const char *slash = strrchr(data, '/'), *base = slash != NULL ? slash + 1 : data;
    int len = (int)strcspn(base, ".:");

    snprintf(name, sizeof name, "%.*s-model.h5", len < 100 ? len : 100, base);
    for (int i = 2; access(name, F_OK) == 0 && i < 10000; i++)
        snprintf(name, sizeof name, "%.*s-model-%d.h5", len < 100 ? len : 100, base, i);
    return name;
}

/* Of the archive's segments. */
static int check_gate(const ky_usage *u, const ky_training *t)
{
    if (t->out == NULL)
        return ky_cli_usage(u, "-o is missing: where the model should be written");
    if (t->checkpoint != NULL || t->resume != NULL || t->report != NULL)
        return ky_cli_usage(u, "--checkpoint, --resume and --report go with a file of data");
    if (t->folds > 1)
        return ky_cli_usage(u, "--folds goes with a whole training on a file of data");
    if (t->model == NULL || t->arch != NULL)
        return ky_cli_usage(u, "--segments goes with --model, the model to go on from");
    if (strcmp(t->metric, "accuracy") != 0 && strcmp(t->metric, "macro_f1") != 0 &&
        strcmp(t->metric, "log_loss") != 0)
        return ky_cli_usage(u, "--metric: '%s' is none of accuracy, macro_f1, log_loss", t->metric);
    return -1;
}

/* Of a person's file. */
static int check_file(const ky_usage *u, ky_training *t)
{
    if (t->folds > 1 && (t->checkpoint != NULL || t->resume != NULL))
        return ky_cli_usage(u, "--folds goes with a whole training on a file of data");
    if (t->data == NULL)
        return ky_cli_usage(u, "the data to learn from are missing");
    if (t->gate)
        return ky_cli_usage(u, "--gate goes with --segments");
    if (t->history != NULL && !ky_watch_takes(t->history))
        return ky_cli_usage(u, "--history: '%s' ends in neither .csv nor .json", t->history);
    if (t->checkpoint == NULL)
        t->checkpoint = t->resume;
    if (t->out == NULL)
        t->out = free_name(t->data);
    if (t->checkpoint != NULL && strcmp(t->checkpoint, t->out) == 0)
        return ky_cli_usage(u, "-o and the checkpoint are the same file");
    if ((t->arch != NULL) + (t->model != NULL) + (t->resume != NULL) != 1)
        return ky_cli_usage(u, "one of --arch, --model and --resume is wanted");
    return -1;
}

/* -1: all words make sense together. */
static int check_words(const ky_usage *u, ky_training *t)
{
    ky_err err;
    int rc = check_optimizer(u, t);

    if (rc >= 0 || (rc = check_task(u, t)) >= 0)
        return rc;
    if (t->augment_text != NULL && ky_augment_parse(t->augment_text, &t->augment, &err) < 0)
        return ky_cli_usage(u, "--augment: %s", err.text);
    if (strcmp(t->memory, "window") != 0 && strcmp(t->memory, "stream") != 0)
        return ky_cli_usage(u, "--memory: '%s' is neither window nor stream", t->memory);
    return t->segments.n > 0 ? check_gate(u, t) : check_file(u, t);
}

static const char about[] =
    "Trains a model on labelled rows: DATA is an HDF5 file with X_train and y_train, or X\n"
    "and y, or FILE:DATASET. The epoch kept is the one with the lowest loss on a\n"
    "validation part; a test part (X_test) is only scored at the end. X is [rows, steps,\n"
    "values], [rows, values], images [rows, height, width, channels], videos with steps in\n"
    "front of that, or tokens [rows, steps] for `embed`; y a whole number or a name a row;\n"
    "`group` (say, the person) keeps what belongs together on one side of the validation.\n"
    "With --task multilabel or regress y is [rows] or [rows, targets], and the last\n"
    "`dense` has one output a target: sigmoid for labels, linear for numbers.\n"
    "\n"
    "LAYERS, by comma, each a word, its numbers, then its options:\n"
    "  lstm:64  gru:64  rnn:64    units; before another layer of steps all of them go on\n"
    "  bi(lstm:64)  td(dense:8)   both directions; the same layer on every step\n"
    "  conv1d:64x3/2 same relu    filters x width / stride *dilation; same, causal, valid\n"
    "  conv2d:32x3 relu           the same on images; in td(...) on each frame of a video\n"
    "  embed:32x1000              size x tokens; of as many as the data have\n"
    "  maxpool:2  avgpool:2/1     width / stride\n"
    "  gap  gmp  flatten          mean, maximum of all steps; all steps side by side\n"
    "  dense:100 relu             units; the last `dense` has one output a class, softmax\n"
    "  leaky:0.1  elu  prelu  ln  slopes; normalises each step by itself\n"
    "  dropout:0.5  bn            rate; normalises by the statistics of slices of a batch,\n"
    "                             of about 16 windows each with the default batch\n"
    "  activations: relu, tanh, sigmoid, elu, gelu ... by Keras's names";

/* What the command line asks for; the table below points into it. */
static ky_training asked = { .memory = "window",
                             .normalize = true,
                             .metric = "accuracy",
                             .optimizer = "adam",
                             .schedule = "constant",
                             .task_name = "classify",
                             .learning_rate = NAN,
                             .clip_norm = NAN,
                             .weight_decay = NAN,
                             .rate = { .factor = NAN },
                             .decay_patience = 4,
                             .buffer = KY_DATA_MEMORY,
                             .held_out = 0.25,
                             .least_rows = 20 };

static const ky_opt opts[] = {
    { "arch", 'a', KY_OPT_STR, &asked.arch, 0, 0, "LAYERS", "layers of a new model" },
    { "model", 'm', KY_OPT_STR, &asked.model, 0, 0, "FILE", "go on from this model instead" },
    { "output", 'o', KY_OPT_STR, &asked.out, 0, 0, "FILE",
      "where the model is written; DATA-model.h5 where nothing is given" },
    { "checkpoint", 0, KY_OPT_STR, &asked.checkpoint, 0, 0, "FILE",
      "written after each epoch, to go on from" },
    { "history", 0, KY_OPT_STR, &asked.history, 0, 0, "FILE.csv|.json",
      "loss, accuracy, rate and seconds of each epoch, written as epochs end" },
    { "report", 'r', KY_OPT_STR, &asked.report, 0, 0, "DIR",
      "write DIR/index.html: curves, and of the test part confusions and calibration" },
    { "resume", 0, KY_OPT_STR, &asked.resume, 0, 0, "FILE",
      "go on from a checkpoint, with the data and options it was made with; --checkpoint is "
      "the same file unless another is given" },
    { "task", 0, KY_OPT_STR, &asked.task_name, 0, 0, "NAME",
      "classify, multilabel (y is 0 and 1 of each label) or regress (y is numbers)" },
    { "loss", 0, KY_OPT_STR, &asked.loss_name, 0, 0, "NAME",
      "of regress: mse (where nothing is given), mae, huber" },
    { "epochs", 'e', KY_OPT_INT, &asked.epochs, 1, 1e6, "N", "times over the data, at most" },
    { "batch", 'b', KY_OPT_INT, &asked.batch, 1, 1e5, "N", "windows a step" },
    { "optimizer", 0, KY_OPT_STR, &asked.optimizer, 0, 0, "NAME", "adam, adamw, sgd or rmsprop" },
    { "lr", 'l', KY_OPT_NUM, &asked.learning_rate, 1e-12, 10, "X",
      "learning rate; 0.001 where not given, with sgd 0.01" },
    { "momentum", 0, KY_OPT_NUM, &asked.optim.momentum, 0, 0.9999, "X", "of sgd and rmsprop" },
    { "nesterov", 0, KY_OPT_FLAG, &asked.optim.nesterov, 0, 0, NULL, "sgd: Nesterov's momentum" },
    { "rho", 0, KY_OPT_NUM, &asked.optim.rho, 0, 0.9999, "X",
      "rmsprop: how much of its mean of squares a step keeps" },
    { "centered", 0, KY_OPT_FLAG, &asked.optim.centered, 0, 0, NULL,
      "rmsprop: divide by the gradient's deviation" },
    { "weight-decay", 0, KY_OPT_NUM, &asked.weight_decay, 0, 10, "X",
      "a step takes this share of lr * w from each weight; 0, with adamw 0.004" },
    { "schedule", 0, KY_OPT_STR, &asked.schedule, 0, 0, "NAME",
      "of the learning rate: constant, exponential, cosine, plateau" },
    { "decay", 0, KY_OPT_NUM, &asked.rate.factor, 1e-6, 1, "X",
      "what the rate is multiplied by: each epoch (exponential, 0.95), or when the validation "
      "loss stays (plateau, 0.1)" },
    { "decay-patience", 0, KY_OPT_INT, &asked.decay_patience, 1, 1e6, "N",
      "plateau: epochs without a lower validation loss" },
    { "seed", 's', KY_OPT_INT, &asked.seed, 0, 9e15, "N",
      "same seed, data and options: the same file" },
    { "patience", 'p', KY_OPT_INT, &asked.patience, 1, 1e6, "N",
      "epochs without a better validation loss before it stops" },
    { "clip", 0, KY_OPT_NUM, &asked.clip_norm, 0, 1e9, "X",
      "gradients longer than this are shortened to it; 0: never; 1 where nothing is given" },
    { "clipnorm", 0, KY_OPT_NUM, &asked.clip_array, 0, 1e9, "X",
      "in place of --clip, each array of weights by itself" },
    { "clipvalue", 0, KY_OPT_NUM, &asked.clip_value, 0, 1e9, "X",
      "in place of --clip, cut each element off here" },
    { "l1", 0, KY_OPT_NUM, &asked.l1, 0, 1e6, "X", "add X times the sum of |w| of kernels" },
    { "l2", 0, KY_OPT_NUM, &asked.l2, 0, 1e6, "X", "add X times the sum of w^2 of kernels" },
    { "label-smoothing", 0, KY_OPT_NUM, &asked.smoothing, 0, 0.9999, "X",
      "share of each label that is spread over all classes" },
    { "class-weight", 0, KY_OPT_STR, &asked.class_weight, 0, 0, "balanced|NAME=W,...",
      "what rows of a class count in the loss that is learned from" },
    { "buffer", 0, KY_OPT_SIZE, &asked.buffer, 1 << 20, 1e15, "SIZE",
      "bytes of rows in memory: larger data are read in blocks each epoch and shuffled within so "
      "much" },
    { "validation", 0, KY_OPT_NUM, &asked.validation, 0.001, 0.9, "X",
      "share held out to choose the epoch" },
    { "augment", 0, KY_OPT_STR, &asked.augment_text, 0, 0, "jitter=X,scale=X,shift=N",
      "change the rows learned from each time anew: noise of X deviations, values X times further "
      "from their mean or nearer, moved by up to N steps or pixels" },
    { "folds", 0, KY_OPT_INT, &asked.folds, 0, KY_MOST_FOLDS, "N",
      "cross-validation first: N times all rows but a fold are learned from and the fold is "
      "scored; "
      "0, 1: none" },
    { "threads", 't', KY_OPT_INT, &asked.threads, 0, 256, "N",
      "0: all cores; no effect on the result" },
    { "memory", 0, KY_OPT_STR, &asked.memory, 0, 0, "window|stream",
      "each window from zeros, or state carried along a stream" },
    { "no-normalize", 0, KY_OPT_FLAG, &asked.normalize, 0, 0, NULL,
      "leave out the layer that normalises the input" },
    { "json", 'j', KY_OPT_FLAG, &asked.json, 0, 0, NULL, "report as JSON" },
    { "quiet", 'q', KY_OPT_FLAG, &asked.quiet, 0, 0, NULL, "no progress" },
    { "segments", 0, KY_OPT_STRS, &asked.segments, 0, 0, "DIR|FILE",
      "learn from the archive's segments" },
    { "gate", 0, KY_OPT_FLAG, &asked.gate, 0, 0, NULL,
      "score beside --model on the same held-out latest part" },
    { "results", 0, KY_OPT_STR, &asked.results, 0, 0, "FILE",
      "results.db, for labels that came late" },
    { "class", 0, KY_OPT_STR, &asked.class_name, 0, 0, "NAME",
      "the segments' stream class; else the name of their folder" },
    { "metric", 0, KY_OPT_STR, &asked.metric, 0, 0, "NAME",
      "what the gate compares: accuracy, macro_f1, log_loss" },
    { "margin", 0, KY_OPT_NUM, &asked.margin, -1e6, 1e6, "X", "how much better it must be" },
    { "held-out", 0, KY_OPT_NUM, &asked.held_out, 0.001, 0.9, "X",
      "share of the latest sequences" },
    { "least-rows", 0, KY_OPT_INT, &asked.least_rows, 2, 1e9, "N",
      "fewest labelled sequences to go on with" },
    { "background", 0, KY_OPT_FLAG, &asked.background, 0, 0, NULL,
      "lowest priority, quiet, and end with the parent" },
    { NULL, 0, 0, NULL, 0, 0, NULL, NULL },
};

static const ky_usage usage = {
    .synopsis =
        "kymo train DATA --arch LAYERS | --model FILE | --resume FILE [-o MODEL.h5] [options]",
    .about = about,
    .opts = opts,
    .max_args = 1,
    .examples = "  kymo train har.h5 --arch \"lstm:64, dense\" -o har_lstm.h5\n"
                "  kymo train har.h5 --arch \"conv1d:64x3 relu, maxpool:2, flatten, dense\" "
                "-o har_cnn.h5\n",
};

/* What is not as the table has it comes from the trainer. */
static void set_defaults(ky_training *t)
{
    ky_train_opts o;

    ky_train_defaults(&o);
    t->epochs = o.epochs;
    t->batch = o.batch;
    t->patience = o.patience;
    t->seed = (int64_t)o.seed;
    t->validation = o.validation;
    t->optim = o.optim;
}

int ky_training_asked(int argc, char **argv, const ky_training **ret)
{
    ky_training *t = &asked;
    const char *words[1] = { NULL };
    int n, rc;

    set_defaults(t);
    if ((rc = ky_cli_parse(&usage, argc, argv, words, &n)) >= 0)
        return rc;
    t->data = n > 0 ? words[0] : NULL;
    t->argc = argc;
    t->argv = argv;
    if ((rc = check_words(&usage, t)) >= 0)
        return rc;
    t->quiet |= t->background;
    *ret = t;
    return -1;
}
