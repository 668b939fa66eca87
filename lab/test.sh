#!/bin/sh
# Runs checks and tests, the real engine's too.
#
#   sh lab/test.sh              what a change has to pass: some minutes
#   sh lab/test.sh everything   all there is
#   sh lab/test.sh -e lint      whatever tox is to run
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."
sh lab/setup.sh --tests requirements.txt requirements-dev.txt
case $* in
'' | everything) exec .venv/bin/python -m lab.suite "$@" ;;
*) exec .venv/bin/python -m tox run "$@" ;;
esac
