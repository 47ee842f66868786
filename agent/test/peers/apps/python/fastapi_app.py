"""The peers' app on FastAPI, for uvicorn: the same paths as in every other language, and a WebSocket."""

import asyncio
import hashlib
import ipaddress

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from prometheus_client import make_asgi_app

app = FastAPI()


def pattern(n: int) -> bytes:
    """The content of every large body: 0 to 250, over and over."""
    return (bytes(range(251)) * (n // 251 + 1))[:n]


@app.api_route("/", methods=["GET", "HEAD"])
def hello() -> Response:
    return PlainTextResponse("hello\n")


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type=request.headers.get("content-type"))


@app.post("/sha")
async def sha(request: Request) -> Response:
    hasher, length = hashlib.sha256(), 0
    async for chunk in request.stream():
        hasher.update(chunk)
        length += len(chunk)
    return JSONResponse({"length": length, "sha256": hasher.hexdigest()})


@app.api_route("/bytes/{n}", methods=["GET", "HEAD"])
def many(n: int) -> Response:
    return Response(pattern(n), media_type="application/octet-stream")


@app.get("/stream/{n}")
def stream(n: int) -> Response:
    return StreamingResponse((f"line {i}\n" for i in range(n)), media_type="text/plain")


@app.get("/events/{n}")
def events(n: int) -> Response:
    async def body():
        for i in range(n):
            yield f"data: {i}\n\n"
        await asyncio.Event().wait()  # until the client goes

    return StreamingResponse(body(), media_type="text/event-stream")


@app.get("/status/{code}")
def status(code: int) -> Response:
    return Response(status_code=code) if code in (204, 304) else PlainTextResponse(f"status {code}\n", code)


@app.get("/etag")
def etag(request: Request) -> Response:
    headers = {"etag": '"v1"'}
    if request.headers.get("if-none-match") == '"v1"':
        return Response(status_code=304, headers=headers)
    return PlainTextResponse("version 1\n", headers=headers)


@app.post("/refuse")
async def refuse(request: Request) -> Response:
    return PlainTextResponse("too much\n", 413, {"connection": "close"})


@app.get("/who")
def who(request: Request) -> Response:
    return JSONResponse({"peer": request.client.host, "headers": dict(request.headers)})


@app.get("/admin")
def admin(request: Request) -> Response:
    if not ipaddress.ip_address(request.client.host).is_loopback:
        return PlainTextResponse("from outside\n", 403)
    return PlainTextResponse("admin\n")


@app.get("/users/{user_id}/orders/{order_id}")
def order(user_id: str, order_id: int) -> Response:
    return JSONResponse({"user": user_id, "order": order_id})


@app.websocket("/ws")
async def websocket(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                if message["text"] == "close 4001":
                    await socket.close(4001, "as asked")
                    return
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        pass


app.mount("/metrics", make_asgi_app())
