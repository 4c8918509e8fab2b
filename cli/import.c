/* kymo import: other people's files become data that `kymo train` reads. */
#include "cli/import.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/data.h"

enum { MOST_SHOWN = 40 }; /* classes that are listed */

/* What is read as words first. */
typedef struct wish {
    ky_import_opts o;
    const char *out, *size, *missing, *task, *standardize, *pad;
    int64_t seed;
    bool dry, quiet;
} wish;

/* Places of a word in a list that ends with NULL; -1: not there. */
static int place_in(const char *const *list, const char *word)
{
    for (int i = 0; list[i] != NULL; i++)
        if (strcmp(list[i], word) == 0)
            return i;
    return -1;
}

/* "28x28", or one number for both. */
static bool read_size(const char *text, int64_t *ret_height, int64_t *ret_width)
{
    char *end;

    *ret_height = *ret_width = strtoll(text, &end, 10);
    if (*end == 'x' && end[1] >= '0' && end[1] <= '9')
        *ret_width = strtoll(end + 1, &end, 10);
    return end != text && *end == '\0' && *ret_height >= 1 && *ret_height <= 1 << 14 &&
           *ret_width >= 1 && *ret_width <= 1 << 14;
}

/* Words to values; -1, or the exit code of a usage error. */
static int understand(const ky_usage *u, wish *w)
{
    static const char *const missing[] = { "nan", "linear", "drop", NULL };
    static const char *const tasks[] = { "classify", "regress", NULL };
    static const char *const pads[] = { "post", "pre", NULL };
    int fill = place_in(missing, w->missing), task = place_in(tasks, w->task);
    int pad = place_in(pads, w->pad), rule = ky_standardize_find(w->standardize);

    if (fill < 0)
        return ky_cli_usage(u, "--missing '%s': must be nan, linear or drop", w->missing);
    if (task < 0)
        return ky_cli_usage(u, "--task '%s': must be classify or regress", w->task);
    if (pad < 0)
        return ky_cli_usage(u, "--pad '%s': must be post or pre", w->pad);
    if (rule < 0)
        return ky_cli_usage(u,
                            "--standardize '%s': must be lower_and_strip_punctuation, lower, "
                            "strip_punctuation, none or english_words",
                            w->standardize);
    if (w->size != NULL && !read_size(w->size, &w->o.height, &w->o.width))
        return ky_cli_usage(u, "--size '%s': must be like 28x28, at most 16384", w->size);
    if (w->out == NULL && !w->dry)
        return ky_cli_usage(u, "-o is missing: where the data should be written");
    w->o.missing = (enum ky_import_missing)fill;
    w->o.numbers = task == 1;
    w->o.at_start = pad == 1;
    w->o.standardize = (enum ky_standardize)rule;
    w->o.seed = (uint64_t)w->seed;
    return -1;
}

/* -- what came of it -------------------------------------------------------------------------- */

static const char *const parts[] = { "X", "X_train", "X_test" };

static const char *type_name(enum ky_h5_type t)
{
    static const char *const names[] = {
        [KY_H5_F32] = "float32", [KY_H5_F64] = "float64", [KY_H5_I8] = "int8",
        [KY_H5_U8] = "uint8",    [KY_H5_I16] = "int16",   [KY_H5_I32] = "int32",
        [KY_H5_U32] = "uint32",  [KY_H5_I64] = "int64",   [KY_H5_U64] = "uint64",
    };

    return names[t];
}

static void print_shapes(const ky_import_report *r)
{
    for (int p = 0; p < KY_IMPORT_PARTS; p++) {
        if (r->rows[p] == 0)
            continue;
        printf("  %-7s [%lld", parts[p], (long long)r->rows[p]);
        for (int i = 0; i < r->rank; i++)
            printf(", %llu", (unsigned long long)r->dims[i]);
        printf("] %s\n", type_name(r->type));
    }
    if (r->shortest < r->longest)
        printf("  steps   %d to %d\n", r->shortest, r->longest);
    if (r->n_groups > 0)
        printf("  groups  %d\n", r->n_groups);
}

static void print_classes(const ky_import_report *r)
{
    for (int c = 0; c < r->n_classes && c < MOST_SHOWN; c++) {
        printf("  %s ", c == 0 ? "classes" : "       ");
        ky_cli_print_safe(stdout, r->classes[c], strlen(r->classes[c]));
        for (int p = 0, n = 0; p < KY_IMPORT_PARTS; p++)
            if (r->rows[p] > 0)
                printf("%s%lld", n++ == 0 ? ": " : " + ",
                       (long long)r->counts[c * KY_IMPORT_PARTS + p]);
        printf("\n");
    }
    if (r->n_classes > MOST_SHOWN)
        printf("          and %d more\n", r->n_classes - MOST_SHOWN);
}

