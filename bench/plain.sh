#!/bin/sh
# One cycle as a plain script: the docker commands of a steady cycle of the monitor, in their order, and nothing that
# measures, judges or cleans up after a failure. tests/bench/test_bench.py compares the two.
#
#   sh bench/plain.sh IMAGE BYTES LAYERS FOLDER
#
# IMAGE is built, pushed and pulled, with BYTES of payload in LAYERS. FOLDER is the script's own, and is made if
# missing. It prints IMAGE when it is done, and fails if docker does.
set -eu
image=$1 bytes=$2 layers=$3 folder=$4
context=$folder/context
export DOCKER_BUILDKIT=0 DOCKER_CLI_HINTS=false BUILDKIT_PROGRESS=plain DOCKER_CONFIG="$folder"
exec 3>&1 >/dev/null

mkdir -p "$context"
echo '{"auths": {"registry.invalid": {}}}' >"$folder/config.json"

# Neither is there, which docker calls an error.
docker image inspect --format '{{json .}}' "$image" registry-monitor-held/plain:held 2>/dev/null || true
# In the very first cycle there is nothing to pull.
if docker pull "$image" 2>/dev/null; then
    docker rmi "$image"
fi

{
    echo 'FROM scratch'
    echo 'LABEL "plain.target"="plain" "plain.instance"="none" "plain.token"="none" "plain.created"="today"'
    layer=0
    while [ "$layer" -lt "$layers" ]; do
        head -c $((bytes / layers)) /dev/urandom >"$context/payload-$layer"
        echo "COPY payload-$layer /registry-monitor/plain/plain/payload-$layer"
        layer=$((layer + 1))
    done
} >"$context/Dockerfile"
docker build --quiet --no-cache --force-rm --network none --tag "$image" "$context"
docker push "$image"
docker rmi "$image"
docker pull "$image"
docker rmi "$image"

rm -r "$context"
echo "$image" >&3
