// An Express app that trusts proxies on loopback, as many do, and has a route for loopback only.
const express = require("express");

const app = express();
app.set("trust proxy", "loopback");
app.get("/who", (request, response) => {
	response.json({ peer: request.socket.remoteAddress, ip: request.ip, headers: request.headers });
});
app.get("/admin", (request, response) => {
	if (/^(127\.|::1$|::ffff:127\.)/.test(request.ip)) response.send("admin\n");
	else response.status(403).send("from outside\n");
});
const server = app.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
