/*
 * For tests of layers: models out of a line of Keras's option names, and passes through
 * them that keep every layer's output, as training does.
 */
#ifndef KY_TESTS_NET_H
#define KY_TESTS_NET_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"
#include "models/layer_tools.h"
#include "models/plan.h"

/*
 * One layer, or several that work together, and the window they are tried on: T steps of F
 * values. A spec "columns=4; ..." makes the F values of a step 4 columns of F/4 channels. Beside
 * Keras's options there is distributed=1 for TimeDistributed; lists are written 3x2, or 3 for all
 * places.
 */
typedef struct net_case {
    const char *spec; /* "Conv1D filters=4 kernel_size=3 padding=same; Dense units=2" */
    int T, F;
} net_case;

static const net_case net_cases[] = {
    { "Dense units=5", 6, 3 },
    { "Dense units=17 activation=tanh", 6, 3 },
    { "Dense units=4 activation=softmax", 5, 9 },
    { "Dense units=3 activation=hard_sigmoid use_bias=0", 4, 2 },
    { "Dense units=33 activation=exponential", 3, 7 },
    { "Activation activation=linear", 4, 3 },
    { "Activation activation=sigmoid", 4, 3 },
    { "Activation activation=hard_sigmoid", 4, 3 },
    { "Activation activation=4", 4, 3 }, /* hard_sigmoid as Keras 2 meant it */
    { "Activation activation=softmax", 4, 5 },
    { "ReLU", 5, 3 },
    { "Softmax", 5, 7 },
    { "Dropout rate=0.4", 5, 4 },
    { "Flatten", 5, 3 },
    { "Conv1D filters=4 kernel_size=3", 9, 3 },
    { "Conv1D filters=19 kernel_size=3 activation=relu", 9, 9 },
    { "Conv1D filters=4 kernel_size=1 activation=tanh", 7, 2 },
    { "Conv1D filters=4 kernel_size=4 padding=same", 9, 3 },
    { "Conv1D filters=4 kernel_size=3 padding=same strides=2", 8, 3 },
    { "Conv1D filters=4 kernel_size=3 padding=same strides=2", 9, 3 },
    { "Conv1D filters=2 kernel_size=2 padding=same dilation_rate=5", 3, 2 },
    { "Conv1D filters=4 kernel_size=3 padding=causal activation=sigmoid", 9, 3 },
    { "Conv1D filters=4 kernel_size=2 padding=causal dilation_rate=3", 11, 3 },
    { "Conv1D filters=4 kernel_size=3 dilation_rate=2 use_bias=0", 11, 3 },
    { "Conv1D filters=4 kernel_size=3 padding=causal strides=3", 11, 3 },
    { "Conv1D filters=4 kernel_size=3 strides=2 activation=softmax", 12, 3 },
    { "Conv1D filters=3 kernel_size=2 strides=4", 12, 2 },
    { "Conv1D filters=3 kernel_size=1 strides=2 padding=same", 6, 2 },
    { "MaxPooling1D", 9, 3 },
    { "MaxPooling1D pool_size=3 strides=1", 9, 3 },
    { "MaxPooling1D pool_size=2 strides=3", 11, 3 },
    { "MaxPooling1D pool_size=3 strides=2 padding=same", 8, 3 },
    { "MaxPooling1D pool_size=1", 5, 3 },
    { "AveragePooling1D", 9, 3 },
    { "AveragePooling1D pool_size=4 strides=1", 9, 3 },
    { "AveragePooling1D pool_size=3 strides=2 padding=same", 9, 3 },
    { "GlobalAveragePooling1D", 7, 3 },
    { "GlobalAveragePooling1D keepdims=1; Dense units=2", 7, 3 },
    { "GlobalMaxPooling1D", 7, 3 },
    { "BatchNormalization", 6, 4 },
    { "BatchNormalization center=0 scale=0", 6, 4 },
    { "BatchNormalization scale=0; Dense units=3", 6, 4 },
    { "LSTM units=5", 7, 3 },
    { "LSTM units=16 return_sequences=1", 9, 9 },
    { "LSTM units=37 use_bias=0", 5, 4 },
    { "LSTM units=6 recurrent_activation=hard_sigmoid return_sequences=1", 6, 3 },
    { "LSTM units=5 activation=sigmoid recurrent_activation=tanh", 6, 3 },
    { "LSTM units=5 go_backwards=1", 7, 3 },
    { "LSTM units=4 activation=relu return_sequences=1 go_backwards=1", 6, 3 },
    { "LSTM units=19 activation=gelu recurrent_activation=softmax", 6, 3 },
    { "GRU units=5", 7, 3 },
    { "GRU units=17 return_sequences=1 activation=elu recurrent_activation=hard_sigmoid", 6, 9 },
    { "GRU units=5 activation=relu recurrent_activation=hard_sigmoid return_sequences=1 "
      "go_backwards=1",
      6, 3 },
    { "GRU units=5 reset_after=1 activation=sigmoid recurrent_activation=tanh return_sequences=1",
      6, 3 },
    { "GRU units=4 dropout=0.4 recurrent_dropout=0.3 return_sequences=1", 6, 3 },
    { "GRU units=4 reset_after=1 dropout=0.4 recurrent_dropout=0.3; Dense units=2", 6, 3 },
    { "LSTM units=4 dropout=0.4 recurrent_dropout=0.3; Dense units=2", 6, 3 },
    { "LSTM units=4 activation=sigmoid recurrent_dropout=0.5 return_sequences=1 go_backwards=1", 6,
      3 },
    { "SimpleRNN units=4 dropout=0.5 recurrent_dropout=0.3 return_sequences=1", 6, 3 },
    { "GRU units=5 reset_after=1", 7, 3 },
    { "GRU units=16 reset_after=1 return_sequences=1", 9, 9 },
    { "GRU units=37 reset_after=1 use_bias=0 go_backwards=1", 5, 4 },
    { "GRU units=6 reset_after=1 activation=log_softmax recurrent_activation=softmax", 6, 3 },
    { "SimpleRNN units=5", 7, 3 },
    { "SimpleRNN units=33 return_sequences=1 activation=softmax use_bias=0", 6, 9 },
    { "SimpleRNN units=3 return_sequences=1 go_backwards=1; SimpleRNN units=2 activation=relu", 6,
      3 },
    { "Bidirectional of LSTM units=5", 7, 3 },
    { "Bidirectional merge_mode=sum of GRU units=17 reset_after=1 return_sequences=1", 6, 9 },
    { "Bidirectional merge_mode=mul of SimpleRNN units=4 return_sequences=1; GRU units=3", 6, 3 },
    { "Bidirectional merge_mode=ave of LSTM units=4; Dense units=2", 6, 3 },
    { "Bidirectional merge_mode=mul of LSTM units=3 dropout=0.3; Dense units=2", 5, 3 },
    { "Bidirectional merge_mode=ave of GRU units=3 return_sequences=1 recurrent_dropout=0.4", 5,
      3 },
    { "Bidirectional of LSTM units=4 and GRU units=3 go_backwards=1; Dense units=2", 6, 3 },
    { "a: Bidirectional merge_mode=forward of LSTM units=3 return_sequences=1; Bidirectional "
      "merge_mode=backward of GRU units=4 return_sequences=1 @in; Concatenate @a,bidirectional",
      6, 3 },
    { "Bidirectional merge_mode=backward of LSTM units=4 and GRU units=3 go_backwards=1", 6, 3 },
    { "a: Bidirectional merge_mode=forward of LSTM units=3 return_sequences=1; =a "
      "merge_mode=backward; Multiply @a,bidirectional",
      6, 3 },
    { "Reshape target_shape=4x3x2 distributed=1; ConvLSTM2D filters=2 kernel_size=2 padding=same",
      5, 24 },
    { "Reshape target_shape=4x5x3 distributed=1; ConvLSTM2D filters=17 kernel_size=3x2 strides=1x2 "
      "return_sequences=1; ConvLSTM2D filters=3 kernel_size=1 activation=softmax",
      4, 60 },
    { "Reshape target_shape=4x5x1 distributed=1; ConvLSTM2D filters=3 kernel_size=2 "
      "activation=relu "
      "dilation_rate=3x2 go_backwards=1 recurrent_activation=hard_sigmoid return_sequences=1",
      4, 20 },
    { "Reshape target_shape=4x5x2 distributed=1; ConvLSTM2D filters=2 kernel_size=3x2 strides=1x2 "
      "dropout=0.3 recurrent_dropout=0.3 return_sequences=1; ConvLSTM2D filters=2 kernel_size=2 "
      "strides=2x1 padding=same",
      3, 40 },
    { "Reshape target_shape=3x2x1 distributed=1; ConvLSTM2D filters=2 kernel_size=2 "
      "padding=same activation=silu recurrent_activation=softmax return_sequences=1; ConvLSTM2D "
      "filters=2 kernel_size=2 activation=gelu recurrent_activation=softplus",
      3, 6 },
    { "Reshape target_shape=4x3 distributed=1; GRU units=3 reset_after=1 distributed=1; LSTM "
      "units=2",
      5, 12 },
    { "Reshape target_shape=4x3 distributed=1; Bidirectional distributed=1 of LSTM units=3; GRU "
      "units=2",
      5, 12 },
    { "Masking mask_value=1e12; LSTM units=5 return_sequences=1", 9, 1 },
    { "Masking; GRU units=17 reset_after=1 return_sequences=1 zero_output_for_mask=1; GRU units=3",
      9, 1 },
    { "Masking; LSTM units=4 return_sequences=1 dropout=0.3; LSTM units=3 activation=softsign", 9,
      2 },
    { "Masking; GRU units=4 return_sequences=1 recurrent_dropout=0.3; SimpleRNN units=3 "
      "zero_output_for_mask=1",
      9, 2 },
    { "Masking; Bidirectional merge_mode=mul of LSTM units=3 return_sequences=1; Bidirectional "
      "merge_mode=sum of GRU units=2",
      9, 2 },
    { "Masking; Bidirectional of SimpleRNN units=4 return_sequences=1; Dense units=3", 9, 1 },
    { "Masking; Dense units=4; LSTM units=3 go_backwards=1; Dense units=2", 9, 1 },
    { "Masking; LSTM units=4 activation=gelu recurrent_activation=softmax return_sequences=1; GRU "
      "units=3 activation=mish recurrent_activation=hard_silu; Dense units=2",
      9, 1 },
    { "Masking; Dense units=4; GlobalAveragePooling1D", 9, 1 },
    { "Masking; Dense units=4; BatchNormalization; LSTM units=3", 9, 1 },
    { "Masking; BatchNormalization center=0; LSTM units=3 return_sequences=1; BatchNormalization",
      9, 1 },
    { "LSTM units=4 return_sequences=1; LSTM units=3; Dense units=4 activation=softmax", 7, 3 },
    { "Conv1D filters=6 kernel_size=3 padding=causal activation=relu; MaxPooling1D; "
      "LSTM units=5; Dense units=4 activation=softmax",
      12, 3 },
    { "Conv1D filters=5 kernel_size=3 strides=2; AveragePooling1D pool_size=2 strides=1; "
      "BatchNormalization; Dropout rate=0.3; LSTM units=4; Dense units=3 activation=sigmoid",
      13, 2 },
    { "Conv1D filters=6 kernel_size=3 activation=relu; Conv1D filters=5 kernel_size=3 "
      "padding=same; MaxPooling1D; Flatten; Dense units=7 activation=tanh; Dense units=3 "
      "activation=softmax",
      12, 3 },
    { "LSTM units=4 return_sequences=1; GlobalMaxPooling1D; Dense units=3", 6, 3 },
    { "Conv1D filters=6 kernel_size=3 groups=2 padding=same", 9, 4 },
    { "Conv1D filters=6 kernel_size=2 groups=3 padding=causal strides=2 activation=relu", 9, 6 },
    { "Conv1D filters=4 kernel_size=2 groups=4 dilation_rate=2 activation=softmax", 9, 4 },
    { "columns=5; Conv2D filters=4 kernel_size=3", 6, 10 },
    { "columns=5; Conv2D filters=19 kernel_size=3x2 padding=same activation=relu", 6, 15 },
    { "columns=7; Conv2D filters=3 kernel_size=2x3 strides=2x1 activation=sigmoid", 7, 14 },
    { "columns=6; Conv2D filters=3 kernel_size=4x3 strides=2x3 padding=same", 7, 12 },
    { "columns=6; Conv2D filters=3 kernel_size=2 dilation_rate=3x2 use_bias=0", 7, 6 },
    { "columns=3; Conv2D filters=2 kernel_size=2 dilation_rate=4 padding=same", 3, 6 },
    { "columns=4; Conv2D filters=6 kernel_size=3x2 groups=2 activation=softmax", 6, 16 },
    { "columns=9; Conv2D filters=5 kernel_size=1x3 padding=same", 4, 18 },
    { "columns=5; Conv2D filters=4 kernel_size=2x3 strides=2 groups=2 padding=same activation=tanh",
      6, 10 },
    { "columns=5; MaxPooling2D", 7, 15 },
    { "columns=5; MaxPooling2D pool_size=3x2 strides=1x2 padding=same", 7, 15 },
    { "columns=6; AveragePooling2D pool_size=2x3 strides=2x1", 7, 12 },
    { "columns=6; AveragePooling2D pool_size=3 strides=2 padding=same", 6, 12 },
    { "columns=8; Conv2D filters=4 kernel_size=3 activation=relu; MaxPooling2D; Conv2D filters=5 "
      "kernel_size=2; MaxPooling2D pool_size=2x1; Flatten; Dense units=4 activation=softmax",
      9, 16 },
    { "DepthwiseConv1D kernel_size=3", 8, 5 },
    { "DepthwiseConv1D kernel_size=2 depth_multiplier=3 padding=same activation=softmax", 8, 2 },
    { "DepthwiseConv1D kernel_size=3 padding=causal dilation_rate=2 use_bias=0", 8, 18 },
    { "columns=5; DepthwiseConv2D kernel_size=2x3 depth_multiplier=2 activation=softmax", 6, 10 },
    { "columns=5; DepthwiseConv2D kernel_size=3x2 depth_multiplier=2 padding=same strides=2", 7,
      15 },
    { "columns=6; DepthwiseConv2D kernel_size=2 dilation_rate=2x3 activation=relu", 7, 18 },
    { "SeparableConv1D filters=4 kernel_size=3 padding=causal strides=2", 9, 5 },
    { "SeparableConv1D filters=4 kernel_size=2 dilation_rate=3 activation=tanh use_bias=0", 9, 5 },
    { "SeparableConv1D filters=3 kernel_size=4 padding=same depth_multiplier=2", 9, 3 },
    { "columns=5; SeparableConv2D filters=17 kernel_size=3 activation=relu", 6, 15 },
    { "columns=5; SeparableConv2D filters=3 kernel_size=3x2 padding=same strides=2 "
      "depth_multiplier=2 activation=log_softmax",
      6, 15 },
    { "columns=5; GlobalAveragePooling2D", 4, 15 },
    { "columns=5; GlobalMaxPooling2D keepdims=1; Flatten", 4, 15 },
    { "ZeroPadding1D padding=2x1", 5, 3 },
    { "Cropping1D cropping=1x2", 6, 3 },
    { "columns=3; ZeroPadding2D padding=1x2x0x3", 4, 6 },
    { "columns=3; ZeroPadding2D padding=0x0x2x1; Conv2D filters=2 kernel_size=2x3", 4, 6 },
    { "columns=6; Cropping2D cropping=2x1x0x3", 6, 12 },
    { "columns=6; Cropping2D cropping=0x0x2x1", 6, 12 },
    { "UpSampling1D size=3", 4, 3 },
    { "columns=3; UpSampling2D size=2x3", 4, 6 },
    { "columns=3; UpSampling2D size=1x2 interpolation=bilinear", 4, 6 },
    { "columns=4; UpSampling2D size=3x2 interpolation=bilinear", 4, 8 },
    { "columns=4; Conv1D filters=3 kernel_size=2 distributed=1; MaxPooling1D distributed=1; "
      "Flatten",
      5, 8 },
    { "Softmax axis=1", 5, 7 },
    { "columns=3; Softmax axis=2; Softmax axis=2x3", 4, 12 },
    { "columns=3; Softmax axis=1x3", 4, 12 },
    { "Reshape target_shape=-1; Activation activation=softmax", 7, 1 },
    { "ReLU max_value=1.5 negative_slope=0.25 threshold=0.5", 5, 3 },
    { "ReLU max_value=1", 5, 3 },
    { "LeakyReLU; LeakyReLU negative_slope=0.01", 5, 3 },
    { "ThresholdedReLU theta=0.7", 5, 3 },
    { "ELU; ELU alpha=0.3", 5, 3 },
    { "PReLU", 5, 3 },
    { "PReLU shared_axes=1", 5, 3 },
    { "columns=3; PReLU shared_axes=1x3", 5, 12 },
    { "columns=3; PReLU shared_axes=1x2; BatchNormalization axis=2", 5, 12 },
    { "BatchNormalization axis=1", 6, 4 },
    { "LayerNormalization", 6, 4 },
    { "LayerNormalization axis=1 scale=0", 6, 4 },
    { "columns=3; LayerNormalization axis=2x3 center=0; LayerNormalization axis=2", 5, 12 },
    { "columns=3; LayerNormalization axis=3x1 rms_scaling=1", 5, 12 },
    { "SpatialDropout1D rate=0.5; GaussianDropout rate=0.5; GaussianNoise stddev=2", 5, 3 },
    { "AlphaDropout rate=0.5; ActivityRegularization l1=1; Dense units=2", 5, 3 },
    { "UnitNormalization; Dense units=2", 5, 3 },
    { "columns=3; UnitNormalization axis=2; UnitNormalization axis=1x3", 5, 12 },
    { "Rescaling scale=0.25", 5, 3 },
    { "Rescaling scale=0.25x2x-3 offset=1x0x0.3", 5, 3 },
    { "Normalization", 5, 3 },
    { "Normalization mean=1x2x3 variance=0.5x0x4 invert=1", 5, 3 },
    { "columns=3; Normalization axis=2x3; Normalization axis=2 invert=1", 5, 12 },
    { "Normalization axis=1", 5, 3 },
    { "columns=3; Normalization mean=2 variance=3 axis=2", 5, 12 },
    { "a: Dense units=3; b: Dense units=3 activation=tanh @in; Add @a,b", 6, 3 },
    { "a: Dense units=3; Subtract @in,a", 6, 3 },
    { "a: Dense units=1; Multiply @a,in,in", 6, 3 },
    { "a: LSTM units=4 return_sequences=1; b: Conv1D filters=4 kernel_size=3 padding=causal @in; "
      "Average @a,b,b; LSTM units=3",
      7, 2 },
    { "a: Dense units=4; b: Dense units=2 @in; Concatenate @b,a,b; Dense units=3", 6, 3 },
    { "a: GlobalAveragePooling1D; Maximum @in,a; b: GlobalMaxPooling1D @in; Minimum @b,maximum", 6,
      3 },
    { "columns=3; a: Dense units=1; Minimum @a,in", 5, 12 },
    { "Concatenate axis=1 @in,in; LSTM units=3", 5, 2 },
    { "columns=3; a: Dense units=1; Concatenate axis=-1 @a,in; Concatenate axis=2 @in,in", 4, 12 },
    { "Dot axes=1 @in,in", 6, 3 },
    { "Dot axes=2 normalize=1 @in,in; LSTM units=2", 6, 3 },
    { "a: Permute dims=2x1; Dot axes=2x1 @in,a", 6, 19 },
    { "a: GlobalMaxPooling1D; b: GlobalAveragePooling1D @in; Dot axes=-1 @a,b", 6, 3 },
    { "Reshape target_shape=-1x2x3; Permute dims=1x3x2; Flatten", 5, 6 },
    { "Reshape target_shape=2x-1; LSTM units=3", 5, 6 },
    { "LSTM units=4; RepeatVector n=3; LSTM units=3 return_sequences=1", 5, 2 },
    { "LSTM units=6; Reshape target_shape=2x3; Permute dims=2x1; Dense units=2", 5, 2 },
    { "columns=4; Permute dims=3x1x2", 5, 12 },
    { "Embedding input_dim=4 output_dim=5", 6, 3 },
    { "Reshape target_shape=-1; Embedding input_dim=3 output_dim=5 mask_zero=1; LSTM units=3", 9,
      1 },
    { "Reshape target_shape=-1; a: Embedding input_dim=3 output_dim=5 mask_zero=1; b: Embedding "
      "input_dim=2 output_dim=5 mask_zero=1 @reshape; Multiply @a,b; LSTM units=3",
      9, 1 },
    { "Reshape target_shape=-1; a: Embedding input_dim=3 output_dim=5 mask_zero=1; b: Embedding "
      "input_dim=2 output_dim=5 mask_zero=1 @reshape; Maximum @a,b; Concatenate axis=1 @maximum,a; "
      "LSTM units=3",
      9, 1 },
    { "a: Masking; b: Dense units=3 @a; Multiply @b,in; Dense units=2", 9, 3 },
    { "a: Masking; b: Dense units=3 @a; Multiply @b,a,a; Dense units=2", 9, 3 },
    { "a: Masking; b: Dense units=3 @a; Maximum @b,a; Dense units=2", 9, 3 },
    { "a: Masking; b: Dense units=3 @a; Minimum @in,b; Concatenate @a,minimum", 9, 3 },
    { "a: Dense units=3; =a; =a; Add @in,a", 6, 3 },
    { "columns=2; SpatialDropout2D rate=0.5", 4, 6 },
    { "Reshape target_shape=2x2x2x3; SpatialDropout3D rate=0.5", 6, 4 },
    { "columns=3; BatchNormalization axis=2; BatchNormalization axis=1", 4, 12 },
    { "columns=3; Dense units=2; SpatialDropout2D rate=0.4; Dense units=2", 4, 12 },
    { "SpatialDropout1D rate=0.4", 5, 6 },
    { "GaussianDropout rate=0.3; AlphaDropout rate=0.4; GaussianNoise stddev=0.5", 5, 3 },
    { "a: Dense units=4; Dot axes=2 normalize=1 @a,in", 5, 4 },
    { "a: Dense units=3; Maximum @a,a; Minimum @a,maximum", 5, 4 },
    { "columns=5; Conv2D filters=3 kernel_size=2 activation=silu; MaxPooling2D", 6, 10 },
    { "Masking; Dense units=3; GlobalAveragePooling1D; Dense units=2", 9, 3 },
    { "Reshape target_shape=-1; Embedding input_dim=3 output_dim=5 mask_zero=1; "
      "GlobalAveragePooling1D; Dense units=2",
      9, 1 },
};
enum { NET_CASES = sizeof(net_cases) / sizeof(*net_cases) };

