"""The pipeline: are my data complete, and if not, where they are."""

from typing import Any

from grafana.source.board import board
from grafana.source.panels import BLUE, ORANGE, SKY, VERMILION, Query, lines, number

YES = {0: ("no", "red"), 1: ("yes", "green")}


def pipeline() -> dict[str, Any]:
    """From the devices to the database, in the order in which the readings go."""
    panels = [
        number("Are my data complete?", "Every reading that is known of is in this database.", (0, 0, 6, 4),
               Query("min(bridge_data_complete)", "Complete"), unit="short", words=YES, filled=True),
        number("Devices that answer", "Of all devices of all pollers.", (6, 0, 6, 4),
               Query("sum(poller_device_up) / count(poller_device_up)", "Up"), unit="percentunit", decimals=0,
               steps=((None, "red"), (1, "green")), filled=True),
        number("Is the clock trusted?", "While it is not, readings wait for their time.", (12, 0, 4, 4),
               Query("min(poller_clock_trusted)", "Clock"), unit="short", words=YES),
        number("Oldest waiting", "The oldest reading in the bridge's store that is not sent yet.", (16, 0, 4, 4),
               Query("max(bridge_oldest_waiting_seconds)", "Waits"), unit="s", decimals=0,
               steps=((None, "green"), (300, "yellow"), (3600, "red"))),
        number("In quarantine", "Samples that the database refused: heating quarantine list.", (20, 0, 4, 4),
               Query("sum(bridge_samples_quarantined)", "Quarantine"), unit="short", decimals=0,
               steps=((None, "green"), (1, "red"))),
        lines("Polls that failed", "By device: nothing, or not everything, was answered.", (0, 4, 12, 8),
              [Query('sum by (device) (rate(poller_polls_total{result!="complete"}[5m])) * 3600', "{{device}}")],
              unit="short", axis="polls per hour", decimals=0, span=(0, 10)),
        lines("Readings refused", "By device and reason; a few a day are a real bus.", (12, 4, 12, 8),
              [Query("sum by (device, reason) (rate(poller_readings_rejected_total[15m])) * 3600", "{{device}}: {{reason}}")],
              unit="short", axis="readings per hour", decimals=0, span=(0, 10)),
        lines("Requests that failed", "By bus and reason.", (0, 12, 12, 7),
              [Query("sum by (bus, reason) (rate(poller_request_failures_total[5m])) * 3600", "{{bus}}: {{reason}}")],
              unit="short", axis="requests per hour", decimals=0, span=(0, 10)),
        lines("How late polls begin", "Behind their place in the timetable.", (12, 12, 6, 7),
              [Query("max by (device) (poller_poll_delay_seconds)", "{{device}}")], unit="s", axis="lateness"),
        lines("Gap between two answers", "An LG heat pump may stop when its gap is longer than 20 s.", (18, 12, 6, 7),
              [Query("max by (device) (poller_poll_gap_seconds)", "{{device}}")], unit="s", axis="gap"),
        lines("States that wait, are asked for, are lost", "Between the poller's journal and this database.",
              (0, 19, 12, 8),
              [Query("sum(bridge_states_waiting)", "wait"), Query("sum(bridge_states_missing)", "asked for"),
               Query("sum(bridge_states_given_up)", "given up")], unit="short", axis="states", decimals=0,
              colors={"wait": SKY, "asked for": ORANGE, "given up": VERMILION}, span=(0, 10)),
        lines("Remote write", "Requests by what came of them.", (12, 19, 12, 8),
              [Query("sum by (outcome) (rate(bridge_requests_total[5m])) * 60", "{{outcome}}")], unit="short",
              axis="requests per minute"),
        lines("Samples", "What the database took.", (0, 27, 8, 7),
              [Query("sum(rate(bridge_samples_sent_total[5m])) * 60", "Samples")], unit="short",
              axis="samples per minute", colors={"Samples": BLUE}, fill=15),
        lines("Connections to the broker", "New ones: each is an outage, or a start.", (8, 27, 8, 7),
              [Query("sum(increase(poller_broker_connects_total[1h]))", "Poller"),
               Query("sum(increase(bridge_broker_connects_total[1h]))", "Bridge")], unit="short",
              axis="connections per hour", decimals=0, span=(0, 5), colors={"Poller": ORANGE, "Bridge": SKY}),
        lines("Disk", "Journal and store, and what is free beside them.", (16, 27, 8, 7),
              [Query("sum(poller_journal_bytes)", "Journal"), Query("sum(bridge_store_bytes)", "Store"),
               Query("min(bridge_disk_free_bytes)", "Free")], unit="decbytes", axis="size",
              colors={"Journal": ORANGE, "Store": SKY, "Free": BLUE}, right={"Free": ("decbytes", "free")}),
    ]  # fmt: skip
    says = "Whether every reading has arrived, and where it is if not."
    return board("heating-pipeline", "Heating: pipeline", says, panels)
