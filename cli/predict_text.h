/* Sentences to a model that knows words (models/vocabulary.h), for `kymo predict`. */
#ifndef KY_PREDICT_TEXT_H
#define KY_PREDICT_TEXT_H

#include "cli/cli.h"
#include "models/model.h"

/**
 * Prints the answer to each sentence, a line each as it comes: the class, its probability and the
 * sentence, divided by tabs; where the model has no classes, its values and the sentence.
 *
 * @param texts  the sentences; none: the lines of standard input
 * @return KY_EUNSUPPORTED if the model has no vocabulary, or several inputs or outputs
 */
int ky_predict_text(const ky_model *m, const ky_strs *texts, ky_err *err);

#endif
