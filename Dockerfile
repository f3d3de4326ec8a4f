# Two stages: the first has the tools and the network, the second is the base, a virtual environment and the code.
# No `# syntax=` line: it would fetch a frontend from a registry that a bare machine does not have.
ARG BASE=trading-signal-processor/base-python:current

FROM ${BASE} AS builder
COPY requirements/uv.txt requirements/app.txt /build/
# The cache mount survives --no-cache, so a full build downloads only what is new; --rebuild takes one of its own.
ARG PACKAGE_CACHE=packages
RUN --mount=type=cache,id=trading-signal-processor-${PACKAGE_CACHE},target=/root/.cache,sharing=locked \
    --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=package_index \
    --mount=type=bind,source=images/venv.sh,target=/build/venv.sh \
    sh /build/venv.sh
COPY app /srv/app
# The modes of a checkout that compose builds from have no say. Hash-based byte code stays valid on a read-only root, where
# Python could not write it again.
RUN chmod -R u=rwX,go=rX /srv/app \
    && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /srv/app \
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
