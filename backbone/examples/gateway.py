"""A gateway with two labels, which shows on the terminal what they are told: python3 gateway.py

Needs paho-mqtt (1.6 or later). MQTT_HOST and MQTT_PORT say where the broker is."""
import json, os, time
import paho.mqtt.client as mqtt

GATEWAY = "00:00:00:00:00:64"
shown = {"00:00:00:00:00:01": 0, "00:00:00:00:00:02": 0}  # the version that each label shows

def on_connect(client, *_):
    client.subscribe(f"/gw/{GATEWAY}/action", qos=1)

def on_message(client, _, message):
    request = json.loads(message.payload)
    label, version = request["esl_mac"], request["version"]
    reply = {"request_id": request["request_id"], "esl_mac": label}
    if label not in shown:
        reply |= {"status": "failed", "detail": "this label is not mine"}
    elif version <= shown[label]:
        reply |= {"status": "done" if version == shown[label] else "superseded"}
    else:
        shown[label] = version
        print(label, "shows", request["body"], flush=True)
        reply |= {"status": "done"}
    client.publish(f"/gw/{GATEWAY}/response", json.dumps(reply), qos=1)

versions = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
client = mqtt.Client(*versions, client_id=f"gateway-{GATEWAY}", protocol=mqtt.MQTTv5)
client.on_connect, client.on_message = on_connect, on_message
client.connect(os.environ.get("MQTT_HOST", "localhost"), int(os.environ.get("MQTT_PORT", "1883")))
client.loop_start()
while True:  # a report every two seconds keeps the routes to its labels fresh
    heard = {"heard_unix_ms": int(time.time() * 1000), "labels": [[label, -60] for label in shown]}
    client.publish(f"/gw/{GATEWAY}/rssi", json.dumps(heard), qos=1)
    time.sleep(2)
