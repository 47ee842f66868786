"""The peers' app on Python's http.server as it comes: HTTP/1.0, each answer ends with its connection."""

import hashlib
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def pattern(n: int) -> bytes:
    return (bytes(range(251)) * (n // 251 + 1))[:n]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def read_body(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":  # http.server itself knows no chunks
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        left = int(self.headers.get("content-length", 0))
        while left > 0 and (chunk := self.rfile.read(min(65536, left))):
            left -= len(chunk)
            yield chunk

    def answer(self, body: bytes = b"", status: int = 200, with_length: bool = True, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if with_length and status not in (204, 304):
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path
        if path == "/":
            self.answer(b"hello\n")
        elif path.startswith("/bytes/"):
            self.answer(pattern(int(path[7:])))
        elif path.startswith("/stream/"):
            self.answer(with_length=False)
            for i in range(int(path[8:])):
                self.wfile.write(f"line {i}\n".encode())
        elif path.startswith("/events/"):
            self.answer("".join(f"data: {i}\n\n" for i in range(int(path[8:]))).encode(), with_length=False, **{"content-type": "text/event-stream"})
            try:
                for _ in range(50):  # until the client goes, which a write notices
                    time.sleep(0.1)
                    self.wfile.write(b":\n\n")
            except OSError:
                pass
        elif path.startswith("/status/"):
            code = int(path[8:])
            self.answer(b"" if code in (204, 304) else f"status {code}\n".encode(), code)
        elif path == "/etag":
            if self.headers.get("if-none-match") == '"v1"':
                self.answer(status=304, etag='"v1"')
            else:
                self.answer(b"version 1\n", etag='"v1"')
        elif path == "/who":
            headers = {k.lower(): v for k, v in self.headers.items()}
            self.answer(json.dumps({"peer": self.client_address[0], "headers": headers}).encode())
        else:
            self.answer(b"nothing here\n", 404)

    do_HEAD = do_GET

    def do_POST(self):
        if self.path == "/refuse":
            self.answer(b"too much\n", 413)
        elif self.path == "/echo":
            self.answer(b"".join(self.read_body()))
        elif self.path == "/sha":
            hasher, length = hashlib.sha256(), 0
            for chunk in self.read_body():
                hasher.update(chunk)
                length += len(chunk)
            self.answer(json.dumps({"length": length, "sha256": hasher.hexdigest()}).encode())


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