/* A value of an option: a number, or a name that options of this type have. */
static inline double net_value(const ky_field *f, const char *text)
{
    enum ky_activation a;
    enum ky_padding p;
    enum ky_merge_mode m;
    enum ky_interpolation i;

    if (f->type == KY_F_ACTIVATION && ky_activation_find(text, 3, &a) == KY_OK)
        return a;
    if (f->type == KY_F_PADDING && ky_padding_find(text, &p) == KY_OK)
        return p;
    if (f->type == KY_F_MERGE_MODE && ky_merge_mode_find(text, &m) == KY_OK)
        return m;
    if (f->type == KY_F_MERGE_MODE) /* these have no name in files */
        return strcmp(text, "forward") == 0 ? KY_FORWARD : KY_BACKWARD;
    if (f->type == KY_F_INTERPOLATION && ky_interpolation_find(text, &i) == KY_OK)
        return i;
    return strtod(text, NULL);
}

static inline void net_list(const ky_field *f, ky_layer_config *cfg, char *text)
{
    double v[KY_FIELD_MAX];
    int n = 0;
    char *rest;

    for (char *one = strtok_r(text, "x", &rest); one != NULL; one = strtok_r(NULL, "x", &rest))
        v[n++] = net_value(f, one);
    ky_field_resize(f, cfg, n);
    for (int i = 0; i < ky_field_len(f, cfg); i++)
        ky_field_set(f, cfg, i, v[i < n ? i : n - 1]);
}

