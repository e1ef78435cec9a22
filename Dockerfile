# Dependencies are installed before the source, so a change of code does not install them again.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/halley
WORKDIR /src
# Whoever runs an image cannot add packages to it, so it carries the clients of all brokers: 36 MB that are read only
# when HALLEY_SINKS names one.
COPY .requirements/sinks.txt .requirements/sinks.txt
RUN /opt/halley/bin/pip install --require-hashes -r .requirements/sinks.txt
COPY pyproject.toml README.md ./
COPY service service
COPY nodes nodes
RUN /opt/halley/bin/pip install --no-deps --no-build-isolation . \
    && /opt/halley/bin/python -m compileall -q /opt/halley/lib \
    && /opt/halley/bin/halley nodes lint

FROM python:3.13-slim
RUN useradd --system --uid 2061 --home-dir /data halley && mkdir /data && chown halley /data
COPY --from=build /opt/halley /opt/halley
ENV PATH=/opt/halley/bin:$PATH PYTHONUNBUFFERED=1 \
    HALLEY_HOST=0.0.0.0 HALLEY_PORT=2061 HALLEY_DATA_DIR=/data HALLEY_LOG=json
USER halley
VOLUME /data
EXPOSE 2061
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['HALLEY_PORT']}/readyz\", timeout=2)"]
ENTRYPOINT ["halley"]
CMD ["serve"]
