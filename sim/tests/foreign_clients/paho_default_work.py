"""Everyday work through paho-mqtt as it comes, with MQTT 3.1.1: python3 paho_default_work.py PORT. Prints what it sees."""

import queue
import sys

import paho.mqtt.client as mqtt

PORT = int(sys.argv[1])
TIMEOUT_S = 10


class Client:
    """One connection; calls wait for their acknowledgement."""

    def __init__(self, client_id="", clean_session=True, will=None, protocol=None):
        # Since 2.0 a version of the callbacks must be named; the callbacks here are the same in both.
        version = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
        protocol = {"protocol": protocol} if protocol else {}
        self.client = mqtt.Client(*version, client_id=client_id, clean_session=clean_session, **protocol)
        self.messages, self.answers = queue.Queue(), queue.Queue()
        self.client.on_connect = lambda _client, _data, flags, code, *_: self.answers.put(self.connected(flags, code))
        self.client.on_message = lambda _client, _data, message: self.messages.put(message)
        self.client.on_subscribe = lambda _client, _data, _id, codes, *_: self.answers.put([self.number(c) for c in codes])
        self.client.on_unsubscribe = lambda *_: self.answers.put("unsubscribed")
        self.client.on_disconnect = lambda *_: self.answers.put("disconnected")
        if will:
            self.client.will_set(will, "gone", qos=2)
        self.client.connect("127.0.0.1", PORT, keepalive=30)
        self.client.loop_start()
        self.session_present = self.answers.get(timeout=TIMEOUT_S)

    @staticmethod
    def number(code):
        return getattr(code, "value", code)

    def connected(self, flags, code):
        assert self.number(code) == 0, code
        return flags["session present"] if isinstance(flags, dict) else int(flags.session_present)

    def subscribe(self, topic, qos):
        self.client.subscribe(topic, qos)
        return self.answers.get(timeout=TIMEOUT_S)

    def unsubscribe(self, topic):
        self.client.unsubscribe(topic)
        return self.answers.get(timeout=TIMEOUT_S)

    def publish(self, topic, payload, qos, retain=False):
        info = self.client.publish(topic, payload, qos, retain)
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
    publisher, subscriber = Client(), Client("subscriber")
    for qos in range(3):
        print("granted:", subscriber.subscribe(f"shop/{qos}", qos))
    # At its own pace: paho keeps to twenty under way.
    infos = [publisher.client.publish(f"shop/{number % 3}", str(number), 2) for number in range(300)]
    for info in infos:
        info.wait_for_publish()
    taken = subscriber.take(300)
    for qos in range(3):
        mine = [(message.payload, message.qos) for message in taken if message.topic == f"shop/{qos}"]
        expected = [(str(number).encode(), qos) for number in range(qos, 300, 3)]
        print("once and in order:", mine == expected)
    for qos in range(3):
        publisher.publish("shop/2", f"QoS {qos}", qos)
    print("lower of both:", subscriber.payloads(3))
    large = bytes(range(256)) * 1024
    publisher.publish("shop/2", large, 2)
    print("large:", subscriber.take(1)[0].payload == large)
    print("unsubscribed:", [subscriber.unsubscribe(f"shop/{qos}") for qos in range(3)])

    publisher.publish("state/door", "open", 2, retain=True)
    print("granted:", subscriber.subscribe("state/+", 2))
    print("retained:", subscriber.payloads(1))
    publisher.publish("state/door", "", 1, retain=True)
    subscriber.take(1)

    print("granted:", subscriber.subscribe("gone/#", 2))
    Client("leaving", will="gone/left").leave()
    Client("vanishing", will="gone/vanished").vanish()
    print("will:", subscriber.payloads(1))

    sleeper = Client("sleeper", clean_session=False)
    print("session present:", sleeper.session_present)
    sleeper.subscribe("night/#", 2)
    sleeper.leave()
    for qos in range(3):
        publisher.publish("night/1", f"QoS {qos}", qos)
    sleeper = Client("sleeper", clean_session=False)
    print("session present:", sleeper.session_present, sleeper.payloads(2))
    sleeper.leave()
    print("session present:", Client("sleeper").session_present)

    print("granted:", subscriber.subscribe("both/+", 1), subscriber.subscribe("both/#", 2))
    publisher.publish("both/1", "one copy", 2)
    publisher.publish("both/2", "another", 2)
    print("overlapping:", subscriber.payloads(2))

    old = Client("old", protocol=mqtt.MQTTv31)
    print("3.1:", old.subscribe("old", 2))
    publisher.publish("old", "still", 2)
    print("3.1:", old.payloads(1))

    members = [Client(f"member-{number}") for number in range(2)]
    print("granted:", [member.subscribe("$share/group/jobs", 2) for member in members])
    for number in range(10):
        publisher.publish("jobs", str(number), 2)
    taken = []
    while len(taken) < 10:
        for member in members:
            while not member.messages.empty():
                taken.append(member.messages.get().payload)
    print("shared:", sorted(taken))
    for client in members + [old, publisher, subscriber]:
        client.leave()


main()
