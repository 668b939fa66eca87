#!/bin/sh
# Installs what the lab needs and is missing, and prepares the project's own Python environment, .venv.
#
#   sh lab/setup.sh [--tests] [requirements.txt ...]
#
# With --tests, also what the tests alone need: a browser, Prometheus, systemd to boot, another engine.
# On Debian and Ubuntu, as root, programs are installed by apt-get; elsewhere it says what to install, and exits with 1.
# No service of the system is started or, later, left to start by itself. Can be run twice, and side by side.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
SUITABLE='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'
POLICY=/usr/sbin/policy-rc.d

say() {
    printf 'setup: %s\n' "$*" >&2
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Sets `python` to the first suitable one, 3.11 or later, with venv and pip; to nothing if there is none.
find_python() {
    for python in python3 /usr/bin/python3 python3.13 python3.12 python3.11 ''; do
        if [ -z "$python" ] || "$python" -c "$SUITABLE" >/dev/null 2>&1; then return; fi
    done
}

# Prints the Debian packages of the programs that are missing.
missing_packages() {
    has dockerd || echo docker.io
    # Debian 13 has the client in a package of its own; before, and in Ubuntu, it is a part of docker.io.
    if ! has docker && apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; fi
    has docker-registry || echo docker-registry
    has htpasswd || echo apache2-utils
    has iptables || echo iptables
    has ip || echo iproute2
    [ -n "$python" ] || echo python3-venv
    [ "$for" = tests ] || return 0
    has openssl || echo openssl
    has mmdebstrap || echo mmdebstrap
    has systemd-nspawn || echo systemd-container
    has prometheus && has promtool || echo prometheus
    { has prometheus-alertmanager && has amtool; } || echo prometheus-alertmanager
    has prometheus-node-exporter || echo prometheus-node-exporter
    has chromium || echo chromium
    has chromedriver || echo chromium-driver
    has podman || echo podman
    has newuidmap || echo uidmap
    has ssh || echo openssh-client
}

# Prints what is missing, in words that hold on every system.
missing_programs() {
    has dockerd || echo 'dockerd (Docker Engine 20.10 or later)'
    has docker || echo 'docker (its command line)'
    has docker-registry || echo 'docker-registry (the registry of the CNCF distribution project, version 2, under this name)'
    has htpasswd || echo 'htpasswd (of the Apache HTTP server)'
    has iptables || echo 'iptables'
    has ip || echo 'ip (iproute2)'
    has flock || echo 'flock (util-linux)'
    [ -n "$python" ] || echo 'python3 (3.11 or later, with venv and pip)'
    [ "$for" = tests ] || return 0
    has openssl || echo 'openssl (3 or later)'
    has mmdebstrap || echo mmdebstrap
    has systemd-nspawn || echo 'systemd-nspawn (systemd-container)'
    has prometheus || echo prometheus
    has promtool || echo 'promtool (of Prometheus)'
    has prometheus-alertmanager || echo 'prometheus-alertmanager (Alertmanager, under the name that Debian gives it)'
    has amtool || echo 'amtool (of Alertmanager)'
    has prometheus-node-exporter || echo 'prometheus-node-exporter (node_exporter, under the name that Debian gives it)'
    has chromium || echo chromium
    has chromedriver || echo 'chromedriver (of chromium)'
    has podman || echo podman
    has newuidmap || echo 'newuidmap (uidmap)'
    has ssh || echo 'ssh (openssh-client)'
}

# While packages are installed, a policy forbids them to start services. One that is there already is left alone. Ours
# forbids nothing once this script is gone, should it be killed before it could take the policy away.
forbid_services() {
    allow_services
    trap allow_services EXIT
    trap 'exit 1' HUP INT TERM
    policy="#!/bin/sh
# registry-monitor lab
if kill -0 $$ 2>/dev/null; then exit 101; fi"
    if (set -C && echo "$policy" >"$POLICY") 2>/dev/null; then chmod 755 "$POLICY"; fi
}

allow_services() {
    if grep -qs 'registry-monitor lab' "$POLICY"; then rm -f "$POLICY"; fi
    trap - EXIT HUP INT TERM
}

# Services that came with the packages: the lab starts its own, and these are not to be found running after the next boot.
keep_from_starting() {
    if has systemctl; then systemctl --quiet disable "$@" 2>/dev/null || say "could not disable $*"; fi
}

# Runs a command of apt's, which is silent unless it fails.
apt() {
    output=$(DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -y -o DPkg::Lock::Timeout=300 "$@" 2>&1) || {
        printf '%s\n' "$output" >&2
        return 1
    }
}

install_packages() {
    exec 9</var/lib/dpkg
    flock 9
    find_python
    if [ -n "$(missing_programs)" ]; then
        # Some other source of this machine may be out of reach; whether ours are, the installation shows.
        apt update || say 'apt-get update had trouble; going on'
        packages=$(echo $(missing_packages))
        say "installing $packages"
        forbid_services
        # shellcheck disable=SC2086 # one word a package
        apt install --no-install-recommends $packages
        allow_services
        for package in $packages; do
            case $package in
            docker.io) keep_from_starting docker.socket docker.service ;;
            docker-registry) keep_from_starting docker-registry.service ;;
            prometheus) keep_from_starting prometheus.service prometheus-node-exporter.service ;;
            prometheus-node-exporter) keep_from_starting prometheus-node-exporter.service ;;
            prometheus-alertmanager) keep_from_starting prometheus-alertmanager.service ;;
            podman) keep_from_starting podman.socket podman.service podman-auto-update.timer podman-restart.service ;;
            esac
        done
        find_python
    fi
    exec 9<&-
}

prepare_python() {
    exec 9<lab/setup.sh
    flock 9
    # Made again if it is missing, was left half made, or its Python is gone.
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        say "making .venv with $("$python" --version)"
        "$python" -m venv --clear .venv
    fi
    for requirements in "$@"; do
        # The copy in .venv says what was installed.
        if ! cmp -s "$requirements" ".venv/$requirements"; then
            say "installing $requirements"
            .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$requirements"
            cp -- "$requirements" ".venv/$requirements"
        fi
    done
    exec 9<&-
}

for=lab
if [ "${1-}" = --tests ]; then
    for=tests
    shift
fi
find_python
if [ -n "$(missing_programs)" ] && has apt-get && [ "$(id -u)" -eq 0 ]; then
    # Meanwhile, with the Python that is there. If that fails, it is tried, and fails, again below.
    if [ -n "$python" ]; then prepare_python "$@" & fi
    install_packages
    wait
fi
missing=$(missing_programs)
if [ -n "$missing" ]; then
    say 'these programs are missing:'
    printf '%s\n' "$missing" | sed 's/^/    /' >&2
    if has apt-get; then
        say "install them, or run this as root:"
        say "    apt-get install --no-install-recommends $(echo $(missing_packages))"
    else
        say 'install them, and run this again'
    fi
    exit 1
fi
prepare_python "$@"
