"""`python -m bench.receive_floor PORT CLIENT MESSAGES FOLDER`: the least that a Python program on paho does with a backlog.

It decodes each message and counts it: no labels, no checks, and nothing kept in the folder.
"""

import sys
import threading

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.drained import Stopwatch


def main() -> None:
    """Receive until as many messages were decoded."""
    port, client_id, left = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    done = threading.Event()
    decode = msgspec.json.Decoder().decode
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)

    def receive(_client: mqtt.Client, _data: object, got: mqtt.MQTTMessage) -> None:
        nonlocal left
        decode(got.payload)
        left -= 1
        if not left:
            done.set()

    client.on_message = receive
    watch = Stopwatch()
    client.connect("127.0.0.1", port)
    client.loop_start()
    done.wait()
    watch.print()
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