static inline void net_option(ky_layer *l, char *option)
{
    char *value = strchr(option, '=');

    *value++ = '\0';
    if (strcmp(option, "distributed") == 0) {
        l->distributed = atoi(value);
        return;
    }
    for (const ky_field *f = l->ops->fields; f->key != NULL; f++)
        if (strcmp(f->key, option) == 0) {
            if (f->list > 0 || f->type == KY_F_DIMS || f->type == KY_F_REALS)
                net_list(f, &l->cfg, value);
            else
                ky_field_set(f, &l->cfg, 0, net_value(f, value));
            return;
        }
    fprintf(stderr, "%s has no option %s\n", l->ops->class_name, option);
    abort();
}

/* "LSTM units=3", "Bidirectional of LSTM units=3", "Bidirectional of LSTM units=3 and GRU units=2
 * go_backwards=1"; up to the word "and", which it tells. */
static inline int net_layer(ky_layer *l, char **words, bool *ret_and, ky_err *err)
{
    char *word;

    *ret_and = false;
    ky_layer_init(l, ky_layer_find(strtok_r(NULL, " ", words)), "");
    while (!*ret_and && (word = strtok_r(NULL, " ", words)) != NULL) {
        if (strcmp(word, "of") == 0) {
            ky_layer ahead, back;
            bool both, more;

            net_layer(&ahead, words, &both, err);
            if (both)
                net_layer(&back, words, &more, err);
            return ky_bidirectional_wrap(l, &ahead, both ? &back : NULL, err);
        }
        *ret_and = strcmp(word, "and") == 0;
        if (!*ret_and)
            net_option(l, word);
    }
    return KY_OK;
}

