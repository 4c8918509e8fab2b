#include "tests/bench/onednn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include <oneapi/dnnl/dnnl.h>

/* What the primitive reads and writes, in the order of `args`. */
enum { SRC, H_IN, C_IN, W_LAYER, W_ITER, BIAS, DST, H_OUT, C_OUT, SCRATCH, MEMORIES };

static const int arg_of[MEMORIES] = {
    DNNL_ARG_SRC_LAYER,    DNNL_ARG_SRC_ITER,   DNNL_ARG_SRC_ITER_C, DNNL_ARG_WEIGHTS_LAYER,
    DNNL_ARG_WEIGHTS_ITER, DNNL_ARG_BIAS,       DNNL_ARG_DST_LAYER,  DNNL_ARG_DST_ITER,
    DNNL_ARG_DST_ITER_C,   DNNL_ARG_SCRATCHPAD,
};

struct onednn_lstm {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t lstm;
    dnnl_memory_t mem[MEMORIES];
    dnnl_exec_arg_t args[MEMORIES];
    float *dst;         /* the layer's output; equal to the new h */
    float *h[2], *c[2]; /* states before and after a step, in turn */
    int turn;
};

#define TRY(call)                                                                                  \
    if ((call) != dnnl_success)                                                                    \
    return false

static bool plain_desc(dnnl_memory_desc_t *md, int rank, const dnnl_dims_t dims,
                       dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(md, rank, dims, dnnl_f32, tag) == dnnl_success;
}

/* One step, one layer: [T,B,F], states [L,D,B,H], weights [L,D,inputs,4,H]. */
static bool make_primitive(onednn_lstm *o, int F, int H, int B)
{
    const dnnl_dims_t x = { 1, B, F }, s = { 1, 1, B, H }, y = { 1, B, H };
    const dnnl_dims_t wl = { 1, 1, F, 4, H }, wi = { 1, 1, H, 4, H }, b = { 1, 1, 4, H };
    dnnl_memory_desc_t xd, sd, yd, wld, wid, bd;
    dnnl_rnn_desc_t rnn;
    dnnl_primitive_attr_t attr;
    if (!plain_desc(&xd, 3, x, dnnl_tnc) || !plain_desc(&sd, 4, s, dnnl_ldnc) ||
        !plain_desc(&yd, 3, y, dnnl_tnc) || !plain_desc(&bd, 4, b, dnnl_ldgo) ||
        !plain_desc(&wld, 5, wl, dnnl_format_tag_any) ||
        !plain_desc(&wid, 5, wi, dnnl_format_tag_any))
        return false;
    TRY(dnnl_lstm_forward_desc_init(&rnn, dnnl_forward_inference, dnnl_unidirectional_left2right,
                                    &xd, &sd, &sd, &wld, &wid, &bd, &yd, &sd, &sd,
                                    dnnl_rnn_flags_undef));
    TRY(dnnl_primitive_attr_create(&attr));
    dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    dnnl_status_t rc = dnnl_primitive_desc_create(&o->desc, &rnn, attr, o->engine, NULL);
    dnnl_primitive_attr_destroy(attr);
    TRY(rc);
    TRY(dnnl_primitive_create(&o->lstm, o->desc));
    return true;
}

static bool make_memories(onednn_lstm *o)
{
    for (int i = 0; i < MEMORIES; i++) {
        const dnnl_memory_desc_t *md =
            dnnl_primitive_desc_query_md(o->desc, dnnl_query_exec_arg_md, arg_of[i]);
        if (md == NULL)
            return false;
        TRY(dnnl_memory_create(&o->mem[i], md, o->engine, DNNL_MEMORY_ALLOCATE));
        o->args[i] = (dnnl_exec_arg_t){ arg_of[i], o->mem[i] };
    }
    return true;
}

/* Copy plain weights into the order the primitive chose. */
static bool put_weights(onednn_lstm *o, int which, int inputs, int H, const float *w)
{
    const dnnl_dims_t dims = { 1, 1, inputs, 4, H };
    dnnl_memory_desc_t md;
    dnnl_memory_t from = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t reorder = NULL;
    if (!plain_desc(&md, 5, dims, dnnl_ldigo))
        return false;
    bool ok = dnnl_memory_create(&from, &md, o->engine, (void *)w) == dnnl_success &&
              dnnl_reorder_primitive_desc_create(
                  &pd, &md, o->engine,
                  dnnl_primitive_desc_query_md(o->desc, dnnl_query_exec_arg_md, arg_of[which]),
                  o->engine, NULL) == dnnl_success &&
              dnnl_primitive_create(&reorder, pd) == dnnl_success;
    if (ok) {
        dnnl_exec_arg_t args[] = { { DNNL_ARG_FROM, from }, { DNNL_ARG_TO, o->mem[which] } };
        ok = dnnl_primitive_execute(reorder, o->stream, 2, args) == dnnl_success &&
             dnnl_stream_wait(o->stream) == dnnl_success;
    }
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(pd);
    dnnl_memory_destroy(from);
    return ok;
}

static void set(onednn_lstm *o, int which, const float *data)
{
    dnnl_memory_set_data_handle(o->mem[which], (void *)data);
}

static bool make_states(onednn_lstm *o, size_t n)
{
    o->dst = calloc(n, sizeof *o->dst);
    for (int i = 0; i < 2; i++) {
        o->h[i] = calloc(n, sizeof *o->h[i]);
        o->c[i] = calloc(n, sizeof *o->c[i]);
    }
    return o->dst && o->h[0] && o->h[1] && o->c[0] && o->c[1];
}

onednn_lstm *onednn_lstm_new(int F, int H, int B, const float *W, const float *U, const float *b)
{
    onednn_lstm *o = calloc(1, sizeof *o);
    if (o == NULL)
        return NULL;
    if (!make_states(o, (size_t)B * H) ||
        dnnl_engine_create(&o->engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&o->stream, o->engine, dnnl_stream_default_flags) != dnnl_success ||
        !make_primitive(o, F, H, B) || !make_memories(o) || !put_weights(o, W_LAYER, F, H, W) ||
        !put_weights(o, W_ITER, H, H, U)) {
        onednn_lstm_free(o);
        return NULL;
    }
    set(o, BIAS, b);
    set(o, DST, o->dst);
    return o;
}

void onednn_lstm_free(onednn_lstm *o)
{
    if (o == NULL)
        return;
    for (int i = 0; i < MEMORIES; i++)
        dnnl_memory_destroy(o->mem[i]);
    dnnl_primitive_destroy(o->lstm);
    dnnl_primitive_desc_destroy(o->desc);
    dnnl_stream_destroy(o->stream);
    dnnl_engine_destroy(o->engine);
    free(o->dst);
    for (int i = 0; i < 2; i++)
        free(o->h[i]), free(o->c[i]);
    free(o);
}

const float *onednn_lstm_step(onednn_lstm *o, const float *x)
{
    int from = o->turn, to = o->turn = 1 - o->turn;
    set(o, SRC, x);
    set(o, H_IN, o->h[from]);
    set(o, C_IN, o->c[from]);
    set(o, H_OUT, o->h[to]);
    set(o, C_OUT, o->c[to]);
    dnnl_primitive_execute(o->lstm, o->stream, MEMORIES, o->args);
    dnnl_stream_wait(o->stream);
    return o->h[to];
}
