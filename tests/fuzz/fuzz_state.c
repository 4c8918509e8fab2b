/* The bytes of a stored state from anybody: refused, or stepped without a word astray. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "models/plan.h"
#include "models/blueprint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ky_plan *plan_of(const char *arch, enum ky_memory memory)
{
    static const ky_shape input = { .rank = 2, .d = { 6, 2 }, .timed = true };
    ky_model *m;
    ky_plan *p;
    ky_err err;

    if (ky_arch_build(arch, &input, 3, false, &m, &err) < 0)
        abort();
    ky_model_init(m, 1);
    if (ky_model_pack(m, &err) < 0 || ky_plan_new(m, memory, 0, 2, &p, &err) < 0)
        abort();
    return p;
}

/* The first byte chooses the plan; what follows lies over a state of zeros. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static ky_plan *plans[4];
    float x[2] = { 1, -1 }, y[3], *y_at = y;
    const float *x_at = x;
    bool answered;
    ky_plan *p;
    ky_wave *w;
    void *state;
    size_t bytes;

    if (plans[0] == NULL) { /* kept for all inputs */
        plans[0] = plan_of("conv1d:2x3/2 causal, maxpool:2, lstm:3, dense", KY_MEMORY_STREAM);
        plans[1] = plan_of("conv1d:2x2 *3, avgpool:3/1, lstm:2, dense", KY_MEMORY_STREAM);
        plans[3] = plan_of("conv1d:2x2 causal, maxpool:2, flatten, dense", KY_MEMORY_WINDOW);
        plans[2] = plan_of("conv1d:2x3 same, gap, dense", KY_MEMORY_WINDOW);
    }
    if (size == 0)
        return 0;
    p = plans[data[0] % 4];
    bytes = ky_plan_state_bytes(p);
    state = aligned_alloc(64, bytes);
    memset(state, 0, bytes);
    memcpy(state, data + 1, size - 1 < bytes ? size - 1 : bytes);
    w = ky_wave_new(p, 1);
    if (ky_plan_state_ok(p, state, bytes))
        for (int i = 0; i < 20; i++)
            ky_plan_step(p, w, 1, &x_at, &state, &y_at, &answered);
    if (ky_plan_state_ok(p, state, bytes - 1))
        abort();
    ky_wave_free(w);
    free(state);
    return 0;
}
