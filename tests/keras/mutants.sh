#!/bin/bash
# Shows that the comparison with Keras would notice: kymo with one wrong term in it, one at a
# time, must give other answers than Keras for some of the models, and kymo as it is for none.
# usage: mutants.sh WORKDIR PYTHON; KY_SRCDIR names the sources, which are copied.
#
# The models are drawn once (check.py --keep) and answered by every mutant (again.py). All run
# with the plain kernels, which are the quickest to compile; P1 to P3 tie the others to them.
set -u
work=${1:?a folder to work in is wanted} python=${2:?a Python with Keras is wanted}
source=${KY_SRCDIR:?}
seed=${KYMO_TEST_SEED:-1}
rm -rf "$work/src" "$work/build" # a mutant's objects must not outlive it
mkdir -p "$work/src" "$work/build"
work=$(cd "$work" && pwd)
keras=$source/tests/keras
export KYMO_KERNELS=plain
passed=0 failed=0

build()
{
    make -C "$work/build" -j"$(nproc)" kymo >"$work/make.log" 2>&1
}

prepare()
{
    tar -C "$source" --exclude=./test.d --exclude=./.git -cf - . |
        tar -C "$work/src" -xf - || return
    if [ ! -x "$work/src/configure" ]; then
        (cd "$work/src" && autoreconf -fi) >"$work/configure.log" 2>&1 || return
    fi
    make -C "$work/src" distclean >/dev/null 2>&1
    (cd "$work/build" && "$work/src/configure" --disable-shared CFLAGS=-O1) \
        >"$work/configure.log" 2>&1 || return
    build
}

# check FOLDER ARGUMENTS...: models that are kept there.
check()
{
    local folder=$work/cases/$1
    shift
    "$python" "$keras/check.py" "$work/build" "$folder" --seed "$seed" --processes 2 --forms h5 \
        --keep "$@"
}

draw()
{
    local only=()
    for class in Dense LSTM GRU SimpleRNN Bidirectional BatchNormalization LayerNormalization \
        Conv1D Conv2D SeparableConv1D DepthwiseConv1D DepthwiseConv2D AveragePooling1D \
        AveragePooling2D GlobalAveragePooling1D UpSampling2D Embedding Masking ConvLSTM2D; do
        only+=(--only "$class")
    done
    rm -rf "$work/cases"
    check layers --models 110 "${only[@]}" && check masks --only Mask
}

# mutant NAME FILE SED-ARGUMENTS...: what the change does, where, and how.
mutant()
{
    local name=$1 file=$work/src/models/$2 says rc=0
    shift 2
    cp -p "$file" "$work/original"
    sed -i "$@" "$file"
    if cmp -s "$file" "$work/original"; then
        says="the patch no longer applies" rc=9
    elif ! build; then
        says="it does not build: $(grep -m1 error: "$work/make.log")" rc=9
    else
        says=$("$python" "$keras/again.py" "$work/build" "$work/cases") || rc=$?
    fi
    cp "$work/original" "$file"
    if [ $rc = 1 ]; then
        passed=$((passed + 1))
        echo "noticed: $name: $says"
    else
        failed=$((failed + 1))
        echo "NOT NOTICED: $name: $says"
    fi
}

