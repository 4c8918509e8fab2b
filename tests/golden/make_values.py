#!/usr/bin/env python3
"""What Keras 3 answers for layers spelled as in tests/models/net.h; writes layer_values.inc.

    KERAS_BACKEND=jax python3 tests/golden/make_values.py > tests/models/layer_values.inc

Inputs and weights are the same simple multiples of 1/4 here and in test_values.c.
"""
import os
import re

os.environ.setdefault("KERAS_BACKEND", "jax")
import keras
import numpy as np

ROWS = 2
CASES = [  # spec, steps, features
    ("a: Dense units=3; b: Dense units=3 activation=tanh @in; Add @a,b,in", 3, 3),
    ("a: Dense units=1; Subtract @in,a", 3, 2),
    ("a: Dense units=1; Multiply @a,in,in", 3, 2),
    ("a: GlobalAveragePooling1D; Average @in,a,in", 3, 2),
    ("a: GlobalAveragePooling1D; Maximum @a,in", 3, 2),
    ("columns=2; a: Dense units=1; b: GlobalMaxPooling2D @in; Minimum @a,b,in", 3, 4),
    ("a: Dense units=2; Concatenate @a,in,a", 2, 3),
    ("a: Conv1D filters=2 kernel_size=2; Concatenate axis=1 @in,a", 3, 2),
    ("columns=2; a: Dense units=2; Concatenate axis=2 @in,a", 2, 4),
    ("Dot axes=1 @in,in", 3, 2),
    ("Dot axes=2 normalize=1 @in,in", 3, 2),
    ("columns=3; a: Permute dims=2x1x3; Dot axes=1x2 @in,a", 2, 6),
    ("a: GlobalMaxPooling1D; b: GlobalAveragePooling1D @in; Dot axes=-1 normalize=1 @a,b", 3, 3),
    ("Reshape target_shape=2x-1; Permute dims=2x1", 2, 3),
    ("columns=3; Permute dims=3x1x2", 2, 6),
    ("GlobalMaxPooling1D; RepeatVector n=3", 3, 2),
    ("columns=2; Flatten; Dense units=2", 2, 4),
    ("Embedding input_dim=3 output_dim=2", 2, 3),
    ("Reshape target_shape=-1; Embedding input_dim=3 output_dim=2 mask_zero=1; "
     "LSTM units=2 return_sequences=1", 5, 1),
    ("Reshape target_shape=-1; a: Embedding input_dim=3 output_dim=2 mask_zero=1; "
     "b: Embedding input_dim=2 output_dim=2 mask_zero=1 @reshape; Add @a,b; LSTM units=2", 9, 1),
    ("Reshape target_shape=-1; a: Embedding input_dim=3 output_dim=2 mask_zero=1; "
     "b: Embedding input_dim=2 output_dim=2 @reshape; Multiply @a,b; LSTM units=2", 9, 1),
    ("Reshape target_shape=-1; a: Embedding input_dim=3 output_dim=2 mask_zero=1; "
     "b: Dense units=2 @a; Multiply @a,b", 9, 1),
    ("Reshape target_shape=-1; a: Embedding input_dim=3 output_dim=2 mask_zero=1; "
     "b: Embedding input_dim=2 output_dim=2 @reshape; Maximum @b,a", 9, 1),
    ("Reshape target_shape=-1; a: Embedding input_dim=3 output_dim=2 mask_zero=1; "
     "b: Embedding input_dim=2 output_dim=2 @reshape; Concatenate axis=1 @a,b; "
     "LSTM units=2", 9, 1),
    ("Reshape target_shape=-1; a: Embedding input_dim=3 output_dim=2 mask_zero=1; "
     "b: Embedding input_dim=2 output_dim=2 @reshape; Concatenate @a,b; LSTM units=2", 9, 1),
    ("Reshape target_shape=-1; Embedding input_dim=3 output_dim=2 mask_zero=1; "
     "LayerNormalization; LeakyReLU; Dropout rate=0.5; BatchNormalization; Dense units=2; "
     "LSTM units=2", 9, 1),
    ("Softmax", 2, 3),
    ("Softmax axis=1", 3, 2),
    ("columns=2; Softmax axis=1x3", 2, 4),
    ("ReLU max_value=1 negative_slope=0.25 threshold=0.5", 3, 4),
    ("ReLU max_value=0.75", 3, 4),
    ("ReLU negative_slope=0.125", 3, 4),
    ("LeakyReLU", 3, 4),
    ("LeakyReLU negative_slope=0.05", 3, 4),
    ("ELU", 3, 4),
    ("ELU alpha=0.4", 3, 4),
    ("PReLU", 2, 3),
    ("PReLU shared_axes=1", 3, 2),
    ("columns=2; PReLU shared_axes=1x3", 2, 4),
    ("BatchNormalization", 3, 2),
    ("BatchNormalization axis=1 scale=0", 3, 2),
    ("columns=2; BatchNormalization axis=2 center=0 epsilon=0.1", 2, 4),
    ("LayerNormalization", 3, 4),
    ("LayerNormalization axis=1 epsilon=0.5", 3, 2),
    ("columns=2; LayerNormalization axis=1x3 scale=0", 2, 4),
    ("columns=2; LayerNormalization axis=2x3 center=0", 2, 4),
    ("LayerNormalization rms_scaling=1", 3, 4),
    ("Normalization", 3, 2),
    ("Normalization axis=1x2 invert=1", 3, 2),
    ("columns=2; Normalization axis=2", 2, 4),
    ("Normalization mean=1x2 variance=4x0", 3, 2),
    ("Normalization mean=1 variance=4 invert=1", 3, 2),
    ("UnitNormalization", 3, 2),
    ("columns=2; UnitNormalization axis=1x3", 2, 4),
    ("Rescaling scale=0.5 offset=-1", 3, 2),
    ("Rescaling scale=0.5x2 offset=1x-3", 3, 2),
    ("GaussianNoise stddev=1; SpatialDropout1D rate=0.5; AlphaDropout rate=0.5; "
     "GaussianDropout rate=0.5; ActivityRegularization l1=1", 2, 2),
]


