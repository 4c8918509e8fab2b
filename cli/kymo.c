/* kymo: the command-line tool. One file a subcommand; this one only chooses. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "models/nearest.h"

static const ky_command commands[] = {
    { "compare", "train models of like size side by side", ky_cmd_compare },
    { "convert", "write a model file in another form", ky_cmd_convert },
    { "eval", "score a model on labelled windows", ky_cmd_eval },
    { "feed", "samples into kymod, or into a recording", ky_cmd_feed },
    { "import", "turn other people's files into data to train on", ky_cmd_import },
    { "inspect", "say what a model file holds and how it can run", ky_cmd_inspect },
    { "predict", "write a model's answers to windows", ky_cmd_predict },
    { "query", "run one SQL statement on the results, read-only", ky_cmd_query },
    { "retrain", "have kymod train a model again on its archive", ky_cmd_retrain },
    { "simulate", "generated data to try things with", ky_cmd_simulate },
    { "status", "what a running kymod says of itself", ky_cmd_status },
    { "streams", "kymod's streams, or one: its state, samples and answers", ky_cmd_streams },
    { "tail", "the live answers, a line each", ky_cmd_tail },
    { "train", "train a model on labelled windows", ky_cmd_train },
    { NULL, NULL, NULL },
};

static void print_help(FILE *out)
{
    fprintf(out,
            "Usage: kymo COMMAND [arguments]\n\n"
            "Train, inspect and run models on time series, feed and watch kymod.\n\nCommands:\n");
    for (const ky_command *c = commands; c->name != NULL; c++)
        fprintf(out, "  %-10s %s\n", c->name, c->brief);
    fprintf(out,
            "\n`kymo COMMAND --help` explains each. Manual: kymo(1), kymod(8), kymod.ini(5).\n");
}

static int unknown(const char *word)
{
    ky_nearest n = { .word = word };

    for (const ky_command *c = commands; c->name != NULL; c++)
        ky_nearest_try(&n, c->name);
    fprintf(stderr, "kymo: '");
    ky_cli_print_safe(stderr, word, strlen(word));
    fprintf(stderr, "' is no command");
    if (n.best != NULL)
        fprintf(stderr, "; did you mean '%s'?", n.best);
    fprintf(stderr, " (see 'kymo --help')\n");
    return KY_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return KY_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return KY_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("kymo %s\n", PACKAGE_VERSION);
        return KY_EXIT_OK;
    }
    for (const ky_command *c = commands; c->name != NULL; c++)
        if (strcmp(argv[1], c->name) == 0)
            return c->run(argc - 1, argv + 1);
    return unknown(argv[1]);
}
