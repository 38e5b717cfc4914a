#!/bin/sh
# Train with N workers on this machine: deploy/loopback.sh N [flags of train.py]
# Each sees one GPU, where there are any. PORT=9400 is the first of N free ports.
set -eu
count=${1:?how many workers?}
shift
port=${PORT:-9400}
cd "$(dirname "$0")/.."

workers=
for number in $(seq 0 $((count - 1))); do
    workers="$workers,127.0.0.1:$((port + number))"
done
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
for number in $(seq 1 $((count - 1))); do
    CUDA_VISIBLE_DEVICES=$number python train.py "$@" --workers="${workers#,}" --worker="$number" &
done
# The first worker writes, and its exit status is this script's.
CUDA_VISIBLE_DEVICES=0 python train.py "$@" --workers="${workers#,}" --worker=0
wait
