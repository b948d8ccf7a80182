"""Everyday work with an MQTT 5 broker: cat paho_client.py paho_work.py | python3 - PORT. Prints what it sees."""

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions


class Client(Waiting):
    def __init__(self, client_id, clean_start=True, will=None, expiry_s=0):
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = expiry_s
        connect = {"clean_start": clean_start, "properties": properties}
        super().__init__(will and (will, "gone", 1), connect, client_id=client_id, protocol=mqtt.MQTTv5)

    def subscribe(self, topic, options=None):
        return super().subscribe(topic, options=options or SubscribeOptions(qos=1))

    def publish(self, topic, payload, qos=1, retain=False, **properties):
        all_properties = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(all_properties, name, value)
        super().publish(topic, payload, qos, retain, all_properties)


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
    print("shared:", sorted(take_shared(members, 10)))
    for client in members + [publisher, subscriber]:
        client.leave()


main()
