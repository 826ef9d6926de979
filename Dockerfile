# One image for poller, bridge, backup and the simulated house; compose.yaml says which of them runs.
FROM python:3.13-slim AS build
# Every dependency has a wheel for amd64 and arm64. On 32-bit ARM msgspec has none and is compiled, here only.
RUN case "$(uname -m)" in \
        x86_64|aarch64) ;; \
        *) apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/* ;; \
    esac
# Without a pip of its own, which would be half of it.
RUN python -m venv --without-pip /opt/heating
COPY requirements.lock .
# The command is for `docker compose run --rm poller heating scan ...`, as the pages have it.
RUN pip --python /opt/heating/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes \
        -r requirements.lock \
    && printf '#!/bin/sh\nexec python -m heating "$@"\n' > /opt/heating/bin/heating \
    && chmod 755 /opt/heating/bin/heating

FROM python:3.13-slim
# Numbers, so that an engine that demands non-root can see it. An empty volume takes over the owner of the folder
# that it is mounted on.
RUN groupadd --system --gid 10001 heating \
    && useradd --system --uid 10001 --gid 10001 --no-create-home heating \
    && install -d -o heating -g heating /data /secrets /secrets/mosquitto /secrets/poller /secrets/bridge /secrets/grafana \
        /secrets/devices \
    && install -d -o heating -g heating -m 700 /secrets/all \
    # What the backup mounts, and after a restore is the first to mount, belongs to whom the other images have it.
    && install -d -o heating -g heating /volumes/poller /volumes/bridge \
    && install -d -o heating -g heating -m 700 /volumes/secrets \
    && install -d -o 1883 -g 1883 /volumes/mosquitto \
    && install -d -o 65534 -g 65534 /volumes/prometheus \
    && install -d -o 472 -g 0 /volumes/grafana
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
USER 10001:10001
# Where the commands look for config.toml.
WORKDIR /etc/heating
