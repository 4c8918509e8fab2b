#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static const char *command_of(const ky_usage *u, int *ret_len)
{
    /* The synopsis begins "kymo NAME ...". */
    const char *end = strchr(u->synopsis, ' ');

    end = end != NULL ? strchr(end + 1, ' ') : NULL;
    *ret_len = end != NULL ? (int)(end - u->synopsis) : (int)strlen(u->synopsis);
    return u->synopsis;
}

int ky_cli_usage(const ky_usage *u, const char *fmt, ...)
{
    int len;
    const char *command = command_of(u, &len);
    va_list ap;

    fprintf(stderr, "kymo: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, " (see '%.*s --help')\n", len, command);
    return KY_EXIT_USAGE;
}

int ky_cli_fail(const ky_err *err)
{
    fprintf(stderr, "kymo: ");
    ky_cli_print_safe(stderr, err->text, strlen(err->text));
    fputc('\n', stderr);
    return KY_EXIT_FAILED;
}

void ky_cli_print_safe(FILE *out, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
}

/* " [64]" where there is a default, else nothing. */
static void tell_default(const ky_opt *o, char *to, size_t n)
{
    *to = '\0';
    switch (o->type) {
    case KY_OPT_STR:
        if (*(const char **)o->at != NULL)
            snprintf(to, n, " [%s]", *(const char **)o->at);
        break;
    case KY_OPT_INT:
        snprintf(to, n, " [%lld]", (long long)*(int64_t *)o->at);
        break;
    case KY_OPT_NUM:
        if (!isnan(*(double *)o->at))
            snprintf(to, n, " [%g]", *(double *)o->at);
        break;
    case KY_OPT_TIME:
        if (*(int64_t *)o->at != 0)
            snprintf(to, n, " [%gs]", (double)*(int64_t *)o->at / 1e6);
        break;
    case KY_OPT_SIZE:
        snprintf(to, n, " [%lldM]", (long long)(*(int64_t *)o->at >> 20));
        break;
    case KY_OPT_FLAG:
    case KY_OPT_STRS:
        break;
    }
}

/* Words up to column 80, going on at column `from`; the first line stands there already. */
static void print_wrapped(const char *text, int from)
{
    int at = from;

    for (const char *s = text; *s != '\0';) {
        int len = (int)strcspn(s, " ");

        if (at > from && at + 1 + len > 80) {
            printf("\n%*s", from, "");
            at = from;
        }
        at += printf(at > from ? " %.*s" : "%.*s", len, s);
        s += len;
        s += *s == ' ';
    }
    printf("\n");
}

static void print_help(const ky_usage *u)
{
    printf("Usage: %s\n\n%s\n\nOptions:\n", u->synopsis, u->about);
    for (const ky_opt *o = u->opts; o->name != NULL; o++) {
        char left[64], given[512], text[1024];

        snprintf(left, sizeof(left), "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
                 o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name, o->arg ? " " : "",
                 o->arg ? o->arg : "");
        tell_default(o, given, sizeof(given));
        snprintf(text, sizeof(text), "%s%s", o->help, given);
        print_wrapped(text, printf("  %-27s ", left));
    }
    printf("  -h, --help                  print this and leave\n");
    if (u->examples != NULL)
        printf("\nExamples:\n%s", u->examples);
}

static bool parse_number(const char *text, double *ret, const char **rest)
{
    char *end;

    errno = 0;
    *ret = strtod(text, &end);
    *rest = end;
    return end != text && errno == 0 && isfinite(*ret);
}

static bool parse_time(const char *text, int64_t *ret)
{
    static const struct {
        const char *unit;
        double us;
    } units[] = { { "", 1e6 },  { "us", 1 },    { "ms", 1e3 },   { "s", 1e6 },
                  { "m", 6e7 }, { "h", 3.6e9 }, { "d", 8.64e10 } };
    const char *rest;
    double v;

    if (!parse_number(text, &v, &rest) || v < 0)
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
        if (strcmp(rest, units[i].unit) == 0 && v * units[i].us < 9e18) {
            *ret = (int64_t)(v * units[i].us);
            return true;
        }
    return false;
}

static bool parse_size(const char *text, int64_t *ret)
{
    static const char *const units[] = { "", "K", "M", "G" };
    const char *rest;
    double v;

    if (!parse_number(text, &v, &rest) || v < 0)
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
        if (strcmp(rest, units[i]) == 0 && ldexp(v, (int)(10 * i)) < 9e15) {
            *ret = (int64_t)ldexp(v, (int)(10 * i));
            return true;
        }
    return false;
}

static int bad_value(const ky_usage *u, const ky_opt *o, const char *value)
{
    static const char *const kinds[] = {
        [KY_OPT_INT] = "a whole number",
        [KY_OPT_NUM] = "a number",
        [KY_OPT_TIME] = "a duration such as 500ms, 10s or 5m",
        [KY_OPT_SIZE] = "a size such as 64M or 2G",
    };

    if ((o->type == KY_OPT_INT || o->type == KY_OPT_NUM) && o->min < o->max)
        return ky_cli_usage(u, "--%s: '%s' is not %s from %.10g to %.10g", o->name, value,
                            kinds[o->type], o->min, o->max);
    return ky_cli_usage(u, "--%s: '%s' is not %s", o->name, value, kinds[o->type]);
}

static bool in_range(const ky_opt *o, double v)
{
    return o->min >= o->max || (v >= o->min && v <= o->max);
}

/* Returns -1, or the exit code of a usage error. */
static int take_value(const ky_usage *u, const ky_opt *o, const char *value)
{
    const char *rest;
    double v;
    ky_strs *strs;

    switch (o->type) {
    case KY_OPT_FLAG:
        *(bool *)o->at = strncmp(o->name, "no-", 3) != 0;
        return -1;
    case KY_OPT_STR:
        *(const char **)o->at = value;
        return -1;
    case KY_OPT_STRS:
        strs = o->at;
        if (strs->n == (int)(sizeof(strs->item) / sizeof(*strs->item)))
            return ky_cli_usage(u, "--%s: given more than %d times", o->name, strs->n);
        strs->item[strs->n++] = value;
        return -1;
    case KY_OPT_INT:
        if (!parse_number(value, &v, &rest) || *rest != 0 || v != floor(v) || fabs(v) > 9e15 ||
            !in_range(o, v))
            return bad_value(u, o, value);
        *(int64_t *)o->at = (int64_t)v;
        return -1;
    case KY_OPT_NUM:
        if (!parse_number(value, &v, &rest) || *rest != 0 || !in_range(o, v))
            return bad_value(u, o, value);
        *(double *)o->at = v;
        return -1;
    case KY_OPT_TIME:
        return parse_time(value, o->at) ? -1 : bad_value(u, o, value);
    case KY_OPT_SIZE:
        return parse_size(value, o->at) && in_range(o, (double)*(int64_t *)o->at)
                   ? -1
                   : bad_value(u, o, value);
    }
    return -1;
}

static const ky_opt *find_long(const ky_usage *u, const char *name, size_t len)
{
    for (const ky_opt *o = u->opts; o->name != NULL; o++)
        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    return NULL;
}

static const ky_opt *find_short(const ky_usage *u, char letter)
{
    for (const ky_opt *o = u->opts; o->name != NULL; o++)
        if (o->letter == letter)
            return o;
    return NULL;
}

/* One option at argv[*i]; moves *i over a value in the next word. */
static int take_option(const ky_usage *u, int argc, char **argv, int *i)
{
    const char *word = argv[*i], *value = NULL;
    bool is_long = word[1] == '-';
    const char *equals = is_long ? strchr(word, '=') : NULL;
    const ky_opt *o;

    if (is_long)
        o = find_long(u, word + 2, equals != NULL ? (size_t)(equals - word - 2) : strlen(word + 2));
    else
        o = find_short(u, word[1]);
    if (o == NULL)
        return ky_cli_usage(u, "unknown option '%s'", word);
    if (equals != NULL)
        value = equals + 1;
    else if (!is_long && word[2] != 0)
        value = word + 2;
    if (o->type == KY_OPT_FLAG)
        return value != NULL ? ky_cli_usage(u, "--%s takes no value", o->name)
                             : take_value(u, o, NULL);
    if (value == NULL) {
        if (*i + 1 >= argc)
            return ky_cli_usage(u, "--%s wants %s", o->name, o->arg != NULL ? o->arg : "a value");
        value = argv[++*i];
    }
    return take_value(u, o, value);
}

int ky_cli_parse(const ky_usage *u, int argc, char **argv, const char **words, int *n_words)
{
    bool options = true;
    int n = 0;

    for (int i = 1; i < argc; i++) {
        if (options && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            print_help(u);
            return KY_EXIT_OK;
        }
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1] != 0) {
            int rc = take_option(u, argc, argv, &i);

            if (rc >= 0)
                return rc;
        } else if (u->max_args >= 0 && n == u->max_args) {
            return ky_cli_usage(u, "'%s' is one word too many", argv[i]);
        } else {
            words[n++] = argv[i];
        }
    }
    if (n < u->min_args)
        return ky_cli_usage(u, "%s is missing: %s", n == 0 ? "what it should work on" : "a word",
                            u->synopsis);
    *n_words = n;
    return -1;
}
