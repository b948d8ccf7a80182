"""What captures of a run say: steps, stalls, and what decides them. See README.md beside this."""

import bisect
import csv
import math
import statistics
import struct
from collections import Counter, defaultdict

PUBLISH, PUBACK = 3, 4
STALL_US = 20_000
# With 50 pairs under way no delayed ACK explains this.
FREEZE_NS = 300_000_000


class Segment:
    """`up` is to the broker."""

    __slots__ = ("ns", "up", "seq", "ack", "data")

    def __init__(self, *values):
        self.ns, self.up, self.seq, self.ack, self.data = values


def flows(pcap):
    """The segments of each connection to the broker, by the client's address (its last byte) and port."""
    raw = pcap.read_bytes()
    assert struct.unpack_from("<I", raw)[0] == 0xA1B23C4D, "not a capture with nanoseconds"
    at, out = 24, defaultdict(list)
    while at + 16 <= len(raw):
        seconds, ns, size, _ = struct.unpack_from("<IIII", raw, at)
        ip = at + 16 + 14
        at += 16 + size
        tcp = ip + 4 * (raw[ip] & 15)
        source, target, seq, ack = struct.unpack_from(">HHII", raw, tcp)
        start, end = tcp + 4 * (raw[tcp + 12] >> 4), ip + struct.unpack_from(">H", raw, ip + 2)[0]
        if raw[tcp + 13] & 7:  # FIN, SYN, RST
            continue
        up = target == 1883
        key = (raw[ip + 15], source) if up else (raw[ip + 19], target)
        out[key].append(Segment(seconds * 10**9 + ns, up, seq, ack, raw[start:end]))
    for flow in out.values():
        flow.sort(key=lambda s: s.ns)
    return out


class Mqtt:
    """An MQTT packet; `mac` is the device that a PUBLISH is about. Times are those of its first and last segments."""

    __slots__ = ("kind", "id", "mac", "first_ns", "last_ns", "up")

    def __init__(self, *values):
        self.kind, self.id, self.mac, self.first_ns, self.last_ns, self.up = values


def packets(flow):
    """The MQTT packets of a flow, in the order of their last segments."""
    out = []
    for up in (True, False):
        stream, times, expected = bytearray(), [], None
        for s in flow:
            if s.up != up or not s.data or (expected is not None and s.seq != expected):
                continue  # a retransmission is none of the stream
            expected = (s.seq + len(s.data)) % 2**32
            stream += s.data
            times.append((len(stream), s.ns))
        at, first = 0, 0
        while at + 2 <= len(stream):
            size, shift, head = 0, 0, at + 1
            while True:
                size |= (stream[head] & 127) << shift
                shift += 7
                head += 1
                if stream[head - 1] < 128:
                    break
            end = head + size
            if end > len(stream):
                break
            kind, id, mac = stream[at] >> 4, 0, None
            if kind == PUBLISH:
                id = head + 2 + int.from_bytes(stream[head:head + 2], "big")
                id = int.from_bytes(stream[id:id + 2], "big")
                mac = stream.find(b'"deviceMac":"', head, end) + 13
                mac = bytes(stream[mac:mac + 12])
            elif kind == PUBACK:
                id = int.from_bytes(stream[head:head + 2], "big")
            while times[first][0] <= at:
                first += 1
            last = first
            while times[last][0] < end:
                last += 1
            out.append(Mqtt(kind, id, mac, times[first][1], times[last][1], up))
            at = end
    out.sort(key=lambda p: p.last_ns)
    return out


def freezes(folder):
    """When the whole machine stood still, as a virtual one does now and then: nothing on any connection for long."""
    times = sorted(s.ns for flow in flows(folder / "broker.pcap").values() for s in flow)
    return [(a, b) for a, b in zip(times, times[1:]) if b - a > FREEZE_NS]


def touched(pauses, begin_ns, end_ns):
    return any(begin_ns < b and end_ns > a for a, b in pauses)


