"""From the configured tables to a source: what its sensors, meters and switches are stands in profiles."""

from collections.abc import Sequence
from pathlib import Path

from poller.listening import client_id
from poller.profile import load_profile
from poller.sources.shelly.making import Profiles
from poller.sources.shelly.source import ShellySource
from poller.sources.shelly.tables import ShellySettings


def load_shelly(
    settings: Sequence[ShellySettings], *, poller: str, folder: Path | None = None
) -> tuple[ShellySource, ...]:
    """The source for the configured Shelly devices; none without any.

    Args:
        settings: The configured ones.
        poller: The poller's name, with which questions are signed.
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
    return (ShellySource(settings, profiles, signature=client_id(poller)),)