prepare || { echo "the copy does not build"; tail -n 20 "$work"/*.log; exit 1; }
draw || { echo "kymo as it is differs from Keras"; exit 1; }
"$python" "$keras/again.py" "$work/build" "$work/cases" || { echo "kymo as it is fails"; exit 1; }

mutant "dense: no bias" dense.c 's/l->cfg.use_bias ? w + l->weights\[1\].at : NULL)/NULL)/'
mutant "convolutions: no bias" conv.c 's/= l->cfg.use_bias ? .* + at : NULL;/= NULL;/'
mutant "convolutions: taps turned round" conv.c \
    's/w + (j \* C + c) \* all + at/w + ((taps - 1 - j) * C + c) * all + at/'
mutant "same padding: the odd one in front" local.c 's|pad = total / 2;|pad = (total + 1) / 2;|'
mutant "causal padding: one short" local.c 's/pad = reach(taps, d);/pad = reach(taps, d) - (taps > 1);/'
mutant "depthwise: channels in the wrong order" kernels_plain.c 's|t \* C + n / M\]|t * C + n % C]|'
mutant "average pools: padding counts" local.c \
    -e 's|p->k->pool(p->mean, p->C, p->n_runs, p->runs, R, x, xs, p->y + y, ys);|{ int real = 0; & for (int i = 0; i < p->n_runs; i++) real += p->runs[i].n; for (int r = 0; p->mean \&\& r < R; r++) for (int c = 0; c < p->C; c++) p->y[y + r * ys + c] *= (ky_real)real / (ky_real)p->dws; }|' \
    -e 's|.rows = pool_rows, .mean = mean, .x = x|.dws = g->h.taps * g->w.taps, &|'
mutant "batch normalisation: another epsilon" batchnorm.c \
    's/sqrt(variance\[c\] + (ky_real)l->cfg.epsilon)/sqrt(variance[c] + (ky_real)1e-5)/'
mutant "batch normalisation: the mean is not taken off" batchnorm.c 's/(x\[i\] - by->mean\[i\])/x[i]/'
mutant "layer normalisation: another epsilon" layernorm.c 's/(ky_real)l->cfg.epsilon/(ky_real)1e-5/'
mutant "layer normalisation: unbiased variance" layernorm.c 's|squares / C|squares / (C > 1 ? C - 1 : 1)|'
mutant "hard_sigmoid: the other version's" layer.c 's/keras_major < 3)/keras_major >= 3)/'
mutant "lstm kernel: gates i and f swapped" kernels_plain.c \
    's/i = v_sigmoid(z\[j\]), f = v_sigmoid(z\[H + j\])/f = v_sigmoid(z[j]), i = v_sigmoid(z[H + j])/'
mutant "lstm: gates f and o swapped" lstm.c \
    's/\*f = z + all, \*g = f + all, \*o = g + all/*o = z + all, *g = o + all, *f = g + all/'
mutant "gru kernel: z keeps the new" kernels_gru.h 's/v_fma(z, v_sub(old, c), c)/v_fma(z, v_sub(c, old), old)/'
mutant "gru: z keeps the new" gru.c \
    -e 's/own\[j\] = h\[j\] - n\[j\];/own[j] = n[j] - h[j];/' \
    -e 's/ky_mul_add(k, H, z, own, n, h);/ky_mul_add(k, H, z, own, h, h);/'
mutant "gru: no bias behind the reset" gru.c 's/l->weights\[1\].at, behind)/l->weights[1].at, NULL)/'
mutant "gru kernel: with reset_after, x is reset too" kernels_gru.h \
    's/v_fma(r, q\[2\], a\[2\])/v_mul(r, v_add(q[2], a[2]))/'
mutant "gru: reset_after with z for r" gru.c 's/ky_mul_add(k, H, a + H, q + 2/ky_mul_add(k, H, a, q + 2/'
mutant "gru: without reset_after nothing is reset" gru.c \
    's/panel\[i \* K + F + j\] \*= gates\[.*;/panel[i * K + F + j] *= 1;/'
mutant "recurrent layers: the mask is ignored" recurrent.c 's/\.mask = c->in != NULL ? c->in\[0\].mask : NULL/.mask = NULL/'
mutant "recurrent layers: go_backwards is ignored" recurrent.h 's/return l->cfg.go_backwards ? T - 1 - i : i;/return l->cfg.go_backwards \&\& T < 0 ? 0 : i;/'
mutant "global average: the mask is ignored" global_pooling.c 's/if (real != NULL && real\[t\] == 0)/if (real != NULL \&\& real[t] == 7)/'
mutant "bidirectional: backward half in front" bidirectional.c \
    -e 's/memcpy(y, a, Ca/memcpy(y + Cb, a, Ca/' -e 's/memcpy(y + Ca, b, Cb/memcpy(y, b, Cb/'
mutant "bidirectional: the backward outputs are not turned" bidirectional.c 's/(r \* T + T - 1 - t)/(r * T + t)/'
mutant "embedding: nothing is masked" embedding.c 's/c->mask_out\[i\] = x\[i\] != 0;/c->mask_out[i] = 1;/'
mutant "bilinear upsampling: corners instead of centres" upsampling.c \
    's/2 \* (i % size) + 1 - size;/2 * (i % size);/'

echo "[  PASSED  ] $passed test(s)."
[ $failed = 0 ] && exit 0
echo "[  FAILED  ] $failed test(s)."
exit 1