/* Weights of an order of magnitude that lets every gate and bias matter. */
static inline void net_weights(ky_model *m, uint64_t seed)
{
    ky_rng rng;

    ky_model_init(m, seed);
    ky_rng_seed(&rng, seed + 1);
    for (size_t i = 0; i < m->n_weights; i++)
        m->weights[i] += (ky_real)(0.2 * ky_rng_normal(&rng));
    for (int i = 0; i < m->n_layers; i++)
        for (int j = 0; j < m->layers[i].n_weights; j++) {
            const ky_weight *v = &m->layers[i].weights[j];

            for (size_t n = 0; strstr(v->name, "variance") != NULL && n < v->len; n++)
                ky_model_weight(m, i, j)[n] = (ky_real)(0.5 + ky_rng_uniform(&rng));
        }
}

/* The tensor of that name: a layer's, or "in". */
static inline int net_tensor(const ky_model *m, const char *name)
{
    for (int i = 0; i < m->n_layers; i++)
        if (strcmp(m->layers[i].name, name) == 0)
            return i;
    return KY_INPUT(0);
}

/* "name: Class option=value @in,other": a layer that is called on what is named, or on the last
 * one's output. "=name" calls that layer once more, "=name option=value" with another option. */
static inline int net_add(ky_model *m, char *text, ky_err *err)
{
    int from[8] = { m->n_layers > 0 ? m->n_layers - 1 : KY_INPUT(0) }, n = 1, rc;
    char *names = strchr(text, '@'), *colon = strchr(text, ':');
    ky_layer l;
    bool more;

    if (names != NULL) {
        *names++ = '\0';
        n = 0;
        for (char *rest, *one = strtok_r(names, ",", &rest); one != NULL;
             one = strtok_r(NULL, ",", &rest))
            from[n++] = net_tensor(m, one);
    }
    if (colon != NULL) {
        *colon = '\0';
        names = text + strspn(text, " ");
        text = colon + 1;
    }
    text += strspn(text, " ");
    if (text[0] == '=') {
        char *rest, *option;
        const ky_layer *first = &m->layers[net_tensor(m, strtok_r(text + 1, " ", &rest))];

        l = *first;
        l.shares = first->shares;
        while ((option = strtok_r(NULL, " ", &rest)) != NULL)
            net_option(&l, option);
        l.inner = NULL; /* every call has its own */
        rc = l.n_inner > 0 ? ky_bidirectional_wrap(&l, &first->inner[0], &first->inner[1], err)
                           : KY_OK;
    } else
        rc = net_layer(&l, &text, &more, err);
    if (rc == KY_OK && colon != NULL)
        snprintf(l.name, sizeof(l.name), "%s", names);
    if (rc == KY_OK)
        rc = ky_model_call(m, &l, n, from, err);
    return rc < 0 ? rc : KY_OK;
}

