"""grpcio against gRPC's interoperability server. The messages are written by hand, so that no generated code is needed."""

import sys

import grpc

SERVICE = "/grpc.testing.TestService/"
raw = {"request_serializer": None, "response_deserializer": None}

with grpc.insecure_channel(sys.argv[1]) as channel:
    assert channel.unary_unary(SERVICE + "EmptyCall", **raw)(b"", timeout=20) == b""

    # SimpleRequest.response_size = 100000; SimpleResponse.payload.body of that many zeros.
    answer = channel.unary_unary(SERVICE + "UnaryCall", **raw)(b"\x10\xa0\x8d\x06", timeout=20)
    assert answer.count(b"\0") >= 100_000, len(answer)

    # StreamingOutputCallRequest.response_parameters.size = 10, three times: one answer each.
    wanted = b"\x12\x02\x08\x0a" * 3
    assert len(list(channel.unary_stream(SERVICE + "StreamingOutputCall", **raw)(wanted, timeout=20))) == 3
    asked = iter([b"\x12\x02\x08\x0a"] * 5)
    assert len(list(channel.stream_stream(SERVICE + "FullDuplexCall", **raw)(asked, timeout=20))) == 5
    # Payloads of 5 bytes, four times: aggregated_payload_size = 20.
    told = channel.stream_unary(SERVICE + "StreamingInputCall", **raw)(iter([b"\x0a\x07\x12\x05abcde"] * 4), timeout=20)
    assert told == b"\x08\x14", told

    try:
        channel.unary_unary(SERVICE + "NoSuchCall", **raw)(b"", timeout=20)
        raise AssertionError("an unknown method was answered")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
print("all well")
