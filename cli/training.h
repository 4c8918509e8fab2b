/*
 * What `kymo train` is told, shared by its two ways: from a person's file, and from the
 * archive's segments behind the gate.
 */
#ifndef KY_TRAINING_H
#define KY_TRAINING_H

#include "cli/cli.h"
#include "cli/data.h"
#include "cli/targets.h"
#include "models/train.h"

typedef struct ky_training {
    const char *data, *arch, *model, *out, *memory, *checkpoint, *resume, *history, *report;
    int argc; /* the command line */
    char *const *argv;
    int64_t epochs, batch, patience, seed, threads, buffer, folds;
    double learning_rate, validation, clip_norm;
    /* the optimizer and what becomes of the gradient */
    const char *optimizer, *schedule, *class_weight;
    const char *task_name, *loss_name;
    const char *augment_text;
    ky_augment augment;
    enum ky_task task;
    enum ky_loss_kind loss; /* of targets */
    ky_optim_opts optim;
    ky_rate rate;
    int64_t decay_patience;
    double weight_decay, clip_array, clip_value, l1, l2, smoothing;
    bool normalize, json, quiet, background;
    /* the gate */
    ky_strs segments;
    bool gate;
    const char *results, *class_name, *metric;
    double margin, held_out;
    int64_t least_rows;
} ky_training;

/** What the command line of `kymo train` says, checked: -1 to go on, else the exit code to leave
 *  with. *ret stays; there is one command line. */
int ky_training_asked(int argc, char **argv, const ky_training **ret);

/** What t says to the trainer; progress, weights of classes and whether the input is fitted are
 *  left as ky_train_defaults has them. */
void ky_training_opts(const ky_training *t, ky_train_opts *ret);

/** What an --arch of t is built for with these data. KY_EINVAL: they have a single class. */
int ky_training_shape(const ky_training *t, const ky_data *d, ky_arch_opts *ret, ky_err *err);

/** A model of t's --arch with first weights of its seed, and the names that the data have. */
int ky_training_build(const ky_training *t, const ky_data *d, const ky_arch_opts *o, ky_model **ret,
                      ky_err *err);

/** Train with a bar on a terminal and lines elsewhere; the first interrupt ends it after the
 *  batch, keeping the best. */
int ky_training_run(const ky_training *t, ky_model *m, const ky_dataset *d, bool fit_input,
                    ky_train_result *ret, ky_err *err);

/** Seed, data and history into what the model's file keeps, with those of a cross-validation (taken
 *  over; NULL: there was none). */
void ky_training_note(const ky_training *t, ky_model *m, const ky_train_result *r,
                      uint64_t data_hash, int rows, ky_json *folds);

/** Train on segments, score beside the champion; returns the exit code. */
int ky_training_gate(const ky_training *t);

#endif