/* The model of a spec with random weights; T may be KY_ANY. `training`: packed for backward. */
static inline int net_build(const char *spec, int T, int F, const ky_kernels *k, bool training,
                            ky_model **ret, ky_err *err)
{
    char text[512], *layers, *layer;
    ky_shape input = { .rank = 2, .d = { T, F }, .timed = true };
    ky_model *m = NULL;
    int rc, columns = 0;

    snprintf(text, sizeof(text), "%s", spec);
    layer = strtok_r(text, ";", &layers);
    if (sscanf(layer, "columns=%d", &columns) == 1) {
        input = (ky_shape){ .rank = 3, .d = { T, columns, F / columns }, .timed = true };
        layer = strtok_r(NULL, ";", &layers);
    }
    rc = ky_model_new("net", &input, &m, err);
    for (; rc == KY_OK && layer != NULL; layer = strtok_r(NULL, ";", &layers))
        rc = net_add(m, layer, err);
    if (rc == KY_OK)
        rc = ky_model_finish(m, err);
    if (rc == KY_OK) {
        net_weights(m, 7);
        m->kernels = k;
        m->training = training;
        rc = ky_model_pack(m, err);
    }
    if (rc < 0)
        ky_model_free(m);
    else
        *ret = m;
    return rc;
}

static inline ky_real *net_reals(size_t n)
{
    ky_real *v = aligned_alloc(64, (n * sizeof(*v) + 64) / 64 * 64);

    memset(v, 0x55, n * sizeof(*v)); /* what nobody wrote must not look like zeros */
    return v;
}

