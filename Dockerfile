# poller as a container.  Build:   docker build -t poller .
# Run:   docker run --read-only -v ./config:/etc/poller:ro -v poller:/var/lib/poller poller
#
# The config is /etc/poller/poller.yaml, and it keeps its state in the one place that is writable:
# `state: sqlite:/var/lib/poller/poller.db`.  Nothing else is written, so the root file system may be
# read-only; nothing needs root, so all capabilities may be dropped.

# Any Debian with Python 3.11 or later and its venv.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
RUN apt-get update && apt-get install --yes --no-install-recommends tini
RUN python3 -m venv /build/tools && python3 -m venv --without-pip /opt/poller
COPY deploy/image/build.lock deploy/image/requirements.lock /build/
# The secret `pip` may hold a pip.conf for a registry of your own.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /build/tools/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
        -r /build/build.lock \
    && /build/tools/bin/pip --python /opt/poller/bin/python install --no-cache-dir \
        --require-hashes --only-binary :all: -r /build/requirements.lock
COPY pyproject.toml README.md LICENSE /build/source/
COPY poller /build/source/poller
RUN /build/tools/bin/pip wheel --no-index --no-deps --no-build-isolation \
        --wheel-dir /build/wheel /build/source \
    && /build/tools/bin/pip --python /opt/poller/bin/python install --no-index --no-deps \
        /build/wheel/*.whl
COPY --chmod=0644 deploy/image/healthy.py /opt/poller/

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="poller" \
      org.opencontainers.image.description="AWS Lambda's event source mapping as a process" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# The base may bring what installs packages and what gives rights; nothing here needs them.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3.*/ensurepip \
        /usr/local/lib/python3.*/site-packages/pip* /usr/lib/python3.*/ensurepip \
        /usr/share/python-wheels \
    && find / -xdev -type f -perm /6000 -exec chmod ug-s {} + \
    && install --directory --owner=10001 --group=0 --mode=0770 /var/lib/poller \
    && install --directory /etc/poller
# PID 1 passes signals on and reaps what the children of a function leave behind.
COPY --from=build /usr/bin/tini-static /usr/bin/tini-static
COPY --from=build /opt/poller /opt/poller
# POLLER_LISTEN: where the health check asks.  A config with `listen: ${POLLER_LISTEN}` follows it.
ENV PATH=/opt/poller/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/poller \
    POLLER_LISTEN=127.0.0.1:9310
WORKDIR /etc/poller
VOLUME /var/lib/poller
EXPOSE 9310
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=6s --start-period=30s --retries=3 \
    CMD ["/opt/poller/bin/python", "-ISB", "/opt/poller/healthy.py"]
ENTRYPOINT ["/usr/bin/tini-static", "-s", "--", "/opt/poller/bin/poller"]
CMD ["run", "/etc/poller/poller.yaml"]
