#!/bin/sh
# ExecReload of registry-monitor.service: has the monitor read its configuration again, and fails if that was refused.
# The monitor itself answers: no other process sees the service's credentials, or what is in force when it reads them.
set -eu
answer=$RUNTIME_DIRECTORY/reload
rm -f "$answer"
kill -HUP "$MAINPID"
for _ in $(seq 300); do
    if [ -e "$answer" ]; then
        [ ! -s "$answer" ] # what is wrong is in it, and in the journal, where the monitor has logged it
        exit
    fi
    sleep 0.1
done
echo 'the monitor did not answer within 30 s'
exit 1