/* A pass of B rows of T steps through a model. */
typedef struct net_pass {
    const ky_model *m;
    int B, T;
    bool training;
    uint64_t seed;       /* of dropout */
    void *const *state;  /* of the first layer, or NULL */
    ky_real **y, **tape; /* [n_layers] */
    size_t *len;         /* reals of y[i] */
    uint8_t **mask;      /* [n_layers] that layers made or passed on */
} net_pass;

/* T: steps of the tensor that layer i reads. */
static inline ky_call net_call(const net_pass *p, int i, int T, ky_rng *rng)
{
    const ky_layer *l = &p->m->layers[i];
    ky_call c = {
        .training = p->training, .rng = rng, .tape = p->tape[i], .state = i == 0 ? p->state : NULL
    };

    ky_layer_fold(l, ky_model_tensor(p->m, l->from[0]), p->B, T, &c.B, &c.T);
    c.T_out = ky_layer_steps(l, c.T);
    return c;
}

static inline ky_input net_tensor_of(const net_pass *p, int tensor, const ky_real *x, const int *T)
{
    return (ky_input){ .x = tensor < 0 ? x : p->y[tensor],
                       .T = T[tensor],
                       .mask = tensor < 0 ? NULL : p->mask[tensor] };
}

/* Room for the mask of layer i, or a copy of the one that it passes on; NULL: none. */
static inline uint8_t *net_mask(const net_pass *p, int i, const ky_input *in, const int *T)
{
    const ky_layer *l = &p->m->layers[i];
    size_t n = (size_t)p->B * (size_t)(l->tensor.timed ? T[i] : l->tensor.d[0]);
    uint8_t *mask = l->masked ? malloc(n) : NULL;

    if (mask != NULL && in[0].mask != NULL && l->ops->masking == KY_MASK_PASSES)
        memcpy(mask, in[0].mask, n);
    return mask;
}

