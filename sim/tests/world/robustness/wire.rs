//! Valid sessions, byte by byte and without the codecs that are tested.

/// A frame of AMQP (4.2.3).
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind], &channel.to_be_bytes()[..], &size, payload, &[0xCE]].concat()
}

fn method(channel: u16, class: u16, method: u16, fields: &[&[u8]]) -> Vec<u8> {
    frame(1, channel, &[&class.to_be_bytes()[..], &method.to_be_bytes(), &fields.concat()].concat())
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// From the protocol header to an open channel 1.
pub(crate) fn amqp_handshake() -> Vec<u8> {
    let capabilities = [&short("consumer_cancel_notify")[..], b"t\x01"].concat();
    let properties = [&short("capabilities")[..], b"F", &long(&capabilities)].concat();
    [
        b"AMQP\x00\x00\x09\x01".to_vec(),
        method(0, 10, 11, &[&long(&properties), &short("PLAIN"), &long(b"\0guest\0guest"), &short("en_US")]),
        method(0, 10, 31, &[&2047_u16.to_be_bytes(), &131_072_u32.to_be_bytes(), &0_u16.to_be_bytes()]),
        method(0, 10, 40, &[&short("/"), &[0, 0]]),
        method(1, 20, 10, &[&[0]]),
    ]
    .concat()
}

/// A content header with all properties.
pub(crate) fn content_header(body_bytes: u64) -> Vec<u8> {
    let headers = [&short("n")[..], b"I\x00\x00\x00\x01", &short("l"), b"A\x00\x00\x00\x02t\x01"].concat();
    let texts = |texts: &[&str]| texts.iter().flat_map(|text| short(text)).collect::<Vec<u8>>();
    let properties = [
        &0xFFFC_u16.to_be_bytes()[..],
        &texts(&["text/plain", "utf-8"]),
        &long(&headers),
        &[2, 0],
        &texts(&["correlation", "amq.rabbitmq.reply-to", "1000", "id"]),
        &7_u64.to_be_bytes(),
        &texts(&["type", "guest", "app", "cluster"]),
    ];
    frame(2, 1, &[&[0, 60, 0, 0], &body_bytes.to_be_bytes()[..], &properties.concat()].concat())
}

/// Frames that make sense after the handshake, in nearly any order.
pub(crate) fn amqp_frames() -> Vec<Vec<u8>> {
    let (queue, none): (Vec<u8>, &[u8]) = (short("q"), &[0, 0, 0, 0]);
    let dead = [&short("x-dead-letter-exchange")[..], b"S", &long(b""), &short("x-message-ttl"), b"I\x00\x00\x00\x01"];
    let publish = method(1, 60, 40, &[&[0, 0], &short(""), &queue, &[1]]);
    let empty = frame(2, 1, &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    vec![
        frame(8, 0, &[]),
        method(2, 20, 10, &[&[0]]),
        method(1, 20, 20, &[&[1]]),
        method(1, 20, 40, &[&[0, 200], &short("bye"), none]),
        method(1, 20, 41, &[]),
        method(1, 20, 10, &[&[0]]),
        method(1, 40, 10, &[&[0, 0], &short("x"), &short("topic"), &[0], none]),
        method(1, 40, 20, &[&[0, 0], &short("x"), &[0]]),
        method(1, 50, 10, &[&[0, 0], &queue, &[0], none]),
        method(1, 50, 10, &[&[0, 0], &short(""), &[4], &long(&dead.concat())]),
        method(1, 50, 20, &[&[0, 0], &queue, &short("x"), &short("#.a.*"), &[0], none]),
        method(1, 50, 50, &[&[0, 0], &queue, &short("x"), &short("#.a.*"), none]),
        method(1, 50, 30, &[&[0, 0], &queue, &[0]]),
        method(1, 50, 40, &[&[0, 0], &queue, &[0]]),
        method(1, 60, 10, &[none, &[0, 2, 0]]),
        method(1, 60, 20, &[&[0, 0], &queue, &short("tag"), &[0], none]),
        method(1, 60, 20, &[&[0, 0], &short("amq.rabbitmq.reply-to"), &short(""), &[2], none]),
        method(1, 60, 30, &[&short("tag"), &[0]]),
        [publish.clone(), content_header(4), frame(3, 1, b"bo"), frame(3, 1, b"dy")].concat(),
        [publish.clone(), empty].concat(),
        [method(1, 60, 40, &[&[0, 0], &short("x"), &short("a.b"), &[1]]), content_header(1), frame(3, 1, b"b")]
            .concat(),
        publish,
        method(1, 60, 70, &[&[0, 0], &queue, &[0]]),
        method(1, 60, 80, &[&1_u64.to_be_bytes(), &[0]]),
        method(1, 60, 80, &[&0_u64.to_be_bytes(), &[1]]),
        method(1, 60, 90, &[&1_u64.to_be_bytes(), &[1]]),
        method(1, 60, 110, &[&[1]]),
        method(1, 60, 120, &[&2_u64.to_be_bytes(), &[2]]),
        method(1, 85, 10, &[&[0]]),
        method(1, 90, 10, &[]),
        method(0, 10, 50, &[&[0, 200], &short("bye"), none]),
    ]
}

/// A packet of MQTT (2.1).
pub(crate) fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut out = vec![first];
    let mut length = body.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7F).unwrap() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap());
    [out, body].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

