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

# the fused kernel needs a C++ compiler; without one PyTorch takes some fifty times as long, and a slice has to do
if command -v g++ >/dev/null || command -v clang++ >/dev/null; then
    : "${TRAIN:=60000}" "${EPOCHS:=6}"
else
    : "${TRAIN:=10000}" "${EPOCHS:=2}"
fi
out="$runs/mnist" number=1
while [[ -e $out ]]; do out="$runs/mnist-$((number += 1))"; done
step "Train it on the first $TRAIN images, $EPOCHS epochs"
netc train "$runs/network.cir" --data mnist --limit-train "$TRAIN" --epochs "$EPOCHS" --steps "${STEPS:-1000}" \
    --batch "${BATCH:-64}" --lr "${RATE:-5e-3}" --clip-gradient 1 --seed "${SEED:-0}" --out "$out"

step "Pictures"
ls "$runs/mif.png" "$out"/*.png
