/* kymo query: SQL in, table out, read-only. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/cli.h"
#include "storage/results.h"

/* All of standard input, at most 1 MiB; the caller frees. */
static char *read_stdin(void)
{
    size_t cap = 1 << 20, len = 0, got;
    char *text = malloc(cap + 1);

    while (text != NULL && len < cap && (got = fread(text + len, 1, cap - len, stdin)) > 0)
        len += got;
    if (text != NULL)
        text[len] = 0;
    return text;
}

int ky_cmd_query(int argc, char **argv)
{
    const char *db = NULL, *dir = ky_ask_state_dir(), *words[1];
    bool json = false, csv = false;
    int n;
    const ky_opt opts[] = {
        { "state-dir", 'd', KY_OPT_STR, &dir, 0, 0, "DIR", "kymod's state directory" },
        { "db", 0, KY_OPT_STR, &db, 0, 0, "FILE",
          "the database itself (default: results.db there)" },
        { "json", 'j', KY_OPT_FLAG, &json, 0, 0, NULL, "an array of objects" },
        { "csv", 0, KY_OPT_FLAG, &csv, 0, 0, NULL, "comma-separated values with a header" },
        { 0 },
    };
    const ky_usage usage = {
        .synopsis = "kymo query SQL [options]",
        .about =
            "Run one SQL statement on kymod's results, read-only, also while kymod runs.\n"
            "SQL '-' is read from standard input. Views for people: live, history, transitions,\n"
            "hourly, accuracy, confusion, state_health.",
        .opts = opts,
        .min_args = 1,
        .max_args = 1,
        .examples = "  kymo query 'SELECT * FROM live'\n"
                    "  kymo query --json 'SELECT * FROM accuracy'\n",
    };
    char path[4096], *text = NULL;
    ky_err err;
    int rc = ky_cli_parse(&usage, argc, argv, words, &n);

    if (rc >= 0)
        return rc;
    if (json && csv)
        return ky_cli_usage(&usage, "--json and --csv exclude each other");
    if (strcmp(words[0], "-") == 0 && (text = read_stdin()) == NULL)
        return KY_EXIT_FAILED;
    snprintf(path, sizeof(path), "%s/results.db", dir);
    rc = ky_results_query(db != NULL ? db : path, text != NULL ? text : words[0],
                          json  ? KY_TABLE_JSON
                          : csv ? KY_TABLE_CSV
                                : KY_TABLE_TEXT,
                          stdout, &err);
    free(text);
    return rc < 0 ? ky_cli_fail(&err) : KY_EXIT_OK;
}