/// A CONNECT with a session, a will, a name and a password.
pub(crate) fn mqtt_connect() -> Vec<u8> {
    let will = [&[2_u8, 1, 1][..], &text("will"), &text("gone")].concat();
    let properties = b"\x0b\x11\x00\x00\x00\x0a\x21\x00\x02\x22\x00\x0a";
    packet(0x10, &[&text("MQTT"), &[5, 0xCE, 0, 60], properties, &text("id"), &will, &text("me"), &text("secret")])
}

/// Packets that make sense after the CONNECT, in any order.
pub(crate) fn mqtt_packets() -> Vec<Vec<u8>> {
    let id: &[u8] = &[0, 1];
    let properties: &[u8] = b"\x12\x02\x00\x00\x00\x05\x08\x00\x01r\x09\x00\x01c\x26\x00\x01k\x00\x01v";
    let length = [u8::try_from(properties.len() - 1).unwrap()];
    let properties = [&length, &properties[1..]].concat();
    vec![
        packet(0x82, &[id, &[0], &text("a/+"), &[1]]),
        packet(0x82, &[id, &[2, 0x0b, 7], &text("$share/g/a/#"), &[1]]),
        packet(0x82, &[id, &[0], &text("#"), &[0x2e]]),
        packet(0xa2, &[id, &[0], &text("a/+")]),
        packet(0x30, &[&text("a/b"), &[0], b"qos 0"]),
        packet(0x32, &[&text("a/b"), id, &[0], b"qos 1"]),
        packet(0x33, &[&text("a/b"), id, &properties, b"retained"]),
        packet(0x31, &[&text("a/b"), &[0]]),
        packet(0x32, &[&text("a/b"), id, &[3, 0x23, 0, 1], b"named"]),
        packet(0x32, &[&text(""), id, &[3, 0x23, 0, 1], b"by its number"]),
        packet(0x34, &[&text("a/b"), id, &[0], b"qos 2"]),
        packet(0x40, &[id]),
        packet(0x40, &[id, &[0x80]]),
        packet(0x40, &[&[0, 2], &[0, 0]]),
        packet(0x34, &[&text("a/c"), &[0, 2], &[0], b"another"]),
        packet(0x50, &[id]),
        packet(0x50, &[id, &[0x80]]),
        packet(0x62, &[id]),
        packet(0x62, &[&[0, 2], &[0x92, 0]]),
        packet(0x70, &[id]),
        packet(0xc0, &[]),
        packet(0xe0, &[&[4]]),
        packet(0xe0, &[&[0, 5, 0x11, 0, 0, 0, 0]]),
        packet(0xf0, &[&[0x18, 0]]),
        mqtt_connect(),
    ]
}

