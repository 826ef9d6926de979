"""Runs inside the real Home Assistant and tells the test what it sees there.

A custom integration: it sets up the MQTT integration as a person would, and
answers questions on a Unix socket, one JSON line each. It is no part of what
is tested and imports nothing of it.
"""

import asyncio
import json
from datetime import timedelta

from homeassistant.components.energy import data, validate
from homeassistant.components.recorder import get_instance
from homeassistant.components.recorder.tasks import StatisticsTask
from homeassistant.const import EVENT_HOMEASSISTANT_STARTED
from homeassistant.helpers import device_registry, entity_registry
from homeassistant.util import dt

DOMAIN = "heating_probe"


async def async_setup(hass, config):
    """Listen once Home Assistant has started."""
    told = config[DOMAIN]

    async def begin(_event):
        if not hass.config_entries.async_entries("mqtt"):
            form = await hass.config_entries.flow.async_init("mqtt", context={"source": "user"})
            entered = {"broker": told["host"], "port": told["port"]}
            if "other_settings" in form["data_schema"].schema:
                entered["other_settings"] = {"set_client_cert": False, "set_ca_cert": "off"}
            result = await hass.config_entries.flow.async_configure(form["flow_id"], entered)
            if result["type"] != "create_entry":
                raise RuntimeError(f"MQTT could not be set up: {result}")
        await asyncio.start_unix_server(lambda *ends: answer(hass, *ends), path=told["socket"])

    hass.bus.async_listen_once(EVENT_HOMEASSISTANT_STARTED, begin)
    return True


async def answer(hass, reader, writer):
    """Answer each line with one."""
    while line := await reader.readline():
        question, *arguments = json.loads(line)
        try:
            found = await QUESTIONS[question](hass, *arguments)
        except Exception as error:  # noqa: BLE001  # the test is to see it, whatever it is
            found = {"error": repr(error)}
        writer.write(json.dumps(found, default=str).encode() + b"\n")
        await writer.drain()
    writer.close()


async def entities(hass):
    """All entities of MQTT as registered, with their state as it is now."""
    devices = device_registry.async_get(hass).devices
    found = {}
    for one in entity_registry.async_get(hass).entities.values():
        if one.platform == "mqtt":
            state = hass.states.get(one.entity_id)
            device = devices.get(one.device_id)
            found[one.unique_id] = {
                "entity_id": one.entity_id,
                "name": one.original_name,
                "disabled": one.disabled_by is not None,
                "category": one.entity_category,
                "device": None if device is None else min(key for _, key in device.identifiers),
                "state": None if state is None else state.state,
                "attributes": {} if state is None else dict(state.attributes),
                "precision": (one.options or {}).get("sensor", {}).get("suggested_display_precision"),
            }
    return found


async def devices(hass):
    """All devices of MQTT."""
    registry = device_registry.async_get(hass)
    found = {}
    for one in registry.devices.values():
        for domain, key in one.identifiers:
            if domain == "mqtt":
                via = registry.devices.get(one.via_device_id)
                found[key] = {
                    "name": one.name,
                    "manufacturer": one.manufacturer,
                    "model": one.model,
                    "version": one.sw_version,
                    "via": None if via is None else next(key for _, key in via.identifiers),
                }
    return found


async def enable(hass, unique_ids):
    """Switch entities on that are off at first."""
    registry = entity_registry.async_get(hass)
    for one in list(registry.entities.values()):
        if one.unique_id in unique_ids:
            registry.async_update_entity(one.entity_id, disabled_by=None)
    return True


async def reload(hass):
    """Set the MQTT integration up anew, as Home Assistant does after an entity was switched on."""
    for entry in hass.config_entries.async_entries("mqtt"):
        await hass.config_entries.async_reload(entry.entry_id)
    return True


async def validate_energy(hass, entity_id):
    """What the Energy dashboard says of it as a meter of the grid and as a device."""
    manager = await data.async_get_manager(hass)
    # The keys of both releases: the older one nests what is drawn from the grid.
    grid = {
        "type": "grid",
        "cost_adjustment_day": 0.0,
        "flow_from": [
            {
                "stat_energy_from": entity_id,
                "stat_cost": None,
                "entity_energy_price": None,
                "number_energy_price": None,
            }
        ],
        "flow_to": [],
        "stat_energy_from": entity_id,
        "stat_energy_to": None,
        "stat_cost": None,
        "entity_energy_price": None,
        "number_energy_price": None,
        "stat_compensation": None,
        "entity_energy_price_export": None,
        "number_energy_price_export": None,
    }
    await manager.async_update(
        {"energy_sources": [grid], "device_consumption": [{"stat_consumption": entity_id}]}
    )
    return (await validate.async_validate(hass)).as_dict()


async def compile_statistics(hass, later):
    """Have the recorder make statistics now instead of at the next five minutes; of each five minutes it does so once."""
    instance = get_instance(hass)
    await instance.async_block_till_done()
    now = dt.utcnow()
    start = now.replace(minute=now.minute - now.minute % 5, second=0, microsecond=0)
    start += timedelta(minutes=5 * later)
    instance.queue_task(StatisticsTask(start, fire_events=False))
    await instance.async_block_till_done()
    return True


QUESTIONS = {
    one.__name__: one for one in (entities, devices, enable, reload, validate_energy, compile_statistics)
}
