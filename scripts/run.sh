#!/usr/bin/env bash
# The whole path on real input: compile a neuron, check it against ngspice, train 784-100-10 on MNIST.
#   TRAIN, EPOCHS, STEPS, BATCH, RATE, SEED override how much is trained and how.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly runs=runs
step() { printf '\n== %s\n' "$*"; }

mkdir -p "$runs"
step "Compile netlists/mif.cir to PyTorch"
netc compile netlists/mif.cir -o "$runs/mif.py"

step "Compare it with ngspice"
netc validate netlists/mif.cir --plot "$runs/mif.png" --json "$runs/mif.json"

step "Fetch MNIST"
netc data fetch mnist

step "Generate the 784-100-10 network"
netc generate --layers 784,100,10 -o "$runs/network.cir"

step "Train it on ${TRAIN:-10000} images"
netc train "$runs/network.cir" --data mnist --limit-train "${TRAIN:-10000}" --epochs "${EPOCHS:-3}" \
    --steps "${STEPS:-1000}" --batch "${BATCH:-128}" --lr "${RATE:-1e-2}" --seed "${SEED:-0}" --out "$runs/mnist"

step "Pictures"
find "$runs" -name '*.png' | sort
