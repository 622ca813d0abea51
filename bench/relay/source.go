package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// The model server as the gateway sees it: /ready, /load, and streams whose length and pace the URL says.
const load = `{"tokens_per_second": 1, "running": 0, "waiting": 0, "backlog_tokens": 0,
 "capacity_tokens_per_second": null, "capacity_source": null, "max_num_seqs": 100000}`

// A chunk is about as long as one token's event of a chat completion; it begins with the time it was sent.
var padding = bytes.Repeat([]byte("x"), 120)

func serveSource(socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	mux.HandleFunc("/load", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, load) })
	mux.HandleFunc("/v1/completions", stream)
	return http.Serve(listener, mux)
}

func stream(w http.ResponseWriter, r *http.Request) {
	chunks, _ := strconv.Atoi(r.URL.Query().Get("chunks"))
	gap, _ := time.ParseDuration(r.URL.Query().Get("gap"))
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	ticker := time.NewTicker(max(gap, time.Microsecond))
	defer ticker.Stop()
	for range chunks {
		if _, err := fmt.Fprintf(w, "data: %d %s\n\n", time.Now().UnixMicro(), padding); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}
