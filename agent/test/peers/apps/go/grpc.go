package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// serveGrpc is gRPC's own interoperability server, with gRPC's own health service beside it: each SIGUSR1 turns what it says of shop.Orders over.
func serveGrpc() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	server := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	checks := health.NewServer()
	checks.SetServingStatus("shop.Orders", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, checks)
	turns := make(chan os.Signal, 1)
	signal.Notify(turns, syscall.SIGUSR1)
	go func() {
		for isServing := false; ; isServing = !isServing {
			<-turns
			status := grpc_health_v1.HealthCheckResponse_NOT_SERVING
			if isServing {
				status = grpc_health_v1.HealthCheckResponse_SERVING
			}
			checks.SetServingStatus("shop.Orders", status)
		}
	}()
	fmt.Printf("listening on %s\n", listener.Addr())
	fail(server.Serve(listener))
}

// askGrpc runs gRPC's own interoperability cases; each ends the process when it fails.
func askGrpc(address string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fail(err)
	}
	client := testgrpc.NewTestServiceClient(connection)
	cases := []struct {
		name string
		run  func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)
	}{
		{"empty_unary", interop.DoEmptyUnaryCall},
		{"large_unary", interop.DoLargeUnaryCall},
		{"client_streaming", interop.DoClientStreaming},
		{"server_streaming", interop.DoServerStreaming},
		{"ping_pong", interop.DoPingPong},
		{"empty_stream", interop.DoEmptyStream},
		{"timeout_on_sleeping_server", interop.DoTimeoutOnSleepingServer},
		{"cancel_after_begin", interop.DoCancelAfterBegin},
		{"cancel_after_first_response", interop.DoCancelAfterFirstResponse},
		{"status_code_and_message", interop.DoStatusCodeAndMessage},
		{"special_status_message", interop.DoSpecialStatusMessage},
		{"custom_metadata", interop.DoCustomMetadata},
		{"unimplemented_method", func(ctx context.Context, _ testgrpc.TestServiceClient, _ ...grpc.CallOption) {
			interop.DoUnimplementedMethod(ctx, connection)
		}},
	}
	for _, c := range cases {
		c.run(ctx, client)
		fmt.Println(c.name)
	}
	fmt.Println("all well")
}
