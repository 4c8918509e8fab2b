/*
 * make_model OUT.h5 FEATURES ARCH SEED LABEL...: a model with the weights Keras would begin
 * with, for scenarios that care about bits and not about sense.
 */
#include <stdio.h>
#include <stdlib.h>

#include "models/blueprint.h"

int main(int argc, char **argv)
{
    ky_model *m = NULL;
    ky_err err = { 0 };
    int rc;

    if (argc < 6) {
        fprintf(stderr, "make_model OUT.h5 FEATURES ARCH SEED LABEL...\n");
        return 2;
    }
    ky_shape in = { .rank = 2, .d = { KY_ANY, atoi(argv[2]) }, .timed = true };
    rc = ky_arch_build(argv[3], &in, argc - 5, true, &m, &err);
    if (rc == KY_OK) {
        ky_model_init(m, strtoull(argv[4], NULL, 10));
        rc = ky_model_pack(m, &err);
    }
    if (rc == KY_OK)
        rc = ky_model_set_labels(m, (const char *const *)argv + 5, argc - 5, &err);
    if (rc == KY_OK)
        rc = ky_model_save(m, argv[1], &err);
    ky_model_free(m);
    if (rc < 0)
        fprintf(stderr, "make_model: %s\n", err.text);
    return rc < 0;
}