static void print_report(const wish *w, const ky_import_report *r)
{
    printf("%s%s: %s, %d file%s", w->dry ? "would write " : "", w->out != NULL ? w->out : "data",
           r->format, r->files, r->files == 1 ? "" : "s");
    if (r->left_out > 0)
        printf(" (%d others left out)", r->left_out);
    printf("\n");
    print_shapes(r);
    print_classes(r);
    if (r->note[0] != '\0')
        printf("  %s\n", r->note);
    if (r->straddling > 0)
        printf("  %lld rows left out that would share samples with the training part\n",
               (long long)r->straddling);
    if (r->dropped > 0)
        printf("  %lld rows with missing values left out\n", (long long)r->dropped);
    else if (r->missing > 0)
        printf("  %lld values are missing: %s\n", (long long)r->missing,
               w->o.missing == KY_MISSING_LINEAR ? "filled along the line between their neighbours"
                                                 : "NaN, which training refuses; see --missing");
}

/* -- the command ------------------------------------------------------------------------------ */

static void show(void *arg, double done, double total)
{
    ky_progress *bar = arg;

    if (bar->total == 0) {
        bar->total = total;
        ky_progress_begin(bar);
    }
    ky_progress_show(bar, done, NULL);
}

static int import(wish *w, const char *const *words, int n)
{
    ky_progress bar = { .what = "importing", .unit = "rows", .quiet = w->quiet };
    ky_import_report r = { .files = 0 };
    ky_err err = { 0 };
    int rc = KY_OK;

    w->o.out = w->dry ? NULL : w->out;
    w->o.progress = show;
    w->o.arg = &bar;
    for (int i = 0; rc == KY_OK && i < n && w->o.out != NULL; i++)
        rc = ky_data_spare(words[i], w->o.out, &err);
    if (rc == KY_OK)
        rc = ky_import_run(&w->o, words, n, &r, &err);
    if (rc == KY_OK && bar.tty)
        ky_progress_end(&bar, bar.total, NULL);
    if (rc == KY_OK)
        print_report(w, &r);
    ky_import_report_done(&r);
    return rc < 0 ? ky_cli_fail(&err) : KY_EXIT_OK;
}

/* What the command line asks for; the table below points into it. */
static wish asked = { .o = { .words = 20000, .fft = 256, .low_hz = 20, .time_unit = "s" },
                      .missing = "nan",
                      .task = "classify",
                      .standardize = "lower_and_strip_punctuation",
                      .pad = "post",
                      .seed = 1 };