static inline void net_forward(net_pass *p, const ky_real *x)
{
    const ky_model *m = p->m;
    ky_rng rng;
    int steps[65] = { p->T }, *T = steps + 1; /* the input's, and of each layer's output */

    ky_rng_seed(&rng, p->seed);
    p->y = calloc((size_t)m->n_layers, sizeof(*p->y));
    p->tape = calloc((size_t)m->n_layers, sizeof(*p->tape));
    p->len = calloc((size_t)m->n_layers, sizeof(*p->len));
    p->mask = calloc((size_t)m->n_layers, sizeof(*p->mask));
    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];
        int from = l->from[0];
        ky_input in[8];
        ky_call c;

        for (int k = 0; k < l->n_in; k++)
            in[k] = net_tensor_of(p, l->from[k], x, T);
        c = net_call(p, i, T[from], &rng);
        p->tape[i] = p->training ? net_reals(ky_layer_tape(l, c.B, c.T)) : NULL;
        c.tape = p->tape[i];
        c.in = l->distributed > 0 ? NULL : in;
        if (l->ops->join != NULL)
            c.T_out = ky_layer_join(l, in);
        T[i] = ky_call_steps(m, i, T);
        p->mask[i] = net_mask(p, i, in, T);
        c.mask_out = p->mask[i];
        c.scratch = net_reals(ky_layer_scratch(l, ky_model_packed(m, i), c.B, c.T, false));
        p->len[i] = (size_t)p->B * (size_t)T[i] * ky_shape_step(&l->tensor);
        p->y[i] = net_reals(p->len[i]);
        l->ops->window(l, m->kernels, ky_model_packed(m, i), m->weights + l->weights_at, &c,
                       in[0].x, p->y[i]);
        free(c.scratch);
    }
}

