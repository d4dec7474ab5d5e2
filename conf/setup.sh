#!/usr/bin/env bash
# Install everything into a virtual environment, one group of packages after the other, each with its seconds.
# constraints.txt pins what each group brings along, so the groups change no version; they are here to be seen.
#
#   conf/setup.sh PYTHON
set -euo pipefail
python=$1

install() {
    local begun=$SECONDS
    printf 'setup: %s ... ' "$1"
    "$python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "${@:2}"
    echo "$((SECONDS - begun)) s"
}

install '1/4 torch (a CPU build has about 200 MB, one with CUDA several GB)' torch torchvision
install '2/4 Spark and Arrow (about 500 MB)' pyspark pyarrow
install '3/4 pictures, languages and numbers (about 200 MB)' img2dataset clip-anytorch imagehash langdetect numba scipy
install '4/4 pairmill, the rest of its packages, the demo and the tools of its tests' --editable '.[demo,dev]'
