#!/bin/sh
# A docker CLI, an engine and a registry in one, for tests of very many cycles. It knows what a cycle asks for, keeps all
# in files below $SMALL_WORLD, and takes 2 ms a command.
#
#   local.NAME    a local image: its ID, its name, its labels as JSON, how many layers of payload it has
#   remote.NAME   what the registry has under that name: digest, ID, labels, layers
#   log           "push PARENT NAME DIGEST" once the registry has it, before anybody knows; "rmi PARENT NAME"
set -u
cd "$SMALL_WORLD" || exit 1

key() { # $1 as part of a file's name
    IFS=/:@
    set -- $1
    IFS=_
    key="$*"
    unset IFS
}

random() { # 64 hexadecimal digits
    read -r first </proc/sys/kernel/random/uuid
    read -r second </proc/sys/kernel/random/uuid
    IFS=-
    set -- $first $second
    IFS=
    random="$*"
    unset IFS
}

missing() { echo "Error response from daemon: No such image: $1" >&2; }

load() { # the local image called $1, by name or ID
    key "$1"
    if [ -e "local.$key" ]; then
        { read -r id && read -r name && read -r labels && read -r layers; } 2>/dev/null <"local.$key"
        return
    fi
    for file in local.*; do
        { read -r id && read -r name && read -r labels && read -r layers; } 2>/dev/null <"$file" || continue
        [ "$id" = "$1" ] && return
    done
    return 1
}

save() { # lines of $2... into the file $1, all at once
    file=$1
    shift
    printf '%s\n' "$@" >".$$.$file" && mv ".$$.$file" "$file"
}

describe() { # $@: names
    code=0
    for wanted; do
        if load "$wanted"; then
            printf '{"Id": "%s", "RepoTags": ["%s"], "Config": {"Labels": %s}, "RootFS": {"Layers": ["sha256:%s"]}}\n' \
                "$id" "$name" "$labels" "${id#sha256:}"
        else
            missing "$wanted"
            code=1
        fi
    done
    return $code
}

build() { # the image $1 from the folder $2
    labels=
    layers=0
    while read -r line; do
        case $line in
        LABEL*)
            # Each `"name"="value"` becomes `"name": "value"`.
            for label in ${line#LABEL }; do
                labels="$labels${labels:+, }${label%%=*}: ${label#*=}"
            done
            ;;
        COPY*) layers=$((layers + 1)) ;;
        esac
    done <"$2/Dockerfile"
    random
    key "$1"
    save "local.$key" "sha256:$random" "$1" "{$labels}" "$layers"
    echo "sha256:$random"
}

push() {
    load "$1" || { missing "$1"; return 1; }
    key "$1"
    random
    save "remote.$key" "sha256:$random" "$id" "$labels" "$layers"
    echo "push $PPID $1 sha256:$random" >>log
    echo "${1##*:}: digest: sha256:$random size: 733"
}

pull() {
    key "$1"
    { read -r digest && read -r id && read -r labels && read -r layers; } 2>/dev/null <"remote.$key" || {
        echo "Error response from daemon: manifest for $1 not found: manifest unknown: manifest unknown" >&2
        return 1
    }
    save "local.$key" "$id" "$1" "$labels" "$layers"
    while [ "$layers" -gt 0 ]; do
        printf '%012x: Pull complete\n' "$layers"
        layers=$((layers - 1))
    done
    printf 'Digest: %s\nStatus: Downloaded newer image for %s\n' "$digest" "$1"
}

remove() { # $@: names or IDs
    for wanted; do
        load "$wanted" || { missing "$wanted"; return 1; }
        key "$name"
        rm -f "local.$key"
        echo "rmi $PPID $name" >>log
        printf 'Untagged: %s\nDeleted: %s\n' "$name" "$id"
    done
}

case $1 in
version) echo "28.2.2 28.2.2" ;;
--version) echo "Docker version 28.2.2, build small-world" ;;
info) echo "overlay2 []" ;;
login) echo "Login Succeeded" ;;
image) shift 4 && describe "$@" ;;
images)
    for file in local.*; do
        { read -r id; } 2>/dev/null <"$file" && echo "$id"
    done
    exit 0
    ;;
build)
    while [ "$1" != --tag ]; do shift; done
    build "$2" "$3"
    ;;
push) push "$2" ;;
pull) pull "$2" ;;
rmi) shift && remove "$@" ;;
tag | ps) exit 0 ;;
*)
    echo "unknown command: docker $1" >&2
    exit 125
    ;;
esac