/* Backward through call i: adds its inputs' gradients to d, [1+n_layers] of every tensor, the
 * input's first. */
static inline void net_backward_call(net_pass *p, int i, const ky_real *x, const int *T,
                                     ky_real **d, const size_t *len, ky_real *dw)
{
    const ky_model *m = p->m;
    const ky_layer *l = &m->layers[i];
    ky_call c = net_call(p, i, T[l->from[0]], NULL);
    ky_input in[8];
    ky_real *dx[8];

    for (int k = 0; k < l->n_in; k++) {
        in[k] = net_tensor_of(p, l->from[k], x, T);
        dx[k] = net_reals(len[l->from[k] + 1]);
    }
    c.in = l->distributed > 0 ? NULL : in;
    c.dx = dx;
    c.mask_out = p->mask[i];
    if (l->ops->join != NULL)
        c.T_out = ky_layer_join(l, in);
    c.scratch = net_reals(ky_layer_scratch(l, ky_model_packed(m, i), c.B, c.T, true));
    l->ops->backward(l, m->kernels, ky_model_packed(m, i), m->weights + l->weights_at, &c, in[0].x,
                     p->y[i], d[i + 1], dx[0], dw + l->weights_at);
    for (int k = 0; k < l->n_in; k++) {
        for (size_t v = 0; v < len[l->from[k] + 1]; v++)
            d[l->from[k] + 1][v] += dx[k][v];
        free(dx[k]);
    }
    free(c.scratch);
}

/* dy of the last layer -> dx [B,T,F] and dw += [n_weights]. */
static inline void net_backward(net_pass *p, const ky_real *x, const ky_real *dy, ky_real *dx,
                                ky_real *dw)
{
    const ky_model *m = p->m;
    int steps[65], *T = steps + 1;
    size_t len[65] = { (size_t)p->B * (size_t)p->T * ky_shape_step(&m->inputs[0]) };
    ky_real *d[65] = { dx };

    ky_model_steps(m, p->T, steps);
    memset(dx, 0, len[0] * sizeof(*dx));
    for (int i = 0; i < m->n_layers; i++) {
        len[i + 1] = p->len[i];
        d[i + 1] = calloc(len[i + 1], sizeof(*dx));
    }
    memcpy(d[m->n_layers], dy, len[m->n_layers] * sizeof(*dy));
    for (int i = m->n_layers - 1; i >= 0; i--) {
        net_backward_call(p, i, x, T, d, len, dw);
        free(d[i + 1]);
    }
}

static inline const ky_real *net_last(const net_pass *p, size_t *ret_len)
{
    *ret_len = p->len[p->m->n_layers - 1];
    return p->y[p->m->n_layers - 1];
}

static inline void net_done(net_pass *p)
{
    for (int i = 0; i < p->m->n_layers; i++) {
        free(p->y[i]);
        free(p->tape[i]);
        free(p->mask[i]);
    }
    free(p->mask);
    free(p->y);
    free(p->tape);
    free(p->len);
}

/* Ordinary numbers, and now and then -0, a subnormal and a large one, or a few zeros, which a
 * Masking takes out. */
static inline void net_inputs(ky_real *x, size_t n, uint64_t seed, bool odd)
{
    static const ky_real odds[] = { (ky_real)-0.0, (ky_real)1e-41, (ky_real)-3e4, (ky_real)1e12 };
    int zeros = 0;
    ky_rng rng;

    ky_rng_seed(&rng, seed);
    for (size_t i = 0; i < n; i++) {
        x[i] = (ky_real)ky_rng_normal(&rng);
        if (odd && ky_rng_below(&rng, 8) == 0)
            x[i] = odds[ky_rng_below(&rng, 4)];
        if (odd && ky_rng_below(&rng, 20) == 0)
            zeros = 4;
        if (zeros > 0) {
            x[i] = 0;
            zeros--;
        }
    }
}

/* Bit for bit; of NaN only that it is one. Returns the first difference, n if there is none. */
static inline size_t net_differ(const ky_real *a, const ky_real *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof(*a)) != 0 && !(isnan(a[i]) && isnan(b[i])))
            return i;
    return n;
}

#endif
