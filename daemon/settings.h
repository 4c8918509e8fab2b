/*
 * The table of settings: one row a key, from which config.c parses and checks, and from
 * which the effective configuration, the example file and kymod.ini(5) are printed.
 * Adding a setting is adding a row, and a field that it fills, in config.h.
 */
#ifndef KY_SETTINGS_H
#define KY_SETTINGS_H

#include "daemon/config.h"

enum ky_section {
    KY_SECTION_KYMOD,
    KY_SECTION_SOURCE,
    KY_SECTION_STREAM,
    KY_SECTION_MODEL,
    KY_SECTION_PUBLISH,
    KY_SECTIONS
};

enum ky_setting_type {
    KY_SET_TEXT,   /* char * */
    KY_SET_WORD,   /* char *, one of `words` */
    KY_SET_PATH,   /* char *, made absolute */
    KY_SET_LIST,   /* ky_list */
    KY_SET_BOOL,   /* bool */
    KY_SET_CHOICE, /* int or int64_t: the value of one of `words` */
    KY_SET_NUMBER, /* int or int64_t */
    KY_SET_SIZE,   /* int64_t, bytes */
    KY_SET_TIME,   /* int64_t, microseconds */
    KY_SET_EVERY,  /* likewise, written `every 24h` */
    KY_SET_NTH,    /* int64_t, a number written `every 10` */
    KY_SET_REAL,   /* double */
    KY_SET_PAIRS,  /* ky_kv * and its int: keys that begin with the row's */
};

typedef struct ky_word {
    const char *word;
    int64_t value;
} ky_word;

typedef struct ky_setting {
    enum ky_section section;
    const char *key;
    enum ky_setting_type type;
    size_t at, size;       /* of the field in the section's struct */
    const char *otherwise; /* the default, as one would write it; NULL: there is none */
    double min, max;       /* numbers, sizes in bytes, times in microseconds */
    const ky_word *words;  /* allowed words, NULL behind the last; of a number: words for values */
    const char *when;      /* "key=word|word": the setting exists only then, and if key does */
    bool required;
    const char *help;    /* whole sentences; a blank line is a paragraph */
    const char *example; /* what the example file shows; NULL: the default */
} ky_setting;

extern const ky_setting ky_settings[];
extern const int ky_n_settings;

typedef struct ky_section_kind {
    const char *word; /* "source" of [source:NAME] */
    bool named;
    size_t size;         /* of its struct */
    size_t rows, n_rows; /* where ky_config keeps them; unused for [kymod] */
    const char *help;
    const char *example; /* its name in the example file */
} ky_section_kind;

extern const ky_section_kind ky_sections[KY_SECTIONS];

/** The row of a key, NULL if unknown. "rdkafka.x" finds the row of "rdkafka.". */
const ky_setting *ky_setting_find(enum ky_section section, const char *key);

/** Put the value of `text` into the section's struct. `dir`: what relative paths are relative to.
 *  KY_EINVAL: err says what was found and what is allowed; KY_ENOMEM. */
int ky_setting_parse(const ky_setting *s, const char *key, const char *text, const char *dir,
                     void *obj, ky_err *err);

/** What is allowed, for messages: "a number from 1 to 64, or auto". */
void ky_setting_allowed(const ky_setting *s, char *ret, size_t size);

/** Its `when` for people: "socket = pull or sub". */
void ky_setting_when(const ky_setting *s, char *ret, size_t size);

/** Whether the row's `when` holds for this object. */
bool ky_setting_applies(const ky_setting *s, const void *obj);

/** The value as one would write it; malloc'd, "" when unset, NULL when out of memory. */
char *ky_setting_text(const ky_setting *s, const void *obj);

void ky_setting_free(const ky_setting *s, void *obj);

/** Whether a value should not be shown: passwords, keys. */
bool ky_setting_secret(const char *key);

/** Number n of a kind's objects, NULL behind the last; *ret_name receives its name. */
void *ky_section_object(const ky_config *c, enum ky_section section, int n, const char **ret_name);

#endif