# What captures say. All times in microseconds.


def steps_at_gateway(flow, samples):
    """What passes between an arrival at the gateway's veth and what leaves in answer to it."""
    asked, replied, settled = {}, {}, None
    acked_id = {}
    for p in packets(flow):
        if p.kind == PUBLISH and not p.up:
            asked[p.mac] = p
        elif p.kind == PUBLISH:
            command = asked[p.mac]
            if settled is None or settled.last_ns < command.last_ns:
                samples["gateway idle: command in to reply out"].append((p.first_ns - command.last_ns) / 1e3)
            else:
                samples["gateway queued: PUBACK out to next reply out"].append((p.first_ns - settled.last_ns) / 1e3)
            replied[p.id] = p
        elif p.kind == PUBACK and not p.up:
            acked_id = p
        elif p.kind == PUBACK:
            samples["gateway: PUBACK in to PUBACK out"].append((p.first_ns - acked_id.last_ns) / 1e3)
            settled = p


def steps_at_broker(all_flows, samples):
    """The same at the broker's veth, across connections by the device's address."""
    commands, replies = {}, {}
    every = []
    for (host, port), flow in all_flows.items():
        every += [(p.last_ns, host, port, p) for p in packets(flow) if p.kind in (PUBLISH, PUBACK)]
    every.sort(key=lambda e: e[0])
    waiting, freed = {}, {}
    for _, host, port, p in every:
        gateway = host >= 10
        if p.kind == PUBLISH and p.up:
            (replies if gateway else commands)[p.mac] = p.last_ns
            if gateway:
                waiting[host, p.id] = p.last_ns
        elif p.kind == PUBLISH:
            came = (commands if gateway else replies).pop(p.mac, None)
            if came and gateway:
                samples["broker: command in to command out"].append((p.first_ns - came) / 1e3)
            elif came:
                samples["broker: reply in to reply out"].append((p.first_ns - came) / 1e3)
            if gateway and host in freed:
                # Longer than this, and there was no command to send.
                took = (p.first_ns - freed.pop(host)) / 1e3
                if took < 2_000:
                    samples["broker: PUBACK in to next command out"].append(took)
        elif gateway and p.up:
            freed[host] = p.last_ns
        elif gateway:
            came = waiting.pop((host, p.id), None)
            if came:
                samples["broker: reply in to PUBACK out"].append((p.first_ns - came) / 1e3)


def wire(here, there, samples):
    """From one veth to the other, by sequence numbers."""
    seen = {}
    for s in here:
        seen.setdefault((s.up, s.seq, s.ack, len(s.data)), s.ns)
    for s in there:
        ns = seen.get((s.up, s.seq, s.ack, len(s.data)))
        if ns:
            samples["wire: gateway to broker" if s.up else "wire: broker to gateway"].append(abs(s.ns - ns) / 1e3)


def replies(flow, samples):
    """Each reply: how long its PUBACK took, and whether the broker's next command came before it was out.

    The broker answers the gateway's PUBACK with the next command, which stays unacknowledged, and then has to answer
    the reply. If the command arrives before the reply's last segment leaves, that segment acknowledges it. If it
    arrives later, Nagle's algorithm holds the answer until the gateway's delayed ACK: a stall.
    """
    all_packets = packets(flow)
    settled = [p.last_ns for p in all_packets if p.kind == PUBACK and p.up]
    answers = {}
    for p in all_packets:
        if p.kind == PUBACK and not p.up:
            answers.setdefault(p.id, []).append(p.first_ns)
    commands = sorted(p.first_ns for p in all_packets if p.kind == PUBLISH and not p.up)
    out = []
    for reply in (p for p in all_packets if p.kind == PUBLISH and p.up):
        answer = next((ns for ns in answers.get(reply.id, []) if ns > reply.last_ns), None)
        before = bisect.bisect_right(settled, reply.first_ns) - 1
        if answer is None or before < 0:
            continue
        began = settled[before]
        came = commands[bisect.bisect_right(commands, began):bisect.bisect_right(commands, answer)]
        if not came:
            order = "none"
        elif came[-1] > reply.last_ns:
            order = "after the reply"
        else:
            order = "before the reply's end"
        # Only where the gateway had a command already is it a race; else the command is what it waited for.
        if order != "none" and reply.last_ns - began < 2_000_000:
            samples["race: gateway's PUBACK out to the end of its reply"].append((reply.last_ns - began) / 1e3)
            samples["race: gateway's PUBACK out to next command in"].append((came[0] - began) / 1e3)
        out.append((reply.last_ns, (answer - reply.last_ns) / 1e3, order))
    return out


