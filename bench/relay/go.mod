module pagoda.dev/bench/relay

go 1.24