def value(key, text):
    if key in ("use_bias", "mask_zero", "normalize", "center", "scale", "invert", "rms_scaling",
               "return_sequences") and text in "01":
        return text == "1"
    if re.fullmatch(r"[-0-9.x]+", text):
        numbers = [float(v) if "." in v else int(v) for v in text.split("x")]
        lists = ("target_shape", "dims", "shared_axes", "kernel_size")
        return numbers if len(numbers) > 1 or key in lists else numbers[0]
    return text


def add(text, tensors, last):
    name, _, body = text.rpartition(":")
    words = [w for w in body.split() if w[0] != "@"]
    names = [w[1:].split(",") for w in body.split() if w[0] == "@"]
    options = dict(w.split("=", 1) for w in words[1:])
    layer = getattr(keras.layers, words[0])(**{k: value(k, v) for k, v in options.items()})
    inputs = [tensors[n] for n in names[0]] if names else [last]
    out = layer(inputs if len(inputs) > 1 else inputs[0])
    tensors[name.strip() or words[0].lower()] = out
    return layer, out


def model_of(spec, T, F):
    parts = spec.split(";")
    shape = (T, F)
    if parts[0].startswith("columns="):
        columns = int(parts.pop(0)[8:])
        shape = (T, columns, F // columns)
    x = out = keras.Input(shape)
    tensors, layers = {"in": x}, []
    for part in parts:
        layer, out = add(part, tensors, out)
        layers.append(layer)
    at = 0
    for layer in layers:
        arrays = []
        for w in layer.weights:
            if w.dtype == "float32":
                n = int(np.prod(w.shape))
                arrays.append(((np.arange(at, at + n) * 5 % 7 + 1) * 0.25).reshape(w.shape))
                at += n
            else:
                arrays.append(np.array(w))
        layer.set_weights(arrays)
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return keras.Model(x, out), shape


def main():
    print("/* Written by tests/golden/make_values.py with Keras %s; not by hand. */"
          % keras.__version__)
    print("static const struct {\n    const char *spec;\n    int T, F, n;\n    double want[96];\n} "
          "values[] = {")
    for spec, T, F in CASES:
        model, shape = model_of(spec, T, F)
        x = ((np.arange(ROWS * T * F) * 7 % 11 - 5) * 0.25).astype("float32")
        y = np.asarray(model(x.reshape((ROWS,) + shape))).ravel()
        assert len(y) <= 96, spec
        numbers = ", ".join("%.8g" % v for v in y)
        print('    { "%s", %d, %d, %d, { %s } },' % (spec, T, F, len(y), numbers))
    print("};")


main()
