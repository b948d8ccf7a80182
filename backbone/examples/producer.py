"""Sends price changes to labels and prints what became of them: python3 producer.py [LABEL=PRICE ...]

Needs pika (1.2 or later). AMQP_URL says where RabbitMQ is."""
import json, os, sys, time, uuid
import pika

changes = [argument.split("=") for argument in sys.argv[1:]] or [["00:00:00:00:00:01", "12.90"]]
url = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.confirm_delivery()  # a task that is not confirmed may be lost
results = channel.queue_declare("", exclusive=True).method.queue
waiting = set()
for label, price in changes:
    now_ms = int(time.time() * 1000)
    command = {"esl_mac": label, "version": now_ms, "body": {"price": price}}
    task = {"task_id": str(uuid.uuid4()), "expires_unix_ms": now_ms + 60_000, "commands": [command]}
    headers = {"x-published-unix-ms": now_ms}
    properties = pika.BasicProperties(delivery_mode=2, reply_to=results, correlation_id=label, headers=headers)
    channel.basic_publish("", "task_queue", json.dumps(task), properties, mandatory=True)
    waiting.add(task["task_id"])
for method, properties, body in channel.consume(results):
    result = json.loads(body)
    for line in result["commands"]:
        took_ms = result["ended_unix_ms"] - result["published_unix_ms"]
        print(line["esl_mac"], line["outcome"], line.get("detail", ""), f"after {took_ms} ms", flush=True)
    channel.basic_ack(method.delivery_tag)
    waiting.discard(result["task_id"])  # the same result may come twice
    if not waiting:
        break
connection.close()
