"""The demo's broker where mosquitto is not installed: `python -m heating.embedded_broker PORT`.

It forgets everything at its end, so it is for the demo only.
"""

import sys


def main(arguments: list[str]) -> None:
    """Serve until the process is ended."""
    from iotcore import Broker  # noqa: PLC0415  # only the demo's environment has it

    # Its own defaults are every interface and 20 kB a message; an announcement is larger.
    Broker(port=int(arguments[0]), listen="127.0.0.1", max_payload_size=1 << 20).run_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
