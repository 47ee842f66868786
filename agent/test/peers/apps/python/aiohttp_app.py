"""The peers' app on aiohttp's own server."""

import asyncio
import hashlib

from aiohttp import web

routes = web.RouteTableDef()


def pattern(n: int) -> bytes:
    return (bytes(range(251)) * (n // 251 + 1))[:n]


@routes.get("/")
async def hello(request):
    return web.Response(text="hello\n")


@routes.post("/echo")
async def echo(request):
    return web.Response(body=await request.read())


@routes.post("/sha")
async def sha(request):
    hasher, length = hashlib.sha256(), 0
    async for chunk in request.content.iter_any():
        hasher.update(chunk)
        length += len(chunk)
    return web.json_response({"length": length, "sha256": hasher.hexdigest()})


@routes.get("/bytes/{n}")
async def many(request):
    return web.Response(body=pattern(int(request.match_info["n"])))


@routes.get("/stream/{n}")
async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for i in range(int(request.match_info["n"])):
        await response.write(f"line {i}\n".encode())
    return response


@routes.get("/events/{n}")
async def events(request):
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for i in range(int(request.match_info["n"])):
        await response.write(f"data: {i}\n\n".encode())
    for _ in range(50):  # until the client goes, which a write notices
        await asyncio.sleep(0.1)
        await response.write(b":\n\n")
    return response


@routes.get("/status/{code}")
async def status(request):
    code = int(request.match_info["code"])
    return web.Response(status=code, text=None if code in (204, 304) else f"status {code}\n")


@routes.get("/etag")
async def etag(request):
    if request.headers.get("if-none-match") == '"v1"':
        return web.Response(status=304, headers={"etag": '"v1"'})
    return web.Response(text="version 1\n", headers={"etag": '"v1"'})


@routes.post("/refuse")
async def refuse(request):
    response = web.Response(status=413, text="too much\n")
    response.force_close()
    return response


@routes.get("/who")
async def who(request):
    headers = {k.lower(): v for k, v in request.headers.items()}
    return web.json_response({"peer": request.remote, "headers": headers})


async def main():
    app = web.Application(client_max_size=2**30)
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"listening on 127.0.0.1:{site._server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