/// A CONNECT of MQTT 3.1.1 with a session, a will, a name and a password.
pub(crate) fn mqtt_3_connect() -> Vec<u8> {
    let will = [text("will"), text("gone")].concat();
    packet(0x10, &[&text("MQTT"), &[4, 0xD4, 0, 60], &text("id"), &will, &text("me"), &text("secret")])
}

/// As [`mqtt_packets`], of MQTT 3.1.1.
pub(crate) fn mqtt_3_packets() -> Vec<Vec<u8>> {
    let id: &[u8] = &[0, 1];
    vec![
        packet(0x82, &[id, &text("a/+"), &[1], &text("a/b"), &[0]]),
        packet(0x82, &[id, &text("$share/g/a/#"), &[2]]),
        packet(0x82, &[id, &text("#"), &[2]]),
        packet(0xa2, &[id, &text("a/+")]),
        packet(0x30, &[&text("a/b"), b"qos 0"]),
        packet(0x32, &[&text("a/b"), id, b"qos 1"]),
        packet(0x33, &[&text("a/b"), id, b"retained"]),
        packet(0x31, &[&text("a/b")]),
        packet(0x34, &[&text("a/b"), id, b"qos 2"]),
        packet(0x3d, &[&text("a/b"), id, b"qos 2, retained, again"]),
        packet(0x34, &[&text("a/c"), &[0, 2], b"another"]),
        packet(0x40, &[id]),
        packet(0x50, &[id]),
        packet(0x50, &[&[0, 2]]),
        packet(0x62, &[id]),
        packet(0x62, &[&[0, 2]]),
        packet(0x70, &[id]),
        packet(0xc0, &[]),
        packet(0xe0, &[]),
        mqtt_3_connect(),
    ]
}

/// A command as client libraries send it.
pub(crate) fn command(words: &str) -> Vec<u8> {
    let words: Vec<&str> = words.split(' ').collect();
    let bulk = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
    format!("*{}\r\n{}", words.len(), words.iter().map(bulk).collect::<String>()).into_bytes()
}

pub(crate) fn redis_commands() -> Vec<Vec<u8>> {
    let commands = [
        "HELLO 3 AUTH default x SETNAME me",
        "CLIENT SETNAME me",
        "SELECT 0",
        "PING",
        "ECHO text",
        "SET k v PX 5 NX GET",
        "SET n 9223372036854775806",
        "INCR n",
        "DECRBY n -9223372036854775808",
        "GET k",
        "MGET k n h",
        "MSET k v n 1",
        "EXPIRE k 9223372036854775807",
        "PEXPIREAT k 1 GT",
        "TTL k",
        "HSET h f v g 1",
        "HINCRBY h g 5",
        "HGETALL h",
        "HDEL h f g",
        "KEYS *a**?b*",
        "DEL k n h",
        "TYPE h",
        "FLUSHALL ASYNC",
        "LPUSH l a",
        "MULTI",
        "EXEC",
        "DISCARD",
        "SCAN 0 MATCH [a-z]*\\x COUNT 10",
        "SETRANGE k 100 v",
        "SETRANGE k 1000000000 v",
        "APPEND k v",
        "GETRANGE k -1 9223372036854775807",
        "CONFIG GET *",
        "COMMAND COUNT",
        "QUIT",
    ];
    let inline: [&[u8]; 4] = [b"\r\n", b"PING\r\n", b"SET \"a\\x00\" 'b c'\r\n", b"*0\r\n"];
    commands.map(command).into_iter().chain(inline.map(<[u8]>::to_vec)).collect()
}
