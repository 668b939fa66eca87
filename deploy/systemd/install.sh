#!/bin/sh
# Installs registry-monitor as a service of systemd, or upgrades it in place. As root:
#
#   sh deploy/systemd/install.sh                       program, unit, user, and an example of the configuration
#   sh deploy/systemd/install.sh --uninstall           all of these but configuration and history
#   sh deploy/systemd/install.sh --uninstall --purge   those, too
#
# Needs Python 3.11 or later with venv, and pip's way to the packages (PIP_INDEX_URL, PIP_NO_INDEX and so on count). It
# starts nothing, but restarts a service that runs; if the new version does not start, the old one is put back.
set -eu
umask 022

NAME=registry-monitor
UNIT=$NAME.service
OPT=/opt/$NAME
ETC=/etc/$NAME
STATE=/var/lib/$NAME
UNITS=/usr/local/lib/systemd/system
DROP_INS=/etc/systemd/system/$UNIT.d
COMMAND=/usr/local/bin/$NAME
SUITABLE='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'

say() {
    printf 'install: %s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

usage() {
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

# Sets `python` to the first one that is new enough and has what is needed.
find_python() {
    for python in python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        if "$python" -c "$SUITABLE" >/dev/null 2>&1; then return; fi
    done
    fail 'Python 3.11 or later with venv and pip is missing; on Debian: apt-get install python3-venv'
}

make_user() {
    getent group docker >/dev/null || fail 'there is no group docker: install the Docker engine first'
    if ! getent passwd $NAME >/dev/null; then
        say "making the user $NAME"
        useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin $NAME
    fi
}

# Nothing that exists is changed: it is the administrator's. One exception: a folder of passwords as the first installer
# made it is opened to the service; the files in it are not.
make_configuration() {
    install -d -m 0750 -o root -g $NAME "$ETC"
    if [ ! -d "$ETC/passwords" ] || [ "$(stat -c %a:%U:%G "$ETC/passwords")" = 700:root:root ]; then
        # Files made in it belong to the service's group.
        install -d -m 2750 -o root -g $NAME "$ETC/passwords"
    fi
    if [ ! -e "$ETC/config.yml" ]; then
        install -m 0640 -o root -g $NAME deploy/systemd/config.yml "$ETC/config.yml"
        say "an example of the configuration is in $ETC/config.yml"
    fi
}

# Makes a release beside the one in use, and sets `release` to its folder. An incomplete one is removed.
make_release() {
    install -d "$OPT"
    release=$(mktemp -d "$OPT/release.XXXXXX")
    trap 'rm -rf "$release"' EXIT
    trap 'exit 1' HUP INT TERM
    cp -R README.md CHANGELOG.md docs lib monitor.py requirements.txt "$release"
    cp deploy/systemd/$UNIT deploy/systemd/$NAME deploy/systemd/reload.sh "$release"
    find "$release/lib" -name __pycache__ -prune -exec rm -rf {} +
    "$python" -m venv "$release/venv"
    "$release/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-cache-dir \
        --only-binary :all: --require-hashes --requirement requirements.txt
    "$release/venv/bin/python" -m compileall -q "$release/monitor.py" "$release/lib"
    chmod -R a+rX,go-w "$release"
    version=$("$release/venv/bin/python" "$release/monitor.py" -version)
}

# Puts the release in a folder of its own in use, unit and all. Each step is one rename.
use() {
    ln -sfn "$(basename "$1")" "$OPT/.current"
    mv -fT "$OPT/.current" "$OPT/current"
    install -d "$UNITS"
    install -m 0644 "$1/$UNIT" "$UNITS/.$UNIT"
    mv -f "$UNITS/.$UNIT" "$UNITS/$UNIT"
    if [ -e "$1/$NAME" ]; then # an earlier release may have none
        install -d "$(dirname "$COMMAND")"
        install -m 0755 "$1/$NAME" "$COMMAND.new"
        mv -f "$COMMAND.new" "$COMMAND"
    fi
    systemctl daemon-reload
}

remove_other_releases() {
    for other in "$OPT"/release.*; do
        [ "$other" = "$1" ] || rm -rf "$other"
    done
}

install_all() {
    find_python
    make_user
    make_configuration
    before=$OPT/$(readlink "$OPT/current" || true)
    make_release
    trap - EXIT
    use "$release"
    if ! systemctl --quiet is-active $UNIT; then
        remove_other_releases "$release"
        say "$version is installed; it does not run"
        say "write $ETC/config.yml, see what it means with: $NAME -check-config"
        say "then: systemctl enable --now $NAME"
    elif systemctl restart $UNIT; then
        remove_other_releases "$release"
        say "$version is installed, and runs"
    else
        use "$before"
        remove_other_releases "$before"
        systemctl restart $UNIT || true
        fail "$version does not start (journalctl -u $NAME says why); what ran before was put back"
    fi
}

uninstall() {
    if [ -e "$UNITS/$UNIT" ]; then systemctl --quiet disable --now $UNIT; fi
    rm -rf "${UNITS:?}/$UNIT" "$OPT" "$COMMAND"
    if [ "$purge" = yes ]; then
        rm -rf "$ETC" "$STATE" "$DROP_INS"
        if getent passwd $NAME >/dev/null; then userdel $NAME; fi
        say 'removed, with configuration and history'
    else
        say "removed, except $ETC, $STATE and the user $NAME"
    fi
    systemctl daemon-reload
    systemctl reset-failed $UNIT 2>/dev/null || true
}

uninstalling=no purge=no
for argument in "$@"; do
    case $argument in
    --uninstall) uninstalling=yes ;;
    --purge) purge=yes ;;
    *) usage ;;
    esac
done
[ "$purge" = no ] || [ "$uninstalling" = yes ] || usage
[ "$(id -u)" -eq 0 ] || fail 'run this as root'
[ -d /run/systemd/system ] || fail 'this host was not booted with systemd'
if [ "$uninstalling" = yes ]; then
    uninstall
else
    CDPATH='' cd -- "$(dirname -- "$0")/../.."
    install_all
fi
