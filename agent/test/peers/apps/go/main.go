// Command peers is everything that the tests want from Go: a net/http server, a net/http client, gRPC's own interop
// server and client, and a page made by client_golang.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fail("say which: server, client URL, grpc-server, grpc-client ADDRESS")
	}
	switch os.Args[1] {
	case "server":
		serve()
	case "client":
		ask(os.Args[2])
	case "grpc-server":
		serveGrpc()
	case "grpc-client":
		askGrpc(os.Args[2])
	default:
		fail("unknown: " + os.Args[1])
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