static const ky_opt opts[] = {
    { "output", 'o', KY_OPT_STR, &asked.out, 0, 0, "FILE", "HDF5 file for the data" },
    { "format", 'f', KY_OPT_STR, &asked.o.format, 0, 0, "NAME",
      "ts, tsv, idx, csv-long, csv-wide, wav, image or text; otherwise the files say" },
    { "split", 0, KY_OPT_NUM, &asked.o.split, 0, 0.99, "SHARE",
      "rows for a test part where the source has none: whole groups, else the latest, else "
      "of every class; 0: none" },
    { "seed", 's', KY_OPT_INT, &asked.seed, 0, 9e15, "N", "of --split" },
    { "length", 'l', KY_OPT_INT, &asked.o.length, 0, 1 << 20, "T",
      "steps, or words, of a row: longer ones are cut, shorter ones padded; 0: the longest" },
    { "missing", 0, KY_OPT_STR, &asked.missing, 0, 0, "HOW",
      "values that are not there: nan, linear (between their neighbours), drop (the row)" },
    { "task", 0, KY_OPT_STR, &asked.task, 0, 0, "TASK",
      "classify: labels are classes; regress: numbers" },
    { "label", 0, KY_OPT_STR, &asked.o.label, 0, 0, "COLUMN",
      "where the label stands: a name of the header, or a number from 1" },
    { "features", 0, KY_OPT_STR, &asked.o.features, 0, 0, "COLUMNS",
      "where the values, or the sentence, stand" },
    { "group", 0, KY_OPT_STR, &asked.o.group, 0, 0, "COLUMN",
      "of a table: the stream of a sample, the group of a series" },
    { "time", 0, KY_OPT_STR, &asked.o.time, 0, 0, "COLUMN", "of a table: when it was measured" },
    { "time-unit", 0, KY_OPT_STR, &asked.o.time_unit, 0, 0, "UNIT",
      "of times that are numbers: s, ms, us or ns" },
    { "window", 'w', KY_OPT_INT, &asked.o.window, 0, 1 << 20, "T",
      "cut streams into windows of T samples; 0: a stream is one row" },
    { "hop", 0, KY_OPT_INT, &asked.o.hop, 0, 1 << 20, "N",
      "samples from window to window, or frame to frame; 0: a whole window, half a frame" },
    { "gap", 0, KY_OPT_TIME, &asked.o.gap_us, 0, 0, "T",
      "no row goes over a longer step; otherwise half as long again as the stream's usual" },
    { "log-mel", 0, KY_OPT_INT, &asked.o.bands, 0, 512, "BANDS",
      "of sound: log-mel features instead of samples" },
    { "frames", 0, KY_OPT_INT, &asked.o.frames, 0, 1 << 20, "T",
      "of log-mel features: cut or filled with silence to T; 0: the longest" },
    { "fft", 0, KY_OPT_INT, &asked.o.fft, 16, 1 << 16, "N", "samples of a frame, a power of two" },
    { "fmin", 0, KY_OPT_NUM, &asked.o.low_hz, 0, 1e6, "HZ", "where the lowest band begins" },
    { "fmax", 0, KY_OPT_NUM, &asked.o.high_hz, 0, 1e6, "HZ",
      "where the highest band ends; 0: half the sampling rate" },
    { "size", 0, KY_OPT_STR, &asked.size, 0, 0, "HxW", "of images: all become that large" },
    { "grey", 0, KY_OPT_FLAG, &asked.o.grey, 0, 0, NULL, "of images: one channel" },
    { "name", 0, KY_OPT_STR, &asked.o.name, 0, 0, "PATTERN",
      "where label and group stand in the names of files, as '{label}_{group}_{}'; otherwise "
      "the folder is the label, or what stands before the first _" },
    { "max-tokens", 0, KY_OPT_INT, &asked.o.words, 3, 1 << 20, "N",
      "numbers of the vocabulary: the most frequent words, 0 for padding, 1 for others" },
    { "vocabulary", 0, KY_OPT_STR, &asked.o.vocabulary, 0, 0, "FILE",
      "take the words of other data, of a model, or of a list with a word a line, instead of "
      "those that are frequent" },
    { "standardize", 0, KY_OPT_STR, &asked.standardize, 0, 0, "RULE",
      "how text is cut: Keras's lower_and_strip_punctuation, lower, strip_punctuation, none; "
      "or english_words" },
    { "pad", 0, KY_OPT_STR, &asked.pad, 0, 0, "WHERE",
      "short texts are padded, long ones cut: post (at the end) or pre" },
    { "dry-run", 'n', KY_OPT_FLAG, &asked.dry, 0, 0, NULL,
      "read and check everything, say what would be written, write nothing" },
    { "quiet", 'q', KY_OPT_FLAG, &asked.quiet, 0, 0, NULL, "no progress" },
    { NULL, 0, 0, NULL, 0, 0, NULL, NULL },
};
static const ky_usage usage = {
    .synopsis = "kymo import SOURCE... -o DATA.h5 [options]",
    .about = "Turns other people's files into data that `kymo train` reads. A source is a\n"
             "file or a folder; gzipped files are unpacked. Names with TRAIN and TEST say the\n"
             "part, and of a pair the first is enough. Formats: ts (UEA, aeon), tsv (UCR),\n"
             "idx (MNIST), csv-long (a sample a line), csv-wide (a series a line), wav, image\n"
             "(PNG, JPEG; a folder for each class), text (label, tab and sentence; a file or\n"
             "folder for each label).",
    .opts = opts,
    .min_args = 1,
    .max_args = -1,
    .examples = "  kymo import ECG200_TRAIN.ts -o ecg.h5\n"
                "  kymo import train-images-idx3-ubyte.gz -o mnist.h5\n"
                "  kymo import pumps.csv --window 128 --hop 64 --split 0.2 -o pumps.h5\n"
                "  kymo import recordings --log-mel 40 --name '{label}_{group}_{}' -o said.h5\n"
                "  kymo import rt-polarity.neg rt-polarity.pos --split 0.1 -o reviews.h5\n",
};

int ky_cmd_import(int argc, char **argv)
{
    const char **words = calloc((size_t)argc + 1, sizeof *words);
    int n = 0, rc;

    if (words == NULL)
        return KY_EXIT_FAILED;
    rc = ky_cli_parse(&usage, argc, argv, words, &n);
    if (rc < 0)
        rc = understand(&usage, &asked);
    if (rc < 0)
        rc = import(&asked, words, n);
    free(words);
    return rc;
}
