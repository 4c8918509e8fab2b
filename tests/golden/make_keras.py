#!/usr/bin/env python3
"""Golden models of tests/models/test_keras.c: small random models saved by Keras 3 as .h5,
with an input and Keras's own answer in the extra group /golden of the same file.

Made with Keras 3.15.1 on JAX; to make them again:
    python3 -m venv v && v/bin/pip install keras h5py numpy jax
    v/bin/python tests/golden/make_keras.py tests/golden
"""
import os
import sys

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
import h5py
import keras
import numpy as np
from keras import layers as L


def functional():
    i = keras.Input((9, 3))
    x = L.Conv1D(4, 2, activation="tanh")(i)
    x = L.BatchNormalization(epsilon=0.01)(x)
    x = L.GlobalMaxPooling1D()(x)
    return keras.Model(i, L.Dense(3, activation="softmax")(x))


MODELS = {
    "k3_lstm_stack": lambda: keras.Sequential([
        keras.Input((None, 3)), L.LSTM(6, return_sequences=True),
        L.LSTM(5, recurrent_activation="hard_sigmoid", use_bias=False), L.Dense(4)]),
    "k3_conv_valid": lambda: keras.Sequential([
        keras.Input((20, 4)), L.BatchNormalization(scale=False, center=False),
        L.Conv1D(5, 3, strides=2, activation="relu"), L.MaxPooling1D(2, strides=1),
        L.Flatten(), L.Dense(3, activation="sigmoid")]),
    "k3_conv_same_causal": lambda: keras.Sequential([
        keras.Input((17, 2)), L.Conv1D(4, 4, strides=3, padding="same"),
        L.Conv1D(3, 2, dilation_rate=2, padding="causal", use_bias=False),
        L.AveragePooling1D(3, padding="same"), L.GlobalAveragePooling1D(), L.Dense(2), L.Softmax()]),
    "k3_functional": functional,
    "k3_activations": lambda: keras.Sequential([
        keras.Input((6, 3)), L.Activation("tanh"), L.Dense(4, activation="exponential"), L.ReLU(),
        L.Dense(4, activation="hard_sigmoid"), L.LSTM(4, activation="relu", unroll=True)]),
    "k3_flat_dense": lambda: keras.Sequential([
        keras.Input((5,)), L.Dense(7, activation="relu"), L.BatchNormalization(),
        L.Dropout(0.3), L.Dense(1, activation="sigmoid")]),
}


def main():
    for seed, (name, make) in enumerate(MODELS.items()):
        keras.utils.set_random_seed(seed)
        rng = np.random.default_rng(seed)
        m = make()
        m.set_weights([np.abs(w + 0.2 * rng.normal(size=w.shape)) if "variance" in v.path
                       else w + 0.2 * rng.normal(size=w.shape)
                       for v, w in zip(m.weights, m.get_weights())])
        shape = [11 if d is None else d for d in m.input_shape[1:]]
        x = rng.normal(size=[4] + shape).astype("float32")
        path = os.path.join(sys.argv[1], name + ".h5")
        m.save(path)
        with h5py.File(path, "a") as f:
            f["golden/x"] = x
            f["golden/y"] = np.asarray(m.predict(x, verbose=0))
        print(name, os.path.getsize(path), "bytes")


main()
