"""From the configured tables to a source: what its sensors, meters and switches are stands in profiles."""

from collections.abc import Sequence
from pathlib import Path

from poller.listening import own_topic
from poller.profile import load_profile
from poller.sources.shelly.making import Profiles
from poller.sources.shelly.source import ShellySource
from poller.sources.shelly.tables import ShellySettings
from readings.topics import Topics


def load_shelly(
    settings: Sequence[ShellySettings], *, topics: Topics, poller: str, folder: Path | None = None
) -> tuple[ShellySource, ...]:
    """The source for the configured Shelly devices; none without any.

    Args:
        settings: The configured ones.
        topics: The topic scheme.
        poller: The poller's name: their answers come below its topics.
        folder: The user's own profiles.

    Raises:
        ProfileError: A profile is wrong.
    """
    if not settings:
        return ()
    profiles = Profiles(
        bluetooth=load_profile("shelly-blu-ht", folder),
        wired=load_profile("shelly-ht", folder),
        thermostat=load_profile("thermostat", folder),
        pump=load_profile("shelly-pump", folder),
        three_phases=load_profile("shelly-em", folder),
        one_phase=load_profile("shelly-em1", folder),
    )
    return (ShellySource(settings, profiles, signature=own_topic(topics, poller, "shelly")),)
