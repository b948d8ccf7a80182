"""A connection through paho-mqtt whose calls wait for their acknowledgement: what paho_*_work.py begin with."""

import queue
import sys

import paho.mqtt.client as mqtt

PORT = int(sys.argv[1])
TIMEOUT_S = 10


class Waiting:
    def __init__(self, will=None, connect=None, **settings):
        # Since 2.0 a version of the callbacks must be named; the callbacks here are the same in both.
        version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
        self.client = mqtt.Client(*version, **settings)
        self.messages, self.answers = queue.Queue(), queue.Queue()
        self.client.on_connect = lambda _client, _data, flags, code, *_: self.answers.put(self.connected(flags, code))
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        self.client.on_subscribe = lambda _client, _data, _id, codes, *_: self.answers.put(
            [self.number(code) for code in codes]
        )
        self.client.on_unsubscribe = lambda *_: self.answers.put("unsubscribed")
        self.client.on_disconnect = lambda *_: self.answers.put("disconnected")
        if will:
            self.client.will_set(*will)
        self.client.connect("127.0.0.1", PORT, keepalive=30, **(connect or {}))
        self.client.loop_start()
        self.session_present = self.answers.get(timeout=TIMEOUT_S)

    @staticmethod
    def number(code):
        return getattr(code, "value", code)

    def connected(self, flags, code):
        assert self.number(code) == 0, code
        return flags["session present"] if isinstance(flags, dict) else int(flags.session_present)

    def subscribe(self, *arguments, **options):
        self.client.subscribe(*arguments, **options)
        return self.answers.get(timeout=TIMEOUT_S)

    def unsubscribe(self, topic):
        self.client.unsubscribe(topic)
        return self.answers.get(timeout=TIMEOUT_S)

    def publish(self, *message, **options):
        info = self.client.publish(*message, **options)
        info.wait_for_publish()
        assert info.is_published()

    def take(self, count):
        return [self.messages.get(timeout=TIMEOUT_S) for _ in range(count)]

    def payloads(self, count):
        return [(message.topic, message.payload, message.qos, message.retain) for message in self.take(count)]

    def leave(self):
        self.client.disconnect()
        assert self.answers.get(timeout=TIMEOUT_S) == "disconnected"
        self.client.loop_stop()

    def vanish(self):
        """Ends the TCP connection without a DISCONNECT."""
        self.client.loop_stop()
        self.client.socket().close()


def take_shared(members, count):
    """The payloads of `count` messages that go to any one of `members` each."""
    taken = []
    while len(taken) < count:
        for member in members:
            while not member.messages.empty():
                taken.append(member.messages.get().payload)
    return taken


