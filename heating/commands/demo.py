"""`heating demo`: everything around a simulated house."""

import argparse
import logging

from heating.commands import Commands, port, positive
from heating.demo import Options, run_demo
from heating.terminal import Terminal


def add(commands: Commands) -> None:
    """What `heating demo` takes."""
    demo = commands.add_parser("demo", help="everything around a simulated heating house, no hardware needed")
    demo.add_argument("--mqtt-port", type=port, default=1883, metavar="PORT", help="the broker")
    demo.add_argument("--web-port", type=port, default=9100, metavar="PORT", help="the page and /metrics")
    demo.add_argument(
        "--prometheus-port", type=port, default=9090, metavar="PORT", help="Prometheus, where it is installed"
    )
    demo.add_argument(
        "--listen", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0 shows the page to your network"
    )
    demo.add_argument(
        "--speed",
        type=positive,
        default=1.0,
        metavar="FACTOR",
        help="how much faster the house lives; beyond 10 its energy rises faster than the filters believe",
    )
    demo.add_argument("--seed", type=int, default=1, help="another house")
    demo.add_argument("--seconds", type=positive, default=None, help="end by itself after so long")
    demo.set_defaults(do=_demo, log_level=logging.WARNING)


def _demo(options: argparse.Namespace) -> int:
    return run_demo(
        Options(
            mqtt_port=options.mqtt_port,
            web_port=options.web_port,
            prometheus_port=options.prometheus_port,
            listen=options.listen,
            speed=options.speed,
            seed=options.seed,
            seconds=options.seconds,
        ),
        Terminal(),
    )
