"""The centre, outside the container's files but in its network: writes the counts that arrive, one a line."""

from __future__ import annotations

import json
import sys
from typing import Any

import paho.mqtt.client as paho


def main() -> None:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="centre", clean_session=False)

    def connected(client: paho.Client, *_: Any) -> None:
        client.subscribe("v1/gateway/telemetry", qos=1)
        print("listening", flush=True)

    def arrived(client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        for row in json.loads(message.payload).get("meter", ()):
            if "count" in row["values"]:
                print(int(row["values"]["count"]), flush=True)

    client.on_connect, client.on_message = connected, arrived
    client.connect("127.0.0.1", int(sys.argv[1]))
    client.loop_forever(retry_first_connection=True)


if __name__ == "__main__":
    main()
