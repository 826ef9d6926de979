# One image for poller, bridge and the simulated house; compose.yaml says which of them runs.
FROM python:3.13-slim AS build
RUN python -m venv /opt/heating
COPY requirements.lock .
RUN /opt/heating/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock

FROM python:3.13-slim
# A number, so that an engine that demands non-root can see it. An empty volume on /data takes over its owner.
RUN useradd --system --uid 10001 --no-create-home heating \
    && install -d -o heating -g heating /data
COPY --from=build /opt/heating /opt/heating
WORKDIR /app
COPY readings readings
COPY poller poller
COPY bridge bridge
COPY simulator simulator
COPY heating heating
# Compiled here, because nothing can be written where it runs; readable whatever the clone's umask was.
RUN /opt/heating/bin/python -m compileall -q /app && chmod -R a+rX /app
ENV PATH=/opt/heating/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
