/*
 * Sentences as rows of numbers: a rule that cuts a sentence into words, and the words that have
 * numbers. As Keras's TextVectorization has it: 0 is padding, 1 any word that has no number, the
 * others follow from 2, the most frequent first. It is made from the sentences that are learned
 * from, stands in the data file (attribute kymo_text) and goes with the model that learned them,
 * so that the model can be asked in words.
 *
 * Made by one thread; once it is chosen any number may encode with it.
 */
#ifndef KY_VOCABULARY_H
#define KY_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/h5.h"
#include "models/json.h"

typedef struct ky_vocabulary ky_vocabulary;

/* Where it stands in data files and model files. */
#define KY_VOCABULARY_ATTR "kymo_text"

enum { KY_WORD_NONE = 0, KY_WORD_UNKNOWN = 1, KY_WORD_FIRST = 2 };

/*
 * How a sentence is cut. The first four are TextVectorization's `standardize`, after which words
 * are what white space (ASCII's) separates; only A-Z have a lower case, as in tf.strings.lower,
 * and punctuation is ASCII's 32 marks. The last is what the data sets of short reviews are usually
 * prepared with: words are runs of a-z, 0-9 and ', each ! and ? is one, all else separates.
 */
enum ky_standardize {
    KY_LOWER_AND_STRIP_PUNCTUATION,
    KY_LOWER,
    KY_STRIP_PUNCTUATION,
    KY_STANDARDIZE_NONE,
    KY_ENGLISH_WORDS,
    KY_STANDARDIZES
};

/** "lower_and_strip_punctuation" ... */
const char *ky_standardize_name(enum ky_standardize s);
/** -1: no such rule. */
int ky_standardize_find(const char *name);

/** An empty one. NULL: no memory. */
ky_vocabulary *ky_vocabulary_new(enum ky_standardize rule);
ky_vocabulary *ky_vocabulary_copy(const ky_vocabulary *v);
void ky_vocabulary_free(ky_vocabulary *v);

/** Count the words of a sentence; bytes that are no UTF-8 stand for U+FFFD. Returns how many words
 *  it has, or KY_ENOMEM, KY_EFULL (more different words than there can be). */
int ky_vocabulary_count(ky_vocabulary *v, const char *text, size_t len, ky_err *err);

/** Give the most frequent words their numbers, at most `most` numbers with the two that are no
 *  words; words of one count in falling order of their bytes, as Keras. */
int ky_vocabulary_choose(ky_vocabulary *v, int most, ky_err *err);

/** Give the next number to a word; refused if it has one. */
int ky_vocabulary_add(ky_vocabulary *v, const char *word, size_t len, ky_err *err);

/**
 * Words of a row and what is done with sentences of other lengths: at_start pads and cuts at the
 * beginning (pad_sequences without options), otherwise at the end (TextVectorization).
 */
void ky_vocabulary_set_length(ky_vocabulary *v, int length, bool at_start);

/** Numbers that there are, the two that are no words included. */
int ky_vocabulary_size(const ky_vocabulary *v);
int ky_vocabulary_length(const ky_vocabulary *v); /* 0: not set */
bool ky_vocabulary_at_start(const ky_vocabulary *v);
enum ky_standardize ky_vocabulary_rule(const ky_vocabulary *v);
/** "" for 0, "[UNK]" for 1. */
const char *ky_vocabulary_word(const ky_vocabulary *v, int i);

/** A sentence as a row of `length` numbers. Returns how many words it has, or KY_ENOMEM. */
int ky_vocabulary_encode(const ky_vocabulary *v, const char *text, size_t len, int32_t *row,
                         int length);

/** The same rule, words and way of padding: what was encoded with one can be read with the other.
 */
bool ky_vocabulary_same(const ky_vocabulary *a, const ky_vocabulary *b);

/** {"standardize", "split", "padding", "output_sequence_length", "vocabulary"}, the names of
 *  TextVectorization's and pad_sequences's arguments. NULL: no memory. */
ky_json *ky_vocabulary_to_json(const ky_vocabulary *v);
/** From a file of anybody: KY_EFORMAT says what is wrong. */
int ky_vocabulary_of_json(const ky_json *json, ky_vocabulary **ret, ky_err *err);
/** The same text as an attribute of a file. */
int ky_vocabulary_write(const ky_vocabulary *v, ky_h5 *f, ky_err *err);
/** *ret NULL if the file has none. */
int ky_vocabulary_read(ky_h5 *f, ky_vocabulary **ret, ky_err *err);

#endif
