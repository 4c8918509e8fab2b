/* kymo streams: the streams in a table; with an id, one of them. */
#include "cli/streams.h"

#include <stdio.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/cli.h"
#include "storage/results.h"

/* What --sort knows; all but the names with the highest first. */
static const struct {
    const char *name, *order;
} sorts[] = {
    { "seen", "h.time DESC" },
    { "name", "h.class" },
    { "n", "h.n DESC" },
    { "largest", "h.largest DESC" },
    { "saturated", "h.saturated DESC" },
    { "quarantined", "h.quarantines DESC" },
};

enum { SORTS = sizeof(sorts) / sizeof(*sorts) };

static const char *order_of(const char *sort)
{
    for (int i = 0; i < SORTS; i++)
        if (strcmp(sorts[i].name, sort) == 0)
            return sorts[i].order;
    return NULL;
}

/* The answers are looked up for the rows that are shown, not for all. */
static int list(const ky_streams_opts *o, const char *order, ky_err *err)
{
    char sql[1200], limit[24];
    const char *args[] = { o->class_name, limit };

    snprintf(limit, sizeof(limit), "%lld", (long long)o->limit);
    snprintf(sql, sizeof(sql),
             "SELECT h.class, h.stream, h.time AS seen, h.n, h.model || '@' || h.version AS model,"
             " a.label, a.score, q.name AS quality, h.health, h.quarantines"
             " FROM (SELECT * FROM state_health h WHERE ?1 IS NULL OR h.class = ?1"
             "       ORDER BY %s, h.class, h.stream, h.model LIMIT ?2) h"
             " JOIN streams s ON s.class = h.class AND s.name = h.stream"
             " LEFT JOIN series e ON e.stream = s.id AND e.model = h.model AND e.role = 'live'"
             " LEFT JOIN answers a ON a.id = e.answer"
             " LEFT JOIN qualities q ON q.id = a.quality"
             " ORDER BY %s, h.class, h.stream, h.model",
             order, order);
    return ky_results_ask(o->db, sql, args, o->json ? KY_TABLE_JSON : KY_TABLE_TEXT, stdout, err);
}

int ky_cmd_streams(int argc, char **argv)
{
    ky_streams_opts o = { .dir = ky_ask_state_dir(), .limit = 20 };
    const char *sort = "seen";
    const ky_opt opts[] = {
        { "state-dir", 'd', KY_OPT_STR, &o.dir, 0, 0, "DIR", "kymod's state directory" },
        { "class", 0, KY_OPT_STR, &o.class_name, 0, 0, "NAME", "streams of this class only" },
        { "limit", 'n', KY_OPT_INT, &o.limit, 1, 1e9, "N", "rows of each table" },
        { "sort", 0, KY_OPT_STR, &sort, 0, 0, "KEY",
          "seen, name, n, largest, saturated or quarantined" },
        { "values", 'v', KY_OPT_FLAG, &o.values, 0, 0, NULL,
          "with ID: the values of the state, all those of samples and answers" },
        { "json", 'j', KY_OPT_FLAG, &o.json, 0, 0, NULL, "as JSON, with all values" },
        { 0 },
    };
    const ky_usage usage = {
        .synopsis = "kymo streams [ID] [options]",
        .about = "Shows kymod's streams as of its last commit, also while it runs: when each was\n"
                 "seen, its step number, model, latest answer and how its state is. With ID one\n"
                 "stream: its state layer by layer, its recent samples where the journal or the\n"
                 "archive still has them, answers, gaps, rejects and events.",
        .opts = opts,
        .max_args = 1,
        .examples = "  kymo streams --class pumps --sort largest\n  kymo streams pump-7 -v\n",
    };
    char db[4096];
    ky_err err;
    int n, rc = ky_cli_parse(&usage, argc, argv, &o.id, &n);

    if (rc >= 0)
        return rc;
    const char *order = order_of(sort);

    if (order == NULL)
        return ky_cli_usage(&usage,
                            "streams: --sort: '%s' is none of: seen, name, n, largest, "
                            "saturated, quarantined",
                            sort);
    snprintf(db, sizeof(db), "%s/results.db", o.dir);
    o.db = db;
    rc = n == 0 ? list(&o, order, &err) : ky_streams_one(&o, &err);
    return rc < 0 ? ky_cli_fail(&err) : KY_EXIT_OK;
}
