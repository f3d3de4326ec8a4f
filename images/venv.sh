#!/bin/sh
# Runs in the image's first stage: /opt/venv from the hashed lock, by the hashed uv, with byte code.
# Secrets that may be mounted: the host's CA bundle (behind an inspecting proxy) and its package index (may hold a
# password). Neither reaches a layer.
set -eu
if [ -s /run/secrets/ca_bundle ]; then
    export SSL_CERT_FILE=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle
fi
if [ -s /run/secrets/package_index ]; then
    PIP_INDEX_URL=$(cat /run/secrets/package_index)
    export PIP_INDEX_URL UV_DEFAULT_INDEX="$PIP_INDEX_URL"
fi
# A hundred wheels over a slow or inspected line: fewer at a time, and more patience with each.
export UV_CONCURRENT_DOWNLOADS=12 UV_HTTP_RETRIES=8
python3 -m venv /build/uv
/build/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r /build/uv.txt
/build/uv/bin/uv venv --quiet --python "$(command -v python3)" /opt/venv
/build/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --require-hashes --compile-bytecode \
    --link-mode copy -r /build/app.txt
