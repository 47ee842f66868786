"""The peers' app on plain WSGI, for gunicorn."""

import hashlib
import ipaddress
import json
import time


def pattern(n: int) -> bytes:
    return (bytes(range(251)) * (n // 251 + 1))[:n]


def read_all(environ):
    while chunk := environ["wsgi.input"].read(65536):
        yield chunk


def app(environ, start_response):
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]

    def answer(body: bytes, status: str = "200 OK", headers: tuple = ()):
        start_response(status, [("content-type", "text/plain"), ("content-length", str(len(body))), *headers])
        return [] if method == "HEAD" else [body]

    if path == "/":
        return answer(b"hello\n")
    if path == "/echo":
        return answer(b"".join(read_all(environ)))
    if path == "/sha":
        hasher, length = hashlib.sha256(), 0
        for chunk in read_all(environ):
            hasher.update(chunk)
            length += len(chunk)
        return answer(json.dumps({"length": length, "sha256": hasher.hexdigest()}).encode())
    if path.startswith("/bytes/"):
        return answer(pattern(int(path[7:])))
    if path.startswith("/stream/"):
        start_response("200 OK", [("content-type", "text/plain")])
        return (f"line {i}\n".encode() for i in range(int(path[8:])))
    if path.startswith("/events/"):
        start_response("200 OK", [("content-type", "text/event-stream")])

        def body():
            for i in range(int(path[8:])):
                yield f"data: {i}\n\n".encode()
            for _ in range(50):  # a thread notices only when it writes that the client is gone
                time.sleep(0.1)
                yield b":\n\n"

        return body()
    if path.startswith("/status/"):
        code = path[8:]
        if code in ("204", "304"):
            start_response(f"{code} Nothing", [])
            return []
        return answer(f"status {code}\n".encode(), f"{code} As Asked")
    if path == "/etag":
        if environ.get("HTTP_IF_NONE_MATCH") == '"v1"':
            start_response("304 Not Modified", [("etag", '"v1"')])
            return []
        return answer(b"version 1\n", headers=(("etag", '"v1"'),))
    if path == "/refuse":
        return answer(b"too much\n", "413 Content Too Large", (("connection", "close"),))
    if path == "/who":
        headers = {k[5:].replace("_", "-").lower(): v for k, v in environ.items() if k.startswith("HTTP_")}
        return answer(json.dumps({"peer": environ["REMOTE_ADDR"], "headers": headers}).encode())
    if path == "/admin":
        if not ipaddress.ip_address(environ["REMOTE_ADDR"]).is_loopback:
            return answer(b"from outside\n", "403 Forbidden")
        return answer(b"admin\n")
    return answer(b"nothing here\n", "404 Not Found")
