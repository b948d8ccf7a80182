# How long awaited publishes of QoS 1 take with a client as paho makes it: to itself, to another client, and there and
# back between two. The broker's order and size of writes decide whether Nagle's algorithm and delayed acknowledgements
# meet, which costs 44 ms each time.
import sys
import threading
import time

import paho.mqtt.client as mqtt

COUNT = 40
# Without stalls it is a tenth of this; with one a publish almost two seconds.
LIMIT_S = 1.0


def connect(name, topic=None, on_message=None):
    ready = threading.Event()
    client = mqtt.Client(client_id=name)
    client.on_connect = lambda *_: ready.set()
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = on_message
    client.connect("127.0.0.1", int(sys.argv[1]))
    client.loop_start()
    assert ready.wait(10)
    if topic:
        ready.clear()
        client.subscribe(topic, qos=1)
        assert ready.wait(10)
    return client


def timed(what, once):
    start = time.monotonic()
    for _ in range(COUNT):
        once()
    taken = time.monotonic() - start
    print(f"{what}: {COUNT}, stalled: {taken > LIMIT_S}")
    print(f"{what}: {taken:.3f} s", file=sys.stderr)


got = threading.Semaphore(0)


def awaited(client, topic):
    client.publish(topic, "x" * 20, qos=1).wait_for_publish()


def and_received(client, topic):
    awaited(client, topic)
    assert got.acquire(timeout=10)


alone = connect("alone", "to/alone", lambda *_: got.release())
timed("to itself", lambda: and_received(alone, "to/alone"))

other = connect("other", "to/other", lambda *_: got.release())
timed("to another", lambda: and_received(alone, "to/other"))

echo = connect("echo", "to/echo")
echo.on_message = lambda client, *_: client.publish("to/alone", "y", qos=1)
timed("there and back", lambda: and_received(alone, "to/echo"))

for client in (alone, other, echo):
    client.disconnect()
    client.loop_stop()
