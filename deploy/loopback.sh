#!/bin/sh
# Train with N workers on this machine: deploy/loopback.sh N [flags of train.py]
# Each worker uses one GPU, if there are any. PORT=9400 is the first of N free ports.
set -eu
count=${1:?how many workers?}
shift
port=${PORT:-9400}
cd "$(dirname "$0")/.."

workers=
for index in $(seq 0 $((count - 1))); do
    workers="$workers,127.0.0.1:$((port + index))"
done
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
for index in $(seq 1 $((count - 1))); do
    CUDA_VISIBLE_DEVICES=$index python train.py "$@" --workers="${workers#,}" --worker="$index" &
done
# The first worker writes all files, and this script ends with its exit status.
CUDA_VISIBLE_DEVICES=0 python train.py "$@" --workers="${workers#,}" --worker=0
wait