def delayed_acks(flow):
    """How long each pure ACK of the gateway comes after the first segment that it acknowledges, if that is long."""
    first, out = None, []
    for s in flow:
        if not s.up and s.data:
            first = first or s.ns
        elif s.up:
            if not s.data and first and (s.ns - first) / 1e3 > STALL_US:
                out.append((s.ns - first) / 1e3)
            first = None
    return out


# Tables.


def at(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def moments(values):
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    skew = statistics.fmean(((v - mean) / deviation) ** 3 for v in values) if deviation else 0.0
    return mean, deviation, skew


def describe(values):
    """The median and a sigma make a log-normal fit; the quartiles' sigma leaves a scheduler's tail out."""
    ordered = sorted(v for v in values if 0 < v < FREEZE_NS / 1e3)
    if len(ordered) < 20:
        return None
    mean, deviation, _ = moments(ordered)
    logs = [math.log(v) for v in ordered]
    return {"n": len(ordered), "p10": at(ordered, 0.1), "p50": at(ordered, 0.5), "p90": at(ordered, 0.9),
            "p99": at(ordered, 0.99), "mean": mean, "sd": deviation, "sigma_of_ln": statistics.pstdev(logs),
            "sigma_by_quartiles": (math.log(at(ordered, 0.75)) - math.log(at(ordered, 0.25))) / 1.349}


def in_program(path, samples):
    """What the gateway itself says."""
    last = None
    with path.open() as file:
        for row in csv.DictReader(file):
            row = {k: int(v) for k, v in row.items()}
            if last is None or last["acked_ns"] < row["read_ns"]:
                samples["program idle: bytes read to reply's write"].append((row["reply_ns"] - row["read_ns"]) / 1e3)
            else:
                queued = "program queued: PUBACK written to next reply's write"
                samples[queued].append((row["reply_ns"] - last["acked_ns"]) / 1e3)
            samples["program: command taken to reply's write"].append((row["reply_ns"] - row["taken_ns"]) / 1e3)
            samples["program: writes of the reply"].append((row["written_ns"] - row["reply_ns"]) / 1e3)
            samples["program: writes of the PUBACK"].append((row["acked_ns"] - row["puback_ns"]) / 1e3)
            last = row


def steps(folder):
    samples = defaultdict(list)
    broker = flows(folder / "broker.pcap")
    steps_at_broker(broker, samples)
    for g in (0, 1):
        if not (folder / f"gw{g}.pcap").exists():
            continue
        for key, flow in flows(folder / f"gw{g}.pcap").items():
            steps_at_gateway(flow, samples)
            wire(flow, broker[key], samples)
            replies(flow, samples)
        in_program(folder / f"gw{g}.csv", samples)
    return {name: describe(values) for name, values in sorted(samples.items())}


def hill(folder, warm_s=8):
    """Latencies of pairs, and what each gateway's messages took. The first seconds are left out, and the end."""
    with (folder / "pairs.csv").open() as file:
        rows = [(int(r["started_ns"]), int(r["latency_us"]) / 1e3) for r in csv.DictReader(file)]
    warm_ns = min(r[0] for r in rows) + warm_s * 10**9
    end_ns = max(r[0] for r in rows)
    pauses = freezes(folder)
    pairs = sorted(ms for ns, ms in rows if ns > warm_ns and not touched(pauses, ns, ns + ms * 1e6))
    gateways = []
    for g in (0, 1):
        for flow in flows(folder / f"gw{g}.pcap").values():
            flow = [s for s in flow if s.ns < end_ns]
            waits = [r for r in replies(flow, defaultdict(list)) if r[0] > warm_ns]
            waits = [r for r in waits if not touched(pauses, r[0], r[0] + r[1] * 1e3)]
            gateways.append((g, waits, delayed_acks(flow)))
    return pairs, gateways, pauses


def rows_of(folder, busy):
    """One run as rows of the four tables."""
    pairs, gateways, pauses = hill(folder)
    mean, deviation, skew = moments(pairs)
    name = folder.name
    tables = defaultdict(list)
    tables["pairs"].append({
        "case": name, "machine_cpu": f"{busy:.2f}", "pairs": len(pairs), "mean_ms": f"{mean:.0f}",
        "sd_ms": f"{deviation:.0f}", "skew": f"{skew:.2f}",
        **{f"p{round(100 * q):02}_ms": f"{at(pairs, q):.0f}" for q in (0.01, 0.1, 0.5, 0.9, 0.99)},
        "max_ms": f"{pairs[-1]:.0f}"})
    bins = Counter(int(ms // 50) * 50 for ms in pairs)
    tables["histogram"] += [{"case": name, "bin_low_ms": b, "pairs": bins[b]} for b in sorted(bins)]
    for g, waits, acks in gateways:
        took = [(b[0] - a[0]) / 1e6 for a, b in zip(waits, waits[1:]) if not touched(pauses, a[0], b[0])]
        stalled = sorted(w[1] / 1e3 for w in waits if w[1] > STALL_US)
        mean, deviation, skew = moments(took)
        acks = sorted(a / 1e3 for a in acks)
        # Whether a stall makes the next one likelier.
        flags = [w[1] > STALL_US for w in waits]
        again = sum(a and b for a, b in zip(flags, flags[1:])) / max(1, sum(flags[:-1]))
        tables["messages"].append({
            "case": name, "gateway": g, "messages": len(waits), "mean_ms": f"{mean:.1f}", "sd_ms": f"{deviation:.1f}",
            "skew": f"{skew:.1f}", "stalled": f"{len(stalled) / len(waits):.3f}",
            "stalled_after_a_stall": f"{again:.3f}", "stalled_over_60_ms": sum(w > 60 for w in stalled),
            "stall_p50_ms": f"{at(stalled, 0.5):.1f}" if stalled else "",
            "stall_p99_ms": f"{at(stalled, 0.99):.1f}" if stalled else "",
            "stall_max_ms": f"{stalled[-1]:.1f}" if stalled else "", "delayed_acks": len(acks),
            "delayed_ack_p50_ms": f"{at(acks, 0.5):.1f}" if acks else "",
            "delayed_ack_p99_ms": f"{at(acks, 0.99):.1f}" if acks else "",
            "delayed_ack_max_ms": f"{acks[-1]:.1f}" if acks else ""})
        for order in ("before the reply's end", "after the reply", "none"):
            some = [w[1] > STALL_US for w in waits if w[2] == order]
            tables["race"].append({"case": name, "gateway": g, "next_command_came": order, "replies": len(some),
                                   "stalled": sum(some)})
    return tables


def step_rows(folder):
    rows = []
    for step, numbers in steps(folder).items():
        # With 50 pairs under way these wait in queues and for acknowledgements; alone there is no race.
        queued = step in ("broker: command in to command out", "broker: reply in to PUBACK out")
        alone = step.startswith("race") or step == "broker: PUBACK in to next command out"
        if numbers and not (alone if folder.name.startswith("round_trip_") else queued):
            rows.append({"case": folder.name, "step": step,
                         **{k: v if k == "n" else f"{v:.2f}" for k, v in numbers.items()}})
    return rows
