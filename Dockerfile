# The monitor and the docker CLI that it drives; the daemon is the host's, reached through its socket.
#
#   docker build -t registry-monitor .
#
# Debian 13, since its docker-cli (31 MB) comes without the daemon; Debian 12 has them in one package (148 MB). buildx
# (66 MB) is for engines without the classic builder. The Python is Debian's too, and shares the base's libraries.
# Compiled modules are kept (11 MB): without them each start in a read-only container takes more than twice as long.

FROM debian:trixie-slim AS runtime
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates docker-buildx docker-cli python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log

# pip stays behind in this stage. Each package must be the very file whose hash is pinned, and none is built from source.
FROM runtime AS build
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip
WORKDIR /opt/registry-monitor
COPY requirements.txt ./
RUN python3 -m venv --without-pip venv \
    && python3 -m pip --python venv/bin/python install \
        --no-cache-dir --no-compile --only-binary :all: --require-hashes --requirement requirements.txt
COPY monitor.py deploy/docker/healthy.py ./
COPY lib lib/
# Checked against no source: neither the time that a file was copied at nor a missing source makes one invalid.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash .

FROM runtime
# Whoever builds it knows where it comes from: --build-arg SOURCE=https://… --build-arg REVISION=$(git rev-parse HEAD)
ARG SOURCE=""
ARG REVISION=""
LABEL org.opencontainers.image.title="registry-monitor" \
      org.opencontainers.image.description="Does what a registry's users do, through the docker CLI, and says how it went" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.documentation="${SOURCE:+$SOURCE#readme}" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /opt/registry-monitor /opt/registry-monitor
EXPOSE 8000
STOPSIGNAL SIGTERM
# By root, whom every host's docker socket lets in; README.md says how to run it as another user.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["/opt/registry-monitor/venv/bin/python", "/opt/registry-monitor/healthy.py"]
# tini reaps what a killed docker leaves behind, and passes signals on.
ENTRYPOINT ["tini", "--", "/opt/registry-monitor/venv/bin/python", "/opt/registry-monitor/monitor.py"]
