"""The commands, one module each: `add` says what a command takes, and names the function that does it."""

import argparse
import math
from pathlib import Path
from typing import Protocol


class Commands(Protocol):
    """What a command adds itself to; argparse's own."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:  # noqa: A002  # argparse's own word
        """A parser for the words after the command's name."""


def add_config(parser: argparse.ArgumentParser) -> None:
    """The configuration file, which most commands read."""
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("config.toml"),
        metavar="FILE",
        help="the configuration file, config.toml unless given",
    )


def port(text: str) -> int:
    """A port of TCP.

    >>> port("9100")
    9100
    """
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"expected 1-65535, got {text!r}")
    return int(text)


def positive(text: str) -> float:
    """A finite number above 0.

    >>> positive("2.5")
    2.5
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number
