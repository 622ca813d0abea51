package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The crowd in front of the gateway. What it saw goes to standard output as one JSON object a line, so that whoever
// measures the gateway's CPU can read it at the same moments: "open" (every stream has had its first line),
// "window" (the window is over), "end".
type crowd struct {
	address       string
	target        string
	streams       int
	ramp, window  time.Duration
	opened, lines atomic.Int64
	failed        atomic.Int64
	measuring     atomic.Bool
	mutex         sync.Mutex
	latencies     []int64
}

func (c *crowd) run() {
	var open, all sync.WaitGroup
	for range c.streams {
		open.Add(1)
		all.Add(1)
		go func() {
			defer all.Done()
			c.stream(sync.OnceFunc(open.Done))
		}()
		time.Sleep(c.ramp / time.Duration(c.streams))
	}
	open.Wait()
	c.measuring.Store(true)
	c.say("open")
	time.Sleep(c.window)
	c.measuring.Store(false)
	c.say("window")
	all.Wait()
	c.say("end")
}

func (c *crowd) stream(opened func()) {
	defer opened()
	network := "tcp"
	if strings.HasPrefix(c.address, "/") {
		network = "unix"
	}
	connection, err := net.DialTimeout(network, c.address, 30*time.Second)
	if err != nil {
		c.failed.Add(1)
		return
	}
	defer connection.Close()
	body := `{"stream": true, "max_tokens": 16, "prompt": "` + strings.Repeat("p", 2000) + `"}`
	fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer none\r\nAccept: */*\r\n"+
		"User-Agent: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", c.target, len(body), body)
	if err := c.read(bufio.NewReaderSize(connection, 1024), opened); err != nil {
		c.failed.Add(1)
	}
}

// read counts events and pings until the chunk of length zero; anything else that ends the stream is a failure.
func (c *crowd) read(reader *bufio.Reader, opened func()) error {
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(line, "data: "):
			c.lines.Add(1)
			c.note(line)
			opened()
		case strings.HasPrefix(line, ": ping"):
			c.lines.Add(1)
			opened()
		case line == "0\r\n":
			return nil
		}
	}
}

func (c *crowd) note(line string) {
	sent, err := strconv.ParseInt(strings.Fields(line)[1], 10, 64)
	if err != nil || !c.measuring.Load() {
		return
	}
	c.mutex.Lock()
	c.latencies = append(c.latencies, time.Now().UnixMicro()-sent)
	c.mutex.Unlock()
}

func (c *crowd) percentile(share float64) float64 {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.latencies) == 0 {
		return 0
	}
	slices.Sort(c.latencies)
	return float64(c.latencies[int(float64(len(c.latencies)-1)*share)]) / 1000
}

func (c *crowd) say(event string) {
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"event": event, "lines": c.lines.Load(), "failed": c.failed.Load(),
		"p50_ms": c.percentile(0.5), "p99_ms": c.percentile(0.99),
	})
}
