/*
 * One LSTM layer in oneDNN, a peer to measure beside: one step of B streams whose states
 * lie together, weights in whatever order the library likes best.
 */
#ifndef KY_BENCH_ONEDNN_H
#define KY_BENCH_ONEDNN_H

typedef struct onednn_lstm onednn_lstm;

/** W [F,4H], U [H,4H], b [4H], blocks i|f|c|o. NULL if this build has no oneDNN or it fails. */
onednn_lstm *onednn_lstm_new(int F, int H, int B, const float *W, const float *U, const float *b);
void onednn_lstm_free(onednn_lstm *o);

/** One step of all B streams, from zero states at first: x [B,F] -> h [B,H], borrowed until the
 *  next step. */
const float *onednn_lstm_step(onednn_lstm *o, const float *x);

#endif
