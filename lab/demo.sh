#!/bin/sh
# Shows the monitor's main job on a real engine and a real registry, which it provides and removes again.
#
#   sh lab/demo.sh [--keep]
#
# With --keep, the monitor and its page stay until you press Enter.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."
sh lab/setup.sh requirements.txt
exec .venv/bin/python -m lab.demo "$@"
