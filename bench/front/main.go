// The crowd in front of the server: streams in a closed loop, each request on a connection of its own as the gateway opens it.
// In Go, so that the clients are not what is measured. Prints one JSON object.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type crowd struct {
	socket           string
	body             string
	requests         atomic.Int64
	tokens, events   atomic.Int64
	failed           atomic.Int64
	mutex            sync.Mutex
	gaps, firsts     []int64
	firstError       error
	usage, noChoices string
	wantedTokens     int64
}

func buildBody(tokensIn, tokensOut int) string {
	ids := make([]string, tokensIn)
	for index := range ids {
		ids[index] = strconv.Itoa(2 + index*31%1000)
	}
	return fmt.Sprintf(`{"model": "bench", "stream": true, "stream_options": {"include_usage": true}, "ignore_eos": true,`+
		` "max_tokens": %d, "prompt": [%s]}`, tokensOut, strings.Join(ids, ", "))
}

func (c *crowd) drive() {
	gaps, firsts := []int64{}, []int64{}
	for c.requests.Add(-1) >= 0 {
		var err error
		if gaps, firsts, err = c.ask(gaps, firsts); err != nil {
			c.failed.Add(1)
			c.mutex.Lock()
			c.firstError = err
			c.mutex.Unlock()
		}
	}
	c.mutex.Lock()
	c.gaps, c.firsts = append(c.gaps, gaps...), append(c.firsts, firsts...)
	c.mutex.Unlock()
}

func (c *crowd) ask(gaps, firsts []int64) ([]int64, []int64, error) {
	last := time.Now()
	connection, err := net.Dial("unix", c.socket)
	for errors.Is(err, syscall.EAGAIN) { // the server's accept queue is full
		time.Sleep(time.Millisecond)
		connection, err = net.Dial("unix", c.socket)
	}
	if err != nil {
		return gaps, firsts, err
	}
	defer connection.Close()
	fmt.Fprintf(connection, "POST /v1/completions HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(c.body), c.body)
	reader, first, tokens := bufio.NewReaderSize(connection, 4096), true, int64(0)
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return gaps, firsts, fmt.Errorf("after %d tokens: %w", tokens, err)
		}
		text := string(line)
		switch {
		case strings.HasPrefix(text, "data: [DONE]"):
			if tokens != c.wantedTokens {
				return gaps, firsts, fmt.Errorf("%d tokens instead of %d", tokens, c.wantedTokens)
			}
			return gaps, firsts, nil
		case strings.HasPrefix(text, "HTTP/1.1 ") && !strings.HasPrefix(text, "HTTP/1.1 200"):
			return gaps, firsts, fmt.Errorf("%s", text)
		case strings.Contains(text, c.noChoices):
			_, after, _ := strings.Cut(text, c.usage)
			digits := after[:strings.IndexAny(after, ",}")]
			tokens, _ = strconv.ParseInt(digits, 10, 64)
			c.tokens.Add(tokens)
		case strings.HasPrefix(text, "data: "):
			c.events.Add(1)
			now := time.Now()
			gap := now.Sub(last).Microseconds()
			if first {
				firsts, first = append(firsts, gap), false
			} else {
				gaps = append(gaps, gap)
			}
			last = now
		}
	}
}

func percentile(values []int64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return float64(values[int(float64(len(values)-1)*share)]) / 1000
}

func main() {
	socket := flag.String("socket", "", "the server's")
	streams := flag.Int("streams", 256, "requests under way at any time")
	requests := flag.Int64("requests", 1024, "in all")
	tokensIn := flag.Int("tokens-in", 512, "of a prompt")
	tokensOut := flag.Int("tokens-out", 256, "of an answer")
	flag.Parse()
	c := &crowd{socket: *socket, body: buildBody(*tokensIn, *tokensOut), wantedTokens: int64(*tokensOut),
		usage: `"completion_tokens":`, noChoices: `"choices":[],`}
	c.requests.Store(*requests)
	begin := time.Now()
	var all sync.WaitGroup
	for range *streams {
		all.Add(1)
		go func() {
			defer all.Done()
			c.drive()
		}()
	}
	all.Wait()
	seconds := time.Since(begin).Seconds()
	if c.firstError != nil {
		fmt.Fprintln(os.Stderr, c.firstError)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"seconds": seconds, "tokens": c.tokens.Load(), "events": c.events.Load(), "failed": c.failed.Load(),
		"itl_p50_ms": percentile(c.gaps, 0.5), "itl_p99_ms": percentile(c.gaps, 0.99),
		"ttft_p50_ms": percentile(c.firsts, 0.5), "ttft_p99_ms": percentile(c.firsts, 0.99),
	})
}
