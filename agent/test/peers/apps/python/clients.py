"""What requests and httpx do as clients of the peers' app. Ends with the first thing that is not as it should be."""

import hashlib
import sys

import httpx
import requests

base = sys.argv[1]
BODY = (bytes(range(251)) * 12600)[: 3 << 20]
SHA = {"length": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()}


def pieces():
    for at in range(0, len(BODY), 10_000):
        yield BODY[at : at + 10_000]


def with_requests():
    with requests.Session() as session:
        for _ in range(3):
            answer = session.get(base + "/")
            assert answer.status_code == 200 and answer.text == "hello\n", answer
        assert len(session.get_adapter(base).poolmanager.connection_from_url(base).pool.queue) > 0
        assert session.post(base + "/sha", data=BODY).json() == SHA
        assert session.post(base + "/sha", data=pieces()).json() == SHA
        assert session.get(base + "/bytes/3162600").content[: len(BODY)] == BODY
        assert session.head(base + "/bytes/1000").headers["content-length"] == "1000"
        assert session.get(base + "/etag", headers={"if-none-match": '"v1"'}).status_code == 304
        assert session.get(base + "/status/503").status_code == 503
        lines = list(session.get(base + "/stream/50", stream=True).iter_lines())
        assert lines == [f"line {i}".encode() for i in range(50)], lines
        with session.get(base + "/events/2", stream=True, timeout=20) as events:
            assert next(events.iter_lines()) == b"data: 0"
        who = session.get(base + "/who", headers={"x-request-id": "from-requests"}).json()
        assert who["headers"]["x-request-id"] == "from-requests", who
        files = {"file": ("a.bin", BODY[:100_000], "application/octet-stream")}
        echoed = session.post(base + "/echo", files=files)
        assert BODY[:100_000] in echoed.content and "multipart/form-data" in echoed.request.headers["content-type"]


def with_httpx():
    with httpx.Client(timeout=20) as client:
        for _ in range(3):
            answer = client.get(base + "/")
            assert answer.text == "hello\n" and answer.http_version == "HTTP/1.1"
        assert client.post(base + "/sha", content=BODY).json() == SHA
        assert client.post(base + "/sha", content=pieces()).json() == SHA
        assert client.get(base + "/bytes/3162600").content[: len(BODY)] == BODY
        assert client.head(base + "/bytes/1000").headers["content-length"] == "1000"
        with client.stream("GET", base + "/events/2") as events:
            assert next(events.iter_lines()) == "data: 0"
        assert client.get(base + "/status/404").status_code == 404


{"requests": with_requests, "httpx": with_httpx}[sys.argv[2]]()
print("all well")
