module outrigger.dev/bench/drain

go 1.19
