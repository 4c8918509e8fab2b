#!/usr/bin/env python3
"""What Keras 3 answers for small recurrent models, as the table of tests/models/test_recurrent.c:

    KERAS_BACKEND=jax python3 make_recurrent.py > ../models/recurrent_values.inc

Weights and inputs are multiples of 1/8 that the test makes by the same rule. Made with
Keras 3.15.1 on jax 0.10.2.
"""
import inspect
import keras
import numpy as np

L = keras.layers


def numbers(n, step, start, modulo, scale):
    return np.array([((i * step + start) % modulo - modulo // 2) / scale for i in range(n)], "float32")


def pattern(arrays):
    """Weights in the order of the file, one rule over all of them."""
    v = numbers(sum(a.size for a in arrays), 7, 3, 11, 8)
    out = []
    for a in arrays:
        out.append(v[: a.size].reshape(a.shape))
        v = v[a.size :]
    return out


def inputs(shape, masked):
    """Two rows; masked: the first loses steps 0 and 3, the second 2 and the last."""
    x = numbers(2 * int(np.prod(shape)), 5, 2, 13, 4).reshape((2, *shape))
    if masked:
        x[0, [0, 3]] = 0
        x[1, [2, shape[0] - 1]] = 0
    return x


def bi(layer, **options):
    return L.Bidirectional(layer, **options)


T, F = 6, 2
SEQ, FRAMES = (T, F), (4, 5, 4, 2)
CASES = [  # kymo's words, shape, Keras's layers
    ("LSTM units=3", SEQ, lambda: [L.LSTM(3)]),
    ("LSTM units=3 return_sequences=1 go_backwards=1", SEQ,
     lambda: [L.LSTM(3, return_sequences=True, go_backwards=True)]),
    ("LSTM units=3 activation=relu recurrent_activation=hard_sigmoid use_bias=0", SEQ,
     lambda: [L.LSTM(3, activation="relu", recurrent_activation="hard_sigmoid", use_bias=False)]),
    ("LSTM units=3 activation=softmax recurrent_activation=softmax", SEQ,
     lambda: [L.LSTM(3, activation="softmax", recurrent_activation="softmax")]),
    ("LSTM units=3 activation=gelu recurrent_activation=log_softmax", SEQ,
     lambda: [L.LSTM(3, activation="gelu", recurrent_activation="log_softmax")]),
    ("Masking; LSTM units=3", SEQ, lambda: [L.Masking(), L.LSTM(3)]),
    ("Masking; LSTM units=3 return_sequences=1", SEQ,
     lambda: [L.Masking(), L.LSTM(3, return_sequences=True)]),
    ("Masking; LSTM units=3 return_sequences=1 zero_output_for_mask=1", SEQ,
     lambda: [L.Masking(), L.LSTM(3, return_sequences=True, zero_output_for_mask=True)]),
    ("Masking; LSTM units=3 return_sequences=1 go_backwards=1", SEQ,
     lambda: [L.Masking(), L.LSTM(3, return_sequences=True, go_backwards=True)]),
    ("Masking; LSTM units=3 return_sequences=1; GRU units=2", SEQ,
     lambda: [L.Masking(), L.LSTM(3, return_sequences=True), L.GRU(2, reset_after=False)]),
    ("GRU units=3", SEQ, lambda: [L.GRU(3, reset_after=False)]),
    ("GRU units=3 reset_after=1", SEQ, lambda: [L.GRU(3)]),
    ("GRU units=3 reset_after=1 return_sequences=1 use_bias=0 go_backwards=1", SEQ,
     lambda: [L.GRU(3, return_sequences=True, use_bias=False, go_backwards=True)]),
    ("GRU units=3 use_bias=0 activation=elu recurrent_activation=hard_sigmoid", SEQ,
     lambda: [L.GRU(3, reset_after=False, use_bias=False, activation="elu",
                    recurrent_activation="hard_sigmoid")]),
    ("GRU units=3 reset_after=1 activation=softsign recurrent_activation=softmax", SEQ,
     lambda: [L.GRU(3, activation="softsign", recurrent_activation="softmax")]),
    ("Masking; GRU units=3 reset_after=1 return_sequences=1", SEQ,
     lambda: [L.Masking(), L.GRU(3, return_sequences=True)]),
    ("SimpleRNN units=3", SEQ, lambda: [L.SimpleRNN(3)]),
    ("SimpleRNN units=3 return_sequences=1 activation=softmax use_bias=0 go_backwards=1", SEQ,
     lambda: [L.SimpleRNN(3, return_sequences=True, activation="softmax", use_bias=False,
                          go_backwards=True)]),
    ("Masking; SimpleRNN units=3 return_sequences=1", SEQ,
     lambda: [L.Masking(), L.SimpleRNN(3, return_sequences=True)]),
    ("Bidirectional of LSTM units=3", SEQ, lambda: [bi(L.LSTM(3))]),
    ("Bidirectional of LSTM units=2 return_sequences=1", SEQ,
     lambda: [bi(L.LSTM(2, return_sequences=True))]),
    ("Bidirectional merge_mode=sum of GRU units=3 reset_after=1 return_sequences=1", SEQ,
     lambda: [bi(L.GRU(3, return_sequences=True), merge_mode="sum")]),
    ("Bidirectional merge_mode=mul of SimpleRNN units=3", SEQ,
     lambda: [bi(L.SimpleRNN(3), merge_mode="mul")]),
    ("Bidirectional merge_mode=ave of GRU units=2 return_sequences=1", SEQ,
     lambda: [bi(L.GRU(2, reset_after=False, return_sequences=True), merge_mode="ave")]),
    ("Bidirectional of LSTM units=2 and GRU units=3 go_backwards=1", SEQ,
     lambda: [bi(L.LSTM(2), backward_layer=L.GRU(3, reset_after=False, go_backwards=True))]),
    ("Masking; Bidirectional of LSTM units=2 return_sequences=1; SimpleRNN units=2", SEQ,
     lambda: [L.Masking(), bi(L.LSTM(2, return_sequences=True)), L.SimpleRNN(2)]),
    ("Masking; Bidirectional merge_mode=sum of GRU units=2 return_sequences=1", SEQ,
     lambda: [L.Masking(), bi(L.GRU(2, reset_after=False, return_sequences=True),
                              merge_mode="sum")]),
    ("Masking; Bidirectional merge_mode=sum of LSTM units=3", SEQ,
     lambda: [L.Masking(), bi(L.LSTM(3), merge_mode="sum")]),
    ("ConvLSTM2D filters=2 kernel_size=3x2", FRAMES, lambda: [L.ConvLSTM2D(2, (3, 2))]),
    ("ConvLSTM2D filters=2 kernel_size=2x3 strides=2x1 padding=same return_sequences=1", FRAMES,
     lambda: [L.ConvLSTM2D(2, (2, 3), strides=(2, 1), padding="same", return_sequences=True)]),
    ("ConvLSTM2D filters=1 kernel_size=2 dilation_rate=3x2 use_bias=0 go_backwards=1 "
     "recurrent_activation=hard_sigmoid activation=softsign", FRAMES,
     lambda: [L.ConvLSTM2D(1, 2, dilation_rate=(3, 2), use_bias=False, go_backwards=True,
                           recurrent_activation="hard_sigmoid", activation="softsign")]),
    ("ConvLSTM2D filters=3 kernel_size=1 activation=softmax", FRAMES,
     lambda: [L.ConvLSTM2D(3, 1, activation="softmax")]),
    ("Bidirectional merge_mode=sum of ConvLSTM2D filters=2 kernel_size=2 padding=same", FRAMES,
     lambda: [bi(L.ConvLSTM2D(2, 2, padding="same"), merge_mode="sum")]),
    ("Bidirectional of ConvLSTM2D filters=1 kernel_size=3x2 return_sequences=1", FRAMES,
     lambda: [bi(L.ConvLSTM2D(1, (3, 2), return_sequences=True))]),
]


def text(values):
    rows, line = [], "     "
    for v in values:
        word = f" {v:.9g}f," if "." in f"{v:.9g}" or "e" in f"{v:.9g}" else f" {v:.9g},"
        if len(line) + len(word) > 96:
            rows.append(line)
            line = "     "
        line += word
    return "\n".join(rows + [line])


print("/* What Keras 3 answers; made by tests/golden/make_recurrent.py. */")
for spec, shape, layers in CASES:
    model = keras.Sequential([keras.Input(shape), *layers()])
    model.set_weights(pattern(model.get_weights()))
    y = model(inputs(shape, "Masking" in spec))
    y = np.array(y, "float32").ravel()
    dims = ", ".join(str(d) for d in shape)
    print(f'{{ "{spec}",\n  {len(shape)}, {{ {dims} }}, {y.size}, (const ky_real[]){{\n{text(y)} }} }},')
