#!/usr/bin/env bash
# Install everything into a virtual environment, one group of packages after the other, and print the seconds of each.
# constraints.txt pins all versions, so the groups do not change them; they only show the progress.
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

install '1/4 torch (about 200 MB for a CPU build, several GB with CUDA)' torch torchvision
install '2/4 Spark and Arrow (about 500 MB)' pyspark pyarrow
install '3/4 images, languages and numbers (about 200 MB)' img2dataset clip-anytorch imagehash langdetect numba scipy
install '4/4 pairmill, its other packages, the demo and the test tools' --editable '.[demo,dev]'
