"""`heating check`: what the configuration says, before anything starts."""

import argparse
import json
import os
import sys

from bridge.config import BridgeSettings
from bridge.config import read_config as read_bridge_config
from heating.backup.settings import read_file
from heating.bus import add_json
from heating.commands import Commands, add_config
from heating.mistakes import find_mistakes
from heating.report.settings import read_table
from poller.config import PollerSettings
from poller.config import read_config as read_poller_config
from poller.sources.shelly.loading import load_shelly
from readings.topics import Leaf, Topics

WRONG_CONFIGURATION = 2


def add(commands: Commands) -> None:
    """What `heating check` takes."""
    check = commands.add_parser("check", help="every mistake of the configuration, or what would happen")
    add_json(check)
    add_config(check)
    check.set_defaults(do=_check)


def _check(options: argparse.Namespace) -> int:
    """Read the configuration as both programs, the report and the backup do, and say what the programs would do with it."""
    mistakes = tuple(
        dict.fromkeys(
            mistake
            for read in (read_poller_config, read_bridge_config, read_table, read_file)
            for mistake in find_mistakes(options.config, os.environ, read)
        )
    )
    if options.json:
        print(_as_json(options, mistakes))
    elif mistakes:
        print("\n".join(mistakes), file=sys.stderr)
    else:
        settings = read_poller_config(options.config, os.environ)
        _tell(options, settings, read_bridge_config(options.config, os.environ))
    return WRONG_CONFIGURATION if mistakes else 0


def _tell(options: argparse.Namespace, settings: PollerSettings, bridge: BridgeSettings) -> None:
    print(f"{options.config}: good")
    print(f"  MQTT {settings.mqtt.host}:{settings.mqtt.port}, below {settings.mqtt.root}/")
    for device in settings.devices:
        print(
            f"  {settings.mqtt.root}/{device.key}  {device.title}: {len(device.fields)} fields every "
            f"{device.interval_s:g} s, unit {device.unit} on bus {device.bus}, profile {device.profile.name}"
        )
    for source in load_shelly(settings.shelly, poller=settings.name, folder=settings.profiles):
        for device in source.devices:
            print(
                f"  {settings.mqtt.root}/{device.key}  {device.title}: from a Shelly, profile {device.profile.name}"
            )
    for shelly in settings.shelly:
        more = ", and what it knows besides" if shelly.unnamed else ""
        print(f"  Shelly {shelly.prefix}: {len(shelly.sensors)} named sensors{more}")
    for one in settings.imports:
        kinds = ", ".join(profile.kind for profile in one.profiles if profile.kind not in one.refused)
        print(f"  {one.url}: read every {one.interval_s:g} s for {kinds}")
    for rule in settings.rules:
        topics = ", ".join(dict.fromkeys(one.topic.text for one in rule.fields.values()))
        print(f"  rule {rule.name}: {topics} -> {settings.mqtt.root}/{rule.profile.kind}/...")
    for bus in settings.buses:
        if bus.proxy:
            print(f"  Modbus proxy for bus {bus.name} on {bus.proxy}")
            for allowed in bus.proxy.rules:
                print(f"    may write: {allowed}")
            if not bus.proxy.rules:
                print("    nobody may write")
    told = (
        f"told below {settings.homeassistant.prefix}/" if settings.homeassistant.discovery else "told nothing"
    )
    print(f"  Home Assistant is {told}")
    print(f"  Page and /metrics on {bridge.listen[0]}:{bridge.listen[1]}")
    if bridge.receiver is None:
        print("  Readings are sent nowhere: there is no [[remote_write]]")
    else:
        print(f"  Readings are sent to {bridge.receiver.shown}")


def _as_json(options: argparse.Namespace, mistakes: tuple[str, ...]) -> str:
    found: dict[str, object] = {"file": str(options.config), "is_good": not mistakes, "mistakes": mistakes}
    if not mistakes:
        settings = read_poller_config(options.config, os.environ)
        topics = Topics(settings.mqtt.root)
        shelly = load_shelly(settings.shelly, poller=settings.name, folder=settings.profiles)
        devices = [*settings.devices, *(device for source in shelly for device in source.devices)]
        found["devices"] = [
            {
                "device": str(device.key),
                "title": device.title,
                "profile": device.profile.name,
                "bus": device.bus,
                "unit": device.unit,
                "interval_s": device.interval_s,
                "state_topic": topics.device(device.key, Leaf.STATE),
                "fields": list(device.fields),
                "metric_prefixes": device.prefixes,
            }
            for device in devices
        ]
    return json.dumps(found)
