#!/bin/sh
# Installs poller, bridge and a backup every night as services of this machine, or a newer version over an older one:
# make install-service.
#   /opt/heating              the programs and their virtual environment
#   /etc/heating/config.toml  the configuration, made from the example if it is not there
#   /etc/heating/secrets      the passwords, made if they are not there
#   /var/lib/heating          journal and store
#   /var/backups/heating      a backup every night
set -eu
umask 022    # the services' user has to read what root makes here
cd "$(dirname "$0")/.."
say() { echo "install-service: $*"; }
[ "$(id -u)" = 0 ] || { say "run it with sudo" >&2; exit 1; }
python=${PYTHON:-python3}

id heating >/dev/null 2>&1 \
    || useradd --system --user-group --home-dir /var/lib/heating --no-create-home --shell /usr/sbin/nologin heating

# --- the programs; what runs goes on until it is restarted below ---
install -d /opt/heating /etc/heating
# Anew also where the machine's Python is a newer one: it does not find what was installed for the older one.
/opt/heating/venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear /opt/heating/venv
/opt/heating/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
rm -rf /opt/heating/app.new
install -d /opt/heating/app.new
cp -R readings poller bridge simulator heating /opt/heating/app.new
/opt/heating/venv/bin/python -m compileall -q /opt/heating/app.new
chmod -R u=rwX,go=rX /opt/heating/app.new
rm -rf /opt/heating/app.old
[ ! -e /opt/heating/app ] || mv /opt/heating/app /opt/heating/app.old
mv /opt/heating/app.new /opt/heating/app
rm -rf /opt/heating/app.old
cat >/usr/local/bin/heating <<'END'
#!/bin/sh
# Where the services have their data, which their units say and no configuration file.
case "$*" in *--config?/etc/heating/config.toml*)
    export HEATING_POLLER__DATA=/var/lib/heating/poller HEATING_BRIDGE__DATA=/var/lib/heating/bridge ;;
esac
PYTHONPATH=/opt/heating/app exec /opt/heating/venv/bin/python -m heating "$@"
END
chmod 755 /usr/local/bin/heating

# --- configuration and passwords ---
if [ ! -e /etc/heating/config.toml ]; then
    install -m 640 -g heating config.example.toml /etc/heating/config.toml
    say "name your gateway in /etc/heating/config.toml, then: sudo systemctl restart heating-poller"
fi
# Only root sees all of them. Poller and bridge are one user here, who is let through to the two folders of theirs.
install -d -m 710 -g heating /etc/heating/secrets
heating password --make --folder /etc/heating/secrets >/dev/null
chmod 700 /etc/heating/secrets/mosquitto /etc/heating/secrets/grafana /etc/heating/secrets/devices
for program in poller bridge; do
    install -d -m 750 -g heating "/etc/heating/secrets/$program"
done

install -m 644 systemd/heating-*.service systemd/heating-backup.timer /etc/systemd/system/

# --- the broker: Debian's, unless somebody has set it up already or has another one ---
others=$(find /etc/mosquitto/conf.d -name '*.conf' ! -name heating.conf 2>/dev/null || true)
address=$(/opt/heating/venv/bin/python - 2>/dev/null <<'END' || true
import pathlib, tomllib
mqtt = tomllib.loads(pathlib.Path("/etc/heating/config.toml").read_text("utf-8")).get("mqtt", {})
print(f"{mqtt.get('host', 'localhost')}:{mqtt.get('port', 1883)}")
END
)
whose=theirs
if [ -z "$address" ]; then
    whose=unknown
    say "/etc/heating/config.toml cannot be read, so the broker's settings stay as they are: heating check says why"
elif ! command -v mosquitto >/dev/null; then
    say "mosquitto is not installed here: [mqtt] in /etc/heating/config.toml says where the broker is"
elif ! echo "$address" | grep -qxE '(localhost|127\.0\.0\.1|::1):1883'; then
    say "the broker is $address, as [mqtt] in /etc/heating/config.toml says; this machine's mosquitto stays as it is"
elif [ -n "$others" ] && [ ! -e /etc/mosquitto/conf.d/heating.conf ]; then
    say "mosquitto has settings already ($others): [mqtt] in /etc/heating/config.toml says how to connect"
else
    whose=ours
    install -m 400 -o mosquitto /etc/heating/secrets/mosquitto/passwords /etc/mosquitto/heating.passwords
    install -m 400 -o mosquitto mosquitto/acl /etc/mosquitto/heating.acl
    install -m 644 systemd/mosquitto.conf /etc/mosquitto/conf.d/heating.conf
fi
for program in poller bridge; do
    settings=/etc/systemd/system/heating-$program.service.d
    if [ $whose = ours ]; then
        install -d "$settings"
        sed "s/PROGRAM/$program/g" systemd/broker.conf >"$settings/broker.conf"
    elif [ $whose = theirs ]; then
        rm -f "$settings/broker.conf"
    fi
done

# --- the backup: what there is on this machine, written down where a person can change it ---
install -d -m 700 /var/backups/heating
# An empty folder is taken for one whose disk is not mounted.
install -m 644 backups/README /var/backups/heating/README
if ! grep -q '^\[backup\]' /etc/heating/config.toml; then
    {
        printf '\n# Every night, by heating-backup.timer (docs/backup.md).\n[backup]\n'
        echo 'folder = "/var/backups/heating"'
        echo 'secrets = "/etc/heating/secrets/all"'
        [ ! -e /etc/mosquitto/conf.d/heating.conf ] || echo 'mosquitto = "/var/lib/mosquitto/mosquitto.db"'
        ! grep -qs web.enable-admin-api /etc/default/prometheus \
            || echo 'prometheus_data = "/var/lib/prometheus/metrics2"'
    } >>/etc/heating/config.toml
    say "a backup goes to /var/backups/heating every night, as [backup] in /etc/heating/config.toml says"
fi
if command -v prometheus >/dev/null && ! grep -q '^prometheus_data' /etc/heating/config.toml; then
    say "Prometheus is not in the backups: docs/backup.md says what it needs"
fi

if [ ! -d /run/systemd/system ]; then
    say "systemd does not run here: everything is installed, nothing is started"
    exit 0
fi
systemctl daemon-reload
[ $whose != ours ] || systemctl restart mosquitto
systemctl enable --quiet heating-poller heating-bridge
systemctl enable --quiet --now heating-backup.timer
# The poller alone first, so that a heat pump is without it for seconds.
systemctl restart heating-poller
systemctl restart heating-bridge
systemctl --no-pager --lines 0 status heating-poller heating-bridge
