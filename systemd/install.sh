#!/bin/sh
# Installs poller and bridge as services of this machine, or a newer version over an older one: make install-service.
#   /opt/heating              the programs and their virtual environment
#   /etc/heating/config.toml  the configuration, made from the example if it is not there
#   /etc/heating/secrets      the passwords, made if they are not there
#   /var/lib/heating          journal and store
set -eu
cd "$(dirname "$0")/.."
say() { echo "install-service: $*"; }
[ "$(id -u)" = 0 ] || { say "run it with sudo" >&2; exit 1; }
python=${PYTHON:-python3}

id heating >/dev/null 2>&1 \
    || useradd --system --user-group --home-dir /var/lib/heating --no-create-home --shell /usr/sbin/nologin heating

# --- the programs; what runs goes on until it is restarted below ---
install -d /opt/heating /etc/heating
[ -x /opt/heating/venv/bin/python ] || "$python" -m venv /opt/heating/venv
/opt/heating/venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
rm -rf /opt/heating/app.new
install -d /opt/heating/app.new
cp -R readings poller bridge simulator heating /opt/heating/app.new
/opt/heating/venv/bin/python -m compileall -q /opt/heating/app.new
chmod -R u=rwX,go=rX /opt/heating/app.new
rm -rf /opt/heating/app.old
[ ! -e /opt/heating/app ] || mv /opt/heating/app /opt/heating/app.old
mv /opt/heating/app.new /opt/heating/app
rm -rf /opt/heating/app.old
printf '#!/bin/sh\nPYTHONPATH=/opt/heating/app exec /opt/heating/venv/bin/python -m heating "$@"\n' >/usr/local/bin/heating
chmod 755 /usr/local/bin/heating

# --- configuration and passwords ---
if [ ! -e /etc/heating/config.toml ]; then
    install -m 640 -g heating config.example.toml /etc/heating/config.toml
    say "name your gateway in /etc/heating/config.toml, then: sudo systemctl restart heating-poller"
fi
# Only root sees all of them; the two programs are let through to their own.
install -d -m 710 -g heating /etc/heating/secrets
heating password --make --folder /etc/heating/secrets >/dev/null
chmod 700 /etc/heating/secrets/mosquitto /etc/heating/secrets/grafana /etc/heating/secrets/devices
for program in poller bridge; do
    install -d -m 750 -g heating "/etc/heating/secrets/$program"
done

install -m 644 systemd/heating-poller.service systemd/heating-bridge.service /etc/systemd/system/

# --- the broker: Debian's, unless somebody has set it up already ---
others=$(find /etc/mosquitto/conf.d -name '*.conf' ! -name heating.conf 2>/dev/null || true)
if ! command -v mosquitto >/dev/null; then
    say "mosquitto is not installed here: [mqtt] in /etc/heating/config.toml says where the broker is"
elif [ -n "$others" ]; then
    say "mosquitto has settings already ($others): [mqtt] in /etc/heating/config.toml says how to connect"
else
    install -m 400 -o mosquitto /etc/heating/secrets/mosquitto/passwords /etc/mosquitto/heating.passwords
    install -m 400 -o mosquitto mosquitto/acl /etc/mosquitto/heating.acl
    install -m 644 systemd/mosquitto.conf /etc/mosquitto/conf.d/heating.conf
    for program in poller bridge; do
        install -d "/etc/systemd/system/heating-$program.service.d"
        sed "s/PROGRAM/$program/g" systemd/broker.conf >"/etc/systemd/system/heating-$program.service.d/broker.conf"
    done
fi

if [ ! -d /run/systemd/system ]; then
    say "systemd does not run here: everything is installed, nothing is started"
    exit 0
fi
systemctl daemon-reload
[ ! -e /etc/mosquitto/conf.d/heating.conf ] || systemctl restart mosquitto
systemctl enable --quiet heating-poller heating-bridge
# The poller alone first, so that a heat pump is without it for seconds.
systemctl restart heating-poller
systemctl restart heating-bridge
systemctl --no-pager --lines 0 status heating-poller heating-bridge
