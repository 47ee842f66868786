"""An app on FastAPI as one writes it: nothing about signals, which uvicorn takes care of in its own way."""

import asyncio
import hashlib
import os

from fastapi import FastAPI, Request, Response

app = FastAPI()

DOWNLOAD_BYTES = int(os.environ["DOWNLOAD_BYTES"])
DOWNLOAD = (bytes(range(251)) * (DOWNLOAD_BYTES // 251 + 1))[:DOWNLOAD_BYTES]
SLOW_SECONDS = 0.1


@app.get("/quick")
async def quick():
    return {"hello": "world"}


@app.get("/slow")
async def slow():
    await asyncio.sleep(SLOW_SECONDS)
    return {"slow": True}


@app.post("/upload")
async def upload(request: Request):
    hasher, length = hashlib.sha256(), 0
    async for chunk in request.stream():
        hasher.update(chunk)
        length += len(chunk)
    return {"length": length, "sha256": hasher.hexdigest()}


@app.get("/download")
async def download():
    return Response(DOWNLOAD, media_type="application/octet-stream")
