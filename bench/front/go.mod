module pagoda.dev/bench/front

go 1.24
