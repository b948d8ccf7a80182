// A gateway as the thesis' emulator is one, and the load that it is measured with. One file, standard library alone.
//
//	gateway: takes commands one at a time; for each: parse, build the reply, publish it with QoS 1, wait for its
//	         PUBACK, then acknowledge the command, as paho.golang does when a handler returns.
//	load:    keeps pairs of commands under way over two publishers and two subscribers, as the thesis' 50 workers and
//	         4 routers do, and writes down how long each pair took.
//
// The framing is by hand, to have the library's system calls: paho.golang's autopaho wraps its connection, so that
// net.Buffers can't use writev, and each packet leaves in several writes (fixed header, variable header, payload).
// With TCP_NODELAY, which Go sets, that is as many segments. It reads without a buffer, too: type, length, rest.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Types of MQTT packets, shifted as they stand in a fixed header.
const (
	connack = 0x20
	publish = 0x30
	puback  = 0x40
)

type command struct {
	DeviceMac string            `json:"deviceMac"`
	Type      int               `json:"type"`
	Fields    map[string]string `json:"fields"`
}

type reply struct {
	DeviceMac string `json:"deviceMac"`
	Ack       bool   `json:"ack"`
}

// A packet that has arrived, and when its last byte had been read.
type packet struct {
	kind    byte
	flags   byte
	body    []byte
	read_ns int64
}

// One MQTT connection.
type client struct {
	conn    net.Conn
	v5      bool
	split   bool // several writes a packet, as paho.golang; else one
	writing sync.Mutex
	waiting sync.Mutex
	acked   map[uint16]chan struct{}
	last_id uint16
	inbox   chan packet
}

func now_ns() int64 { return time.Now().UnixNano() }

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func text(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }

func length(n int) []byte {
	out := []byte{}
	for {
		digit := byte(n & 127)
		n >>= 7
		if n == 0 {
			return append(out, digit)
		}
		out = append(out, digit|128)
	}
}

// Writes a packet: its fixed header and then the parts, in as many writes as there are parts with something in them.
func (c *client) write(first byte, parts ...[]byte) {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	buffers := net.Buffers(append([][]byte{append([]byte{first}, length(size)...)}, parts...))
	c.writing.Lock()
	defer c.writing.Unlock()
	if !c.split {
		_, err := buffers.WriteTo(c.conn)
		must(err)
		return
	}
	for _, part := range buffers {
		if len(part) > 0 {
			_, err := c.conn.Write(part)
			must(err)
		}
	}
}

func (c *client) read() (packet, error) {
	one := [1]byte{}
	if _, err := io.ReadFull(c.conn, one[:]); err != nil {
		return packet{}, err
	}
	first, size, shift := one[0], 0, 0
	for {
		if _, err := io.ReadFull(c.conn, one[:]); err != nil {
			return packet{}, err
		}
		size |= int(one[0]&127) << shift
		shift += 7
		if one[0] < 128 {
			break
		}
	}
	body := make([]byte, size)
	_, err := io.ReadFull(c.conn, body)
	return packet{first & 0xF0, first & 0x0F, body, now_ns()}, err
}

func connect(address, name string, v5, split bool) *client {
	conn, err := net.Dial("tcp", address)
	must(err)
	c := &client{conn: conn, v5: v5, split: split, acked: map[uint16]chan struct{}{}, inbox: make(chan packet, 65535)}
	level, properties := byte(4), []byte{}
	if v5 {
		level, properties = 5, []byte{0}
	}
	head := append(text("MQTT"), level, 2, 0, 0)
	c.write(0x10, append(append(head, properties...), text(name)...))
	answer, err := c.read()
	must(err)
	if answer.kind != connack || answer.body[1] != 0 {
		must(fmt.Errorf("the broker refuses: %v", answer))
	}
	go c.incoming()
	return c
}

// Reads packets: replies' PUBACKs wake who waits for them, publishes go to the one handler over a channel.
func (c *client) incoming() {
	for {
		p, err := c.read()
		if err != nil {
			close(c.inbox)
			return
		}
		switch p.kind {
		case puback:
			id := uint16(p.body[0])<<8 | uint16(p.body[1])
			c.waiting.Lock()
			done := c.acked[id]
			delete(c.acked, id)
			c.waiting.Unlock()
			if done != nil {
				done <- struct{}{}
			}
		case publish:
			c.inbox <- p
		}
	}
}

func (c *client) subscribe(topic string) {
	body := []byte{0, 1}
	if c.v5 {
		body = append(body, 0)
	}
	c.write(0x82, append(append(body, text(topic)...), 1))
}

// Publishes with QoS 1. Who waits for the PUBACK reads the channel.
func (c *client) publish(topic string, payload []byte) chan struct{} {
	done := make(chan struct{}, 1)
	c.waiting.Lock()
	for c.last_id++; c.last_id == 0 || c.acked[c.last_id] != nil; c.last_id++ {
	}
	id := c.last_id
	c.acked[id] = done
	c.waiting.Unlock()
	head := append(text(topic), byte(id>>8), byte(id))
	if c.v5 {
		head = append(head, 0)
	}
	c.write(publish|2, head, payload)
	return done
}

// Takes a PUBLISH of QoS 1 apart.
func (c *client) parts(p packet) (topic string, id []byte, payload []byte) {
	end := 2 + int(p.body[0])<<8 + int(p.body[1])
	rest := end + 2
	if c.v5 {
		rest += 1 + int(p.body[rest])
	}
	return string(p.body[2:end]), p.body[end : end+2], p.body[rest:]
}

func (c *client) acknowledge(id []byte) {
	if c.v5 {
		c.write(puback, []byte{id[0], id[1], 0}, []byte{0})
	} else {
		c.write(puback, id)
	}
}

