#!/bin/bash
# Text sentiment: is a sentence of a film review positive? Embedding, an LSTM from both ends and one
# sigmoid; and the same with a softmax over both classes.
. "$(dirname "$0")/lib.sh"

# every_tenth CLASS FILE: no split is official, so every tenth line is to test with.
every_tenth()
{
    awk -v class="$1" 'NR % 10 == 1 { print class "\t" $0 }' "$2" >>"$W/polarity_TEST.tsv"
    awk -v class="$1" 'NR % 10 != 1 { print class "\t" $0 }' "$2" >>"$W/polarity_TRAIN.tsv"
}

real rt_polarity rt-polarity.pos "sentence polarity v1.0 (B. Pang, L. Lee 2005),
      rt-polarity.pos and rt-polarity.neg, a sentence a line"
if [ -n "$real" ]; then
    rm -f "$W"/polarity_*.tsv
    every_tenth negative "${real%pos}neg"
    every_tenth positive "$real"
    data=$W/polarity.h5
    "$kymo" import "$W/polarity_TRAIN.tsv" --max-tokens 10000 -o "$data" || die "kymo import failed"
else
    simulate sentiment
fi
layers="embed:32 mask_zero, dropout:0.5, bi(lstm:32), dropout:0.5"
train sentiment-sigmoid ">=0.74" "$layers, dense:1 sigmoid" --epochs 8 --patience 3
train sentiment-softmax ">=0.74" "$layers, dense" --epochs 8 --patience 3
echo
"$kymo" predict "$W/sentiment-sigmoid-${seeds%% *}.h5" --text "a warm and funny film" \
    --text "tedious from start to finish" || die "kymo predict failed"
finish
