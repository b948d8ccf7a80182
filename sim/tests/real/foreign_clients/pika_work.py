"""Everyday work with RabbitMQ through pika: python3 pika_work.py PORT. Prints what it sees."""

import sys
import threading

import pika

PARAMETERS = pika.ConnectionParameters("127.0.0.1", int(sys.argv[1]))


def connect():
    connection = pika.BlockingConnection(PARAMETERS)
    return connection, connection.channel()


def take(channel, queue, count, **options):
    """The next messages of a queue, each acknowledged."""
    taken = []
    for method, properties, body in channel.consume(queue, inactivity_timeout=10, **options):
        assert method is not None, f"nothing more in {queue} after {taken}"
        channel.basic_ack(method.delivery_tag)
        taken.append((method, properties, body))
        if len(taken) == count:
            channel.cancel()
            return taken


def publish_and_consume(channel):
    channel.queue_declare("work", durable=True)
    channel.confirm_delivery()
    for number in range(100):
        headers = {"number": number, "list": [1, "a"]}
        properties = pika.BasicProperties(delivery_mode=2, content_type="text/plain", headers=headers)
        channel.basic_publish("", "work", str(number), properties, mandatory=True)
    print("waiting:", channel.queue_declare("work", passive=True).method.message_count)
    channel.basic_qos(prefetch_count=10)
    taken = take(channel, "work", 100)
    print("in order:", [body for _, _, body in taken] == [str(number).encode() for number in range(100)])
    print("first:", taken[0][0].routing_key, taken[0][0].redelivered, taken[0][1].content_type, taken[0][1].headers)
    large = bytes(range(256)) * 4096
    channel.basic_publish("", "work", large)
    print("large body:", take(channel, "work", 1)[0][2] == large)
    try:
        channel.basic_publish("", "nowhere", "lost", mandatory=True)
    except pika.exceptions.UnroutableError as error:
        print("unroutable:", [(m.method.reply_code, m.method.reply_text, m.body) for m in error.messages])


def get_and_requeue(channel):
    channel.queue_declare("got", exclusive=True)
    print("empty:", channel.basic_get("got"))
    for body in "abc":
        channel.basic_publish("", "got", body)
    method, _, body = channel.basic_get("got")
    print("got:", body, method.redelivered, method.message_count)
    channel.basic_nack(method.delivery_tag, requeue=True)
    taken = take(channel, "got", 3)
    print("again:", [(body, method.redelivered) for method, _, body in taken])
    channel.basic_publish("", "got", "d")
    channel.basic_reject(channel.basic_get("got")[0].delivery_tag, requeue=False)
    print("rejected:", channel.basic_get("got"))


def dead_letters(channel):
    channel.queue_declare("dead", exclusive=True)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    channel.queue_declare("mortal", exclusive=True, arguments={**arguments, "x-message-ttl": 50})
    channel.basic_publish("", "mortal", "expired")
    _, properties, body = take(channel, "dead", 1)[0]
    death = properties.headers["x-death"][0]
    print("dead:", body, death["reason"], death["queue"], death["count"], death["routing-keys"])


def exchanges(channel):
    channel.exchange_declare("shops", "topic", auto_delete=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    print("named by the broker:", queue.startswith("amq.gen-"))
    channel.queue_bind(queue, "shops", "shop.*.price")
    for key in ["shop.1.price", "shop.1.stock", "shop.2.price"]:
        channel.basic_publish("shops", key, key)
    print("bound:", [(method.exchange, body) for method, _, body in take(channel, queue, 2)])
    channel.queue_unbind(queue, "shops", "shop.*.price")


def serve():
    """Doubles one number that comes in by each of the two ways."""
    connection, channel = connect()
    for method, properties, body in channel.consume("double", inactivity_timeout=10):
        reply = pika.BasicProperties(correlation_id=properties.correlation_id)
        channel.basic_publish("", properties.reply_to, str(2 * int(body)), reply)
        channel.basic_ack(method.delivery_tag)
        if method.delivery_tag == 2:
            break
    connection.close()


def call(channel, reply_to, number, options):
    replies = []

    def on_reply(_channel, _method, properties, body):
        replies.append((properties.correlation_id, body))

    tag = channel.basic_consume(reply_to, on_reply, **options)
    properties = pika.BasicProperties(reply_to=reply_to, correlation_id="call-1")
    channel.basic_publish("", "double", str(number), properties)
    while not replies:
        channel.connection.process_data_events(time_limit=10)
    channel.basic_cancel(tag)
    return replies


def rpc(channel):
    channel.queue_declare("double")
    server = threading.Thread(target=serve, daemon=True)
    server.start()
    own = channel.queue_declare("", exclusive=True).method.queue
    print("reply queue:", call(channel, own, 21, {"auto_ack": True}))
    print("direct reply:", call(channel, "amq.rabbitmq.reply-to", 4, {"auto_ack": True}))
    server.join()


def errors(connection):
    for attempt in [
        lambda channel: channel.queue_declare("missing", passive=True),
        lambda channel: channel.queue_declare("work", durable=False),
        lambda channel: channel.basic_ack(99) or channel.queue_declare("work", passive=True),
        lambda channel: channel.exchange_declare("shops", "nonsense"),
    ]:
        channel = connection.channel()
        try:
            attempt(channel)
            print("no error")
        except (pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker) as error:
            print(type(error).__name__, error.reply_code, error.reply_text)


def main():
    connection, channel = connect()
    publish_and_consume(channel)
    get_and_requeue(channel)
    dead_letters(channel)
    exchanges(channel)
    rpc(channel)
    print("purged:", channel.queue_purge("work").method.message_count)
    connection.process_data_events(0)
    errors(connection)
    if connection.is_closed:
        connection, _ = connect()
    channel = connection.channel()
    print("deleted:", channel.queue_delete("work").method.message_count)
    connection.close()


main()
