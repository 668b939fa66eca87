#!/bin/sh
# Runs every check and test, the real engine's too, through tox. Arguments are tox's: sh lab/test.sh -e lab
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."
sh lab/setup.sh --tests requirements.txt requirements-dev.txt
exec .venv/bin/python -m tox run "$@"
