"""The version, and the day that no true clock can be before."""

VERSION = "0.1.0"

RELEASED_MS = 1_795_392_000_000
"""2026-11-23T00:00Z: a clock or a time stamp before it is wrong."""
