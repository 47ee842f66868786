"""A page made by prometheus_client, with one of everything."""

import threading

from prometheus_client import Counter, Enum, Gauge, Histogram, Info, Summary, start_http_server

orders = Counter("peer_orders", 'Orders, with a \\ and a\nline end.', ["kind"])
orders.labels('quoted " and \\').inc(3, exemplar={"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
orders.labels("ünicode").inc()
Gauge("peer_level", "A level.").set(float("nan"))
Histogram("peer_work_seconds", "Work.").observe(0.2, {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"})
Summary("peer_wait_seconds", "Waiting.").observe(1.5)
Info("peer_build", "Build.").info({"version": "1.2.3"})
Enum("peer_mode", "Mode.", states=["on", "off"]).state("on")

server, thread = start_http_server(0, "127.0.0.1")
print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
threading.Event().wait()