// Works for a log-normal time on the CPU.
func busy(median_us, sigma float64) {
	until := time.Now().Add(time.Duration(1000 * median_us * math.Exp(sigma*rand.NormFloat64())))
	for time.Now().Before(until) {
	}
}

func gateway(args []string) {
	flags := flag.NewFlagSet("gateway", flag.ExitOnError)
	broker := flags.String("broker", "", "address of the broker")
	name := flags.String("name", "gateway", "client id")
	split := flags.Bool("split", true, "several writes a packet, as paho.golang's autopaho")
	logs := flags.Bool("log", true, "a line to stdout for each command, as the thesis' emulator")
	median_us := flags.Float64("busy", 0, "further handling time: median in us")
	sigma := flags.Float64("sigma", 0, "and its sigma")
	out := flags.String("out", "", "file for the times")
	must(flags.Parse(args))
	rand.Seed(now_ns())

	type times struct{ read, taken, reply, written, puback, acked int64 }
	var lock sync.Mutex
	var all []times
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		lock.Lock()
		file, err := os.Create(*out)
		must(err)
		writer := bufio.NewWriter(file)
		fmt.Fprintln(writer, "read_ns,taken_ns,reply_ns,written_ns,puback_ns,acked_ns")
		for _, t := range all {
			fmt.Fprintf(writer, "%d,%d,%d,%d,%d,%d\n", t.read, t.taken, t.reply, t.written, t.puback, t.acked)
		}
		must(writer.Flush())
		os.Exit(0)
	}()

	lines := log.New(os.Stdout, "", log.LstdFlags)
	c := connect(*broker, *name, true, *split)
	c.subscribe("$share/gateways//gw/+/action")
	for p := range c.inbox {
		t := times{read: p.read_ns, taken: now_ns()}
		topic, id, payload := c.parts(p)
		var asked command
		must(json.Unmarshal(payload, &asked))
		if *logs {
			lines.Printf("acking %s to %s\n", asked.DeviceMac, topic)
		}
		if *median_us > 0 {
			busy(*median_us, *sigma)
		}
		answer, err := json.Marshal(reply{asked.DeviceMac, true})
		must(err)
		// paho.golang starts a goroutine and two contexts for each publish; so do we.
		limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		go func() { <-limit.Done() }()
		t.reply = now_ns()
		done := c.publish(topic[:len(topic)-len("action")]+"response", answer)
		t.written = now_ns()
		<-done
		cancel()
		t.puback = now_ns()
		c.acknowledge(id)
		t.acked = now_ns()
		lock.Lock()
		all = append(all, t)
		lock.Unlock()
	}
}

func load(args []string) {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	broker := flags.String("broker", "", "address of the broker")
	workers := flags.Int("workers", 50, "pairs under way")
	devices := flags.Int("devices", 2, "commands in a pair")
	seconds := flags.Int("seconds", 60, "how long")
	route_ms := flags.Float64("route", 0, "mean time on a command's way to the broker in ms, exponential")
	pause_us := flags.Float64("pause", 0, "mean pause of a worker between two pairs, in us")
	out := flags.String("out", "", "file for the latencies")
	must(flags.Parse(args))
	rand.Seed(now_ns())

	var lock sync.Mutex
	callers := map[string]chan struct{}{}
	for i := 0; i < 2; i++ {
		back := connect(*broker, fmt.Sprintf("bck%d", i), true, true)
		back.subscribe("$share/routers//gw/+/response")
		go func() {
			for p := range back.inbox {
				_, id, payload := back.parts(p)
				var answer reply
				must(json.Unmarshal(payload, &answer))
				lock.Lock()
				caller := callers[answer.DeviceMac]
				delete(callers, answer.DeviceMac)
				lock.Unlock()
				if caller != nil {
					caller <- struct{}{}
				}
				back.acknowledge(id)
			}
		}()
	}
	// The thesis' forward routers use paho.mqtt.golang: MQTT 3.1.1, one write a packet.
	forward := []*client{connect(*broker, "fwd0", false, false), connect(*broker, "fwd1", false, false)}
	time.Sleep(500 * time.Millisecond)

	file, err := os.Create(*out)
	must(err)
	writer := bufio.NewWriter(file)
	fmt.Fprintln(writer, "started_ns,latency_us")
	until := time.Now().Add(time.Duration(*seconds) * time.Second)
	var all sync.WaitGroup
	for w := 0; w < *workers; w++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for n := 0; time.Now().Before(until); n++ {
				began := now_ns()
				replies := make(chan struct{}, *devices)
				for d := 0; d < *devices; d++ {
					mac := fmt.Sprintf("%012x", rand.Int63n(1<<48))
					asked, err := json.Marshal(command{mac, 0, map[string]string{}})
					must(err)
					lock.Lock()
					callers[mac] = replies
					lock.Unlock()
					router := forward[(2*n+d)%2]
					go func() {
						time.Sleep(time.Duration(1e6 * *route_ms * rand.ExpFloat64()))
						router.publish("/gw/001a2b3c4d5e/action", asked)
					}()
				}
				for d := 0; d < *devices; d++ {
					<-replies
				}
				took := now_ns() - began
				lock.Lock()
				fmt.Fprintf(writer, "%d,%d\n", began, took/1000)
				lock.Unlock()
				if *pause_us > 0 {
					time.Sleep(time.Duration(1000 * *pause_us * rand.ExpFloat64()))
				}
			}
		}()
	}
	all.Wait()
	must(writer.Flush())
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "gateway" {
		gateway(os.Args[2:])
	} else if len(os.Args) > 1 && os.Args[1] == "load" {
		load(os.Args[2:])
	} else {
		must(fmt.Errorf("usage: %s gateway|load, see -h of each", os.Args[0]))
	}
}
