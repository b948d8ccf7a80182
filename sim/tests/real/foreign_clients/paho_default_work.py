"""Everyday work with paho-mqtt as it comes, that is MQTT 3.1.1. Prints what it sees.

cat paho_client.py paho_default_work.py | python3 - PORT
"""


class Client(Waiting):
    def __init__(self, client_id="", clean_session=True, will=None, **protocol):
        super().__init__(will and (will, "gone", 2), client_id=client_id, clean_session=clean_session, **protocol)


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
    print("shared:", sorted(take_shared(members, 10)))
    for client in members + [old, publisher, subscriber]:
        client.leave()


main()
