"""Everyday work with an MQTT 5 broker through paho-mqtt: python3 paho_work.py PORT. Prints what it sees."""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT = int(sys.argv[1])
TIMEOUT_S = 10


class Client:
    """One connection; calls wait for their acknowledgement."""

    def __init__(self, client_id, clean_start=True, will=None, expiry_s=0):
        # Since 2.0 a version of the callbacks must be named; the callbacks here are the same in both.
        version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
        self.client = mqtt.Client(*version, client_id=client_id, protocol=mqtt.MQTTv5)
        self.messages, self.answers = queue.Queue(), queue.Queue()
        self.client.on_connect = lambda _client, _data, flags, code, *_: self.answers.put(self.connected(flags, code))
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        self.client.on_subscribe = lambda _client, _data, _id, codes, *_: self.answers.put([self.number(c) for c in codes])
        self.client.on_unsubscribe = lambda *_: self.answers.put("unsubscribed")
        self.client.on_disconnect = lambda *_: self.answers.put("disconnected")
        if will:
            self.client.will_set(will, "gone", qos=1)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = expiry_s
        self.client.connect("127.0.0.1", PORT, keepalive=30, clean_start=clean_start, properties=properties)
        self.client.loop_start()
        self.session_present = self.answers.get(timeout=TIMEOUT_S)

    @staticmethod
    def number(code):
        return getattr(code, "value", code)

    def connected(self, flags, code):
        assert self.number(code) == 0, code
        return flags["session present"] if isinstance(flags, dict) else int(flags.session_present)

    def subscribe(self, topic, options=None, qos=1):
        self.client.subscribe(topic, options=options or SubscribeOptions(qos=qos))
        return self.answers.get(timeout=TIMEOUT_S)

    def unsubscribe(self, topic):
        self.client.unsubscribe(topic)
        return self.answers.get(timeout=TIMEOUT_S)

    def publish(self, topic, payload, qos=1, retain=False, **properties):
        all_properties = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(all_properties, name, value)
        info = self.client.publish(topic, payload, qos, retain, all_properties)
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


def main():
    publisher, subscriber = Client("publisher"), Client("subscriber")
    print("granted:", subscriber.subscribe("shop/#"))
    for number in range(100):
        publisher.publish(f"shop/{number % 3}", str(number))
    taken = subscriber.take(100)
    print("in order:", [message.payload for message in taken] == [str(number).encode() for number in range(100)])
    publisher.publish("shop/0", b"", qos=0)
    print("QoS 0:", subscriber.payloads(1))
    large = bytes(range(256)) * 1024
    publisher.publish("shop/0", large)
    print("large:", subscriber.take(1)[0].payload == large)

    publisher.publish(
        "shop/ask",
        "how much?",
        ResponseTopic="shop/answer",
        CorrelationData=b"\x00\x01",
        UserProperty=[("a", "1"), ("a", "2")],
        ContentType="text/plain",
        PayloadFormatIndicator=1,
        MessageExpiryInterval=60,
    )
    properties = subscriber.take(1)[0].properties
    print("properties:", properties.ResponseTopic, properties.CorrelationData, properties.UserProperty)
    print("properties:", properties.ContentType, properties.PayloadFormatIndicator)
    print("unsubscribed:", subscriber.unsubscribe("shop/#"))

    publisher.publish("state/door", "open", retain=True)
    print("granted:", subscriber.subscribe("state/+", SubscribeOptions(qos=1, retainAsPublished=True)))
    print("retained:", subscriber.payloads(1))
    publisher.publish("state/door", "shut", retain=True)
    print("retained as published:", subscriber.payloads(1))
    publisher.publish("state/door", "", retain=True)
    subscriber.take(1)

    print("granted:", subscriber.subscribe("gone/#"))
    Client("leaving", will="gone/left").leave()
    Client("vanishing", will="gone/vanished").vanish()
    print("will:", subscriber.payloads(1))

    sleeper = Client("sleeper", clean_start=False, expiry_s=60)
    print("session present:", sleeper.session_present)
    sleeper.subscribe("night")
    sleeper.leave()
    publisher.publish("night", "while you slept")
    sleeper = Client("sleeper", clean_start=False, expiry_s=60)
    print("session present:", sleeper.session_present, sleeper.payloads(1))
    sleeper.leave()

    members = [Client(f"member-{number}") for number in range(2)]
    print("granted:", [member.subscribe("$share/group/jobs") for member in members])
    for number in range(10):
        publisher.publish("jobs", str(number))
    publisher.client.publish("end", "")
    taken = []
    while len(taken) < 10:
        for member in members:
            while not member.messages.empty():
                taken.append(member.messages.get().payload)
    print("shared:", sorted(taken))
    for client in members + [publisher, subscriber]:
        client.leave()


main()
