// The two ends of the relay's benchmark: a source of event streams behind the gateway, a crowd of clients in front of it.
package main

import (
	"flag"
	"log"
	"time"
)

func main() {
	source := flag.String("source", "", "be the model server on this unix socket")
	c := &crowd{}
	flag.StringVar(&c.address, "address", "", "be the clients of this HOST:PORT or unix socket")
	flag.StringVar(&c.target, "target", "/v1/completions", "path and query")
	flag.IntVar(&c.streams, "streams", 500, "how many at once")
	flag.DurationVar(&c.ramp, "ramp", 5*time.Second, "the time to open them in")
	flag.DurationVar(&c.window, "window", 10*time.Second, "the time to measure once all are open")
	flag.Parse()
	if *source != "" {
		log.Fatal(serveSource(*source))
	}
	c.run()
}
