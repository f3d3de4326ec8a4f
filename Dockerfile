# Two stages: the first has the tools and the network, the second is the base, a virtual environment and the code.
# No `# syntax=` line: it would fetch a frontend from a registry that a bare machine does not have.
ARG BASE=trading-signal-processor/base-python:current

FROM ${BASE} AS builder
COPY requirements/uv.txt requirements/app.txt /build/
# Secrets: the host's CA bundle (an inspecting proxy) and its package index (may hold a password) reach no layer.
# The cache mount survives --no-cache, so a full build downloads only what is new.
RUN --mount=type=cache,target=/root/.cache,sharing=locked \
    --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=package_index <<'SHELL'
set -eu
if [ -s /run/secrets/ca_bundle ]; then
    export SSL_CERT_FILE=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle
fi
if [ -s /run/secrets/package_index ]; then
    PIP_INDEX_URL=$(cat /run/secrets/package_index)
    export PIP_INDEX_URL UV_DEFAULT_INDEX="$PIP_INDEX_URL"
fi
python3 -m venv /build/uv
/build/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r /build/uv.txt
/build/uv/bin/uv venv --quiet --python "$(command -v python3)" /opt/venv
/build/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --require-hashes --compile-bytecode \
    --link-mode copy -r /build/app.txt
SHELL
COPY app /srv/app
# Hash-based byte code stays valid on a read-only root, where Python could not write it again.
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /srv/app \
    && mkdir -p /srv/config /srv/data /srv/logs

FROM ${BASE}
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /srv /srv
WORKDIR /srv
EXPOSE 80 8008
CMD ["python", "-m", "app", "serve"]
# Last, so that a new version of unchanged code costs no layer but this one.
ARG APP_VERSION=unknown
ENV APP_VERSION=${APP_VERSION}
