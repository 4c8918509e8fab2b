#!/bin/bash
# Shows that the gradient tests would notice: one wrong term at a time is planted into the backward
# of a copied source, which is built in double precision, and test_gradients must fail with it. A
# mutant that survives is an error, and so is one whose expression no longer changes anything. The
# first argument, if there is one, chooses the files: 'gradient_mutants.sh models/conv'.
. "$(dirname "$0")/lib.sh"

# file | sed expression | what is wrong then
mutants()
{
    cat <<'TABLE'
models/dense.c|s/gemm_tn(F, N, R,/gemm_tn(F, N, R - 1,/|the last row has no part in dW
models/dense.c|s/colsum(N, R,/colsum(N, R - 1,/|the last row has no part in db
models/dense.c|s/ky_rows(k, p->back_x, N, R, dz,/ky_rows(k, p->back_x, N, R, dy,/|dx without the activation's slope
models/activation.c|s/return 1 - y \* y;/return 1 - y;/|the slope of tanh
models/activation.c|s/return y \* (1 - y);/return y;/|the slope of the sigmoid
models/activation.c|s/dz\[c\] = y\[c\] \* (dy\[c\] - dot)/dz[c] = y[c] * dy[c]/|softmax as if its outputs were free of each other
models/activation.c|s/dz\[i\] = y\[i\] > 0 ? d : 0/dz[i] = d/|relu without its corner
models/lstm.c|s/df\[j\] = d \* c0\[j\]/df[j] = d/|the forget gate of a cell with other activations
models/lstm.c|s/R, n, c, ac, d_o, d_o/R, n, h, ac, d_o, d_o/;s/const ky_real \*i = tape,/const ky_real *h = tape, *i = tape,/|a(c) has the slope of another number than c
models/lstm.c|s/rows ? dc\[j\] + d_o\[j\] : fma/fma/|softmax inside a cell as if its outputs were free of each other
models/lstm.c|s/ac + all : tape;/tape : tape;/|gates take their values for what they were made of
models/lstm.c|s/memcpy(tape + 6 \* all, z, 4/memcpy(tape + 6 * all, z + all, 3/|the sums of the gates stand for those of their neighbours
models/recurrent.c|s/\.first = i == 0,/.first = i <= 1,/|the first step hears nothing from the second
models/recurrent.c|s/memset(s.drest, 0,/memset(s.drest, 63,/|what is behind the last step begins with something
models/recurrent.c|s/gemm_tn(H, N, n, h/gemm_tn(H, N, n - 1, h/|the last step has no part in dU
models/recurrent.c|s/(r \* T + (size_t)ky_recurrent_at(l, c->T, i)) \* F, F/(r * T + (size_t)i) * F, F/|dW sees the steps in the other direction
models/recurrent.c|s/memcpy(s->dh + r \* h, s->kept_h/memcpy(s->kept_h, s->kept_h/|a masked step does not pass dh on
models/recurrent.c|s/memcpy(s->drest + r \* rest, s->kept_rest/memcpy(s->kept_rest, s->kept_rest/|a masked step does not pass dc on
models/recurrent.c|s/memset(dz + r \* gates, 0, gates/memset(dz, 0, 0 * gates/|a masked step learns
models/recurrent.c|s/l->cfg.zero_output_for_mask \&\& is_masked/false \&\& is_masked/|a zeroed output has a gradient
models/recurrent.c|s/ky_recurrent_drop(B \* h, s.drop_h,/ky_recurrent_drop(B * h, NULL,/|dU sees what was dropped of h
models/recurrent.c|s/ky_recurrent_drop(F, s->drop_x != NULL ? s->drop_x + r \* F : NULL, to)/(void)F/|dW sees what was dropped of x
models/gru.c|s/dh\[j\] \* (1 - z\[j\])/dh[j] * z[j]/|the candidate has the other gate
models/gru.c|s/dh\[j\] \*= z\[j\];/dh[j] *= 1 - z[j];/|what is old has the other gate
models/gru.c|s/dq\[j\] = dn\[j\] \* r\[j\];/dq[j] = dn[j];/|the product that is reset, as if it were not
models/gru.c|s/\*d \*= r\[j\];/*d *= 1;/|the state that is reset, as if it were not
models/gru.c|s/ky_recurrent_sums(l) ? y + 4 \* H : NULL/y/|gates take their values for what they were made of
models/gru.c|s/leave(H, e.sums, 2, 1, n_i)/leave(H, e.sums, 2, 1, a)/|the sum of the candidate that is reset, as if it were a gate's
models/gru.c|s/sums, 2, 1, n_all + i \* H/sums, 2, 1, n_all/|the sum of the candidate is that of the first row
models/gru.c|s/gate < 2 ? l->cfg.recurrent_activation/gate < 1 ? l->cfg.recurrent_activation/|the reset has the candidate's activation
models/gru.c|s/colsum(H, n, dz + 3 \* H, 4 \* H, db + 5 \* H)/colsum(H, n, dz + 2 * H, 4 * H, db + 5 * H)/|the second bias as if it were the first
models/simple_rnn.c|s/const ky_real \*h = s->tape + r \* kept/const ky_real *h = s->before + r * H/|the slope of the step before
models/simple_rnn.c|s/? h + H : NULL, h,/? h : NULL, h,/|the value in the place of the sum
models/simple_rnn.c|s/ky_recurrent_drop((size_t)s->B/ky_recurrent_drop(0 * (size_t)s->B/|dh through what was dropped
models/bidirectional.c|s/mode == KY_MUL ? d \* b\[i\] : d;/d;/|a factor as if it were a summand
models/bidirectional.c|s/mode == KY_AVE ? dy\[i\] \* (ky_real)0.5 : dy\[i\]/dy[i]/|both take all of an average
models/bidirectional.c|s/b = (r \* T + T - 1 - t) \* nb;/b = (r * T + t) * nb;/|the backward outputs in the other order
models/bidirectional.c|s/memcpy(alone(l) == 0 ? da : db, dy/memcpy(da, dy/|a direction alone learns from nothing
models/bidirectional.c|s/\&\& both \&\& i == 1 ? second/\&\& i == 1 ? second/|dx of a direction alone stays aside
models/bidirectional.c|s/dx\[i\] += second\[i\]/dx[i] += 0 * second[i]/|dx of the forward layer alone
models/conv_lstm2d.c|s/blocks + gate \* h + i \* F/blocks + i * F/|all gates have the gradient of one
models/conv_lstm2d.c|s/n \* (int)places(l), dz, N/n * (int)places(l) - 1, dz, N/|the last place has no part in db
models/conv_lstm2d.c|s/ky_spread(\&g, B, dz, wide);/ky_spread(\&g, B, dz, wide), wide = (ky_real *)dz;/|the strides of the input are forgotten
models/kernels_plain.c|s/dz\[H + j\] = (d \* c0\[j\])/dz[H + j] = (d * c0[0])/|the forget gate of the usual cell
models/kernels_plain.c|s/dc\[j\] = d \* f;/dc[j] = d;/|the forget gate does not close the way back
models/batchnorm.c|s/(s->first\[i\] + d) \/ s->R/d \/ s->R/|the batch's mean stands still
models/batchnorm.c|s/(s->first\[i\] + d) \/ s->R/s->first[i] \/ s->R/|the batch's variance stands still
models/batchnorm.c|s/beta\[i\] += (ky_real)s->first\[i\]/beta[i] += (ky_real)s->second[i]/|the gradient of beta
models/batchnorm.c|s/(ky_real)(s->second\[i\] \*/(ky_real)(s->first[i] */|the gradient of gamma
models/dropout.c|s/dx\[i\] = dy\[i\] \* c->tape\[i\]/dx[i] = dy[i]/|what was dropped learns
models/global_pooling.c|s/dx\[i\] += dy\[i\] \/ (ky_real)counted;/dx[i] += dy[i];/|every step of an average takes all
models/global_pooling.c|s/dx\[i\] += dy\[i\] \/ (ky_real)counted;/dx[i] = dy[i] \/ (ky_real)counted;/|averages that overlap do not add up
models/global_pooling.c|s/ky_real here = x\[i\] == y\[i\]/ky_real here = t == 0 \&\& y[i] == y[i]/|a maximum is always that of a run's first step
models/global_pooling.c|s/dx\[i\] += taken/dx[i] = taken/|maxima that overlap do not add up
models/global_pooling.c|s/if (real == NULL .. real\[t\] != 0)$/if (true)/|masked steps have a part in the average's gradient
models/local.c|s/taps += p->runs\[i\].n/taps += 1/|an average counts runs instead of taps
models/local.c|s/p->taken + y, p->dy + y, dx/p->taken + y, p->dy, dx/|every maximum hands back the first one's gradient
models/local.c|s/x + u->at, xs, p->dy/x, xs, p->dy/|dW of every tap sees the inputs of tap 0
models/local.c|s/p->dw + (ptrdiff_t)u->k \* p->C \* p->dws/p->dw/|dW of every tap is added to that of tap 0
models/conv.c|s/colsum(g.yc, c->B \* g.h.n_out \*/colsum(g.yc, c->B * (g.h.n_out - 1) */|the last outputs have no part in db
models/local.c|s/\.pad = (a->taps - 1) \* a->d - a->pad/.pad = (a->taps - 1) * a->d/|dx is out of place where there is padding
models/local.c|s/t\[((n - 1 - j) \* out + f)/t[(j * out + f)/|dx of taps that are not turned round
models/local.c|s/back.w = axis_back(\&g->w);/back.w = axis_back(\&g->w), back.w.d = 1;/|dx forgets the dilation of the columns
models/local.c|s/u \* (size_t)g->w.s \* F, dy/u * F, dy/|the columns of dz are not spread by the strides
models/conv.c|s/dw + (ptrdiff_t)i \* g.F, g.yc/dw, g.yc/|dW of every group is added to that of the first
models/conv.c|s/B \* g->h.n_out \* g->w.n_out, F, sums, y/B * g->h.n_out, F, sums, y/|some outputs without the activation's slope
models/activation.c|s/return y > 0 ? 1 : y + 1;/return 1;/|elu without its bend
models/activation.c|s/below + x\[i\] \* bell\[i\]/below + bell[i]/|the slope of gelu
models/activation.c|s/s\[i\] + y\[i\] \* (1 - s\[i\])/s[i] + y[i]/|the slope of silu
models/activation.c|s/s\[i\] + x\[i\] \* sigmoid\[i\]/s[i] + sigmoid[i]/|the slope of mish
models/activation.c|s/dy\[at + c\] - softmax\[c\] \* sum/dy[at + c] - softmax[c]/|log_softmax as if dy were one of its rows
models/conv.c|s/ky_activation_wants_x(act) ? c->tape : y/y/|gelu takes its value for what it was made of
models/activation.c|s/linear.cfg.activation = KY_LINEAR;/;/|the tape holds the value instead of the sum
models/axes.c|s/scatter(&w, 0, d, dx + at)/scatter(\&w, 0, d, dx)/|every row's dx goes to the first
models/merge.c|s/d\[i\] \*= own\[i\]/d[i] = dy[i]/|a product whose factors are left out
models/merge.c|s/left\[i\] = own\[i\] == y\[i\] ? 0 : left\[i\];/;/|equal inputs of a maximum all learn
models/merge.c|s/d\[i\] = own\[i\] == y\[i\] ? left\[i\] : 0/d[i] = left[i]/|every input of a maximum learns
models/merge.c|s/dy\[i\] \/ (ky_real)s->l->n_in/dy[i]/|an average hands back the sum's gradient
models/merge.c|s/s->op == subtract \&\& k > 0/false/|what was subtracted learns the wrong way
models/merge.c|s/to\[one ? 0 : i\] += y\[i\]/to[one ? 0 : i] = y[i]/|what was stretched is not summed
models/merge.c|s/if (!takes_part(s, \&o, k))/if (k < 0)/|masked steps learn
models/merge.c|s/memcpy(c->dx\[i\] + (size_t)b \* len/memcpy(c->dx[i]/|every block of a joint goes to the first
models/dot.c|s/(d\[k \* rest + i\] - x\[k \* rest + i\] \* along)/d[k * rest + i]/|lengths that stand still
models/dot.c|s/dy = b->dy;$/;/|dy of the first input is not turned
models/reshape.c|s/\*x = \*y++;/*x += *y++;/|dx of a permutation is added to what was there
models/reshape.c|s/dx\[j\] += dy\[j\]/dx[j] = dy[j]/|only the last repetition learns
models/embedding.c|s/to\[j\] += dy\[j\]/to[j] = dy[j]/|a row that is named twice learns once
models/masking.c|s/memset(dx, 0, F/memcpy(dx, dy, F/|masked steps learn
models/rescaling.c|s/dx\[i\] = dy\[i\] \* scale\[i\]/dx[i] = dy[i]/|dx without the scale
models/normalization.c|s/dx\[i\] = dy\[i\] \/ deviation\[i\]/dx[i] = dy[i]/|dx without the deviation
models/normalization.c|s/dx\[i\] = dy\[i\] \* deviation\[i\]/dx[i] = dy[i]/|dx of the inverse without the deviation
models/layernorm.c|s/(s \* (g - sum)/(s * g/|a group's mean stands still
models/layernorm.c|s/along = along \/ C \* s \* s \* s/along = 0/|a group's variance stands still
models/layernorm.c|s/n->dbeta\[i\] += dy\[i\]/n->dbeta[i] = dy[i]/|the gradient of beta
models/layernorm.c|s/n->dgamma\[i\] += dy\[i\] \*/n->dgamma[i] +=/|the gradient of gamma
models/unit_normalization.c|s/(dy\[i\] - x\[i\] \/ norm \* along)/dy[i]/|lengths that stand still
models/rectifier.c|s/threshold ? dy\[i\] \* slope/threshold ? dy[i]/|a ReLU without its slope
models/rectifier.c|s/x\[i\] > most ?/false ?/|a ReLU without its maximum
models/rectifier.c|s/x\[i\] > 0 ? dy\[i\] : slope \* dy\[i\]/dy[i]/|a leaky ReLU without its slope
models/rectifier.c|s/dx\[i\] = x\[i\] <= threshold ? 0 : dy\[i\]/dx[i] = dy[i]/|what is below the threshold learns
models/rectifier.c|s/(y\[i\] + alpha) \* dy\[i\]/y[i] * dy[i]/|elu as a layer
models/rectifier.c|s/s->d\[i\] += x\[i\] > 0 ? 0 :/s->d[i] +=/|slopes learn from what is above 0
models/rectifier.c|s/s->alpha\[i\] \* dy\[i\]/dy[i]/|dx without the learned slope
models/noise.c|s/by_channel(l, c, c->tape, dy, dx)/pass_on(l, k, p, w, c, dy, dx)/|channels that were dropped learn
models/noise.c|s/dx\[i\] = dy\[i\] \* c->tape\[i\]/dx[i] = dy[i]/|what was dropped learns
models/local.c|s/dw\[j\] += x\[c\] \* dy\[j\]/dw[j] += x[0] * dy[j]/|dW of every channel sees the first one
models/local.c|s/dx\[c\] += w\[j\] \* dy\[j\]/dx[c] += w[c * M] * dy[j]/|every filter of a channel hands back as the first
models/conv.c|s/? c->tape : y;/? y : y;/|slopes of what has come out instead of what went in
models/local.c|s/dw\[c\] += x\[c\] \* dy\[c\]/dw[c] += x[0] * dy[c]/|single filters that all see the first channel
models/depthwise.c|s/k->colsum(F, (int)n, dz/k->colsum(F, (int)n - 1, dz/|the last position has no part in db
models/depthwise.c|s/F, (int)n, dz, F, d, D/F, (int)n - 1, dz, F, d, D/|the last position has no gradient between the halves
models/depthwise.c|s/gemm_tn(D, F, (int)n, between, D, dz/gemm_tn(D, F, (int)n, d, D, dz/|the dense half learns from gradients instead of values
models/depthwise.c|s/ky_activation_back(k, l->cfg.activation, /ky_activation_back(k, KY_LINEAR, /|dz without the activation's slope
models/gradient.c|s/+= l1 \* (ky_real)((y\[i\] > 0) - (y\[i\] < 0))/+= l1/|activities below 0 are drawn further down
models/gradient.c|s/(ky_real)(2 \* l->cfg.l2) \* scale/(ky_real)l->cfg.l2 * scale/|half the slope of an activity's square
models/gradient.c|s/penalize(l, (ky_real)1 \/ (ky_real)g->b->n,/penalize(l, (ky_real)1 \/ (ky_real)n,/|the penalty of a shard as if it were the batch
models/gradient.c|s/k->d\[to\]\[v\] += k->dx\[j\]\[v\]/k->d[to][v] = k->dx[j][v]/|of two readers only one has a gradient
models/gradient.c|s/sum\[i\] += dw\[i\]/sum[i] = dw[i]/|only the last shard learns
models/gradient.c|s/k->state\[r\] = g->b->state\[first_row + r\]/k->state[r] = g->b->state[r]/|every shard goes on from the first one's states
models/padding.c|s/m.skip, dy + m.zeros/m.skip, dy/|dx is out of place where there are zeros in front
models/padding.c|s/if (is_crop(l))$/if (false)/|what was cut off has a gradient
models/upsampling.c|s/narrow(l, b.share, dy, first + in)/narrow(l, 1, dy, first + in)/|the later step takes more than its share
models/upsampling.c|s/share \* (1 - b.share), dy/share, dy/|the left column takes more than its share
models/upsampling.c|s/return (between){ .first = i \/ l->cfg.size\[axis\] }/return (between){ .first = i % n }/|the nearest input is another one
TABLE
}

[ -n "${KYMO_TEST_FULL:-}" ] || skip "a build and a run for each mutant: only with --full"
need libkymo_double.la tests/models/test_gradients
# Make's own commands, so that what is linked is what was built.
read -r -d '' compile < <(make -s -C "$B" --eval='ky-compile: ; @echo $(CC) $(DEFS) $(DEFAULT_INCLUDES) $(INCLUDES) $(libkymo_double_la_CPPFLAGS) $(CPPFLAGS) $(libkymo_double_la_CFLAGS) $(CFLAGS)' ky-compile)
read -r -d '' link < <(make -s -C "$B" --eval='ky-link: ; @echo $(CC)' ky-link)
read -r -d '' libs < <(make -s -C "$B" --eval='ky-libs: ; @echo $(LDFLAGS) $(CMOCKA_LIBS) $(kymo_libs) $(LIBS) -lm' ky-libs)
cd "$B" || fail "no $B"
archive=.libs/libkymo_double.a
[ -e $archive ] || archive=.libs/libkymo_double.so
program=$(find tests/models -name '*test_gradients-test_gradients.o' | head -n 1)
[ -n "$program" ] || fail "test_gradients was built without an object"
"$B/tests/models/test_gradients" >"$W/test.log" 2>&1 || fail "test_gradients fails without any mutant"

n=0 alive=0 drifted=0
while IFS='|' read -r file change wrong; do
    case $file in "${1:-}"*) ;; *) continue ;; esac
    mutant=$W/${file##*/}
    sed "$change" "$S/$file" >"$mutant" || fail "$file: $change: not an expression"
    cmp -s "$mutant" "$S/$file" && {
        echo "DRIFTED $file: $change: changes nothing any more"
        drifted=$((drifted + 1))
        continue
    }
    # shellcheck disable=SC2086
    { $compile -Wno-error -w -c "$mutant" -o "$W/mutant.o" &&
        $link "$program" "$W/mutant.o" $archive $libs -o "$W/mutant"; } \
        >"$W/build.log" 2>&1 || fail "$file: $change: cannot be built"
    n=$((n + 1))
    KYMO_TEST_FULL='' timeout 600 "$W/mutant" >"$W/said" 2>&1 # the sample notices
    case $? in
    0) echo "SURVIVED $file: $wrong"; alive=$((alive + 1)) ;;
    124) fail "$file: $wrong: does not end" ;;
    *) echo "noticed $file: $wrong" ;;
    esac
done < <(mutants)
echo "RESULT gradient_mutants planted=$n survived=$alive drifted=$drifted"
[ $n -gt 0 ] && [ $alive = 0 ] && [ $drifted = 0 ]
