import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Client } from "undici";
import { ask } from "./ask.ts";
import { type AgentProcess, type App, commandOf, pattern, startAgent, startNamed } from "./peers.ts";
import { type Ended, run } from "./processes.ts";
import { apps, curlHas, tool, tools, without } from "./tools.ts";

const BODY = pattern(2 * 1024 * 1024 + 5);
const SHA = createHash("sha256").update(BODY).digest("hex");

describe("through the agent, curl", { skip: without("curl") }, () => {
	let app: App;
	let agent: AgentProcess;
	let folder: string;
	let file: string;
	before(async () => {
		app = await startNamed("node");
		agent = await startAgent(app.port, { OUTRIGGER_ROUTES__OPENAPI: "none" });
		folder = await mkdtemp(join(tmpdir(), "outrigger-curl-"));
		file = join(folder, "upload");
		await writeFile(file, BODY);
	});
	after(async () => {
		await agent?.stop();
		await app?.stop();
		await rm(folder, { recursive: true, force: true });
	});
	const curl = async (...args: readonly string[]): Promise<Ended> => {
		const ended = await run(tool("curl"), ["-sS", "-m", "20", ...args], { input: BODY });
		assert.equal(ended.code, 0, ended.stderr);
		return ended;
	};
	const shaOf = ({ stdout }: Ended): unknown => (JSON.parse(stdout.toString()) as { sha256: string }).sha256;

	test("asks in HTTP/1.0 and gets an answer that it understands", async () => {
		const { stdout } = await curl("--http1.0", "-i", `${agent.url}/stream/20`);
		const [head = "", body] = stdout.toString().split("\r\n\r\n");
		assert.match(head, /^HTTP\/1\.1 200 /);
		assert.doesNotMatch(head, /transfer-encoding/i);
		assert.equal(body, Array.from({ length: 20 }, (_, i) => `line ${i}\n`).join(""));
	});
	test("keeps an HTTP/1.0 connection that it asks to keep", async () => {
		const { stdout } = await curl(
			"--http1.0",
			"-H",
			"connection: keep-alive",
			"-w",
			"%{num_connects} ",
			`${agent.url}/`,
			`${agent.url}/`,
		);
		assert.equal(stdout.toString(), "hello\n1 hello\n0 ");
	});
	test("uploads a file after 100 Continue", async () => {
		const ended = await curl("-v", "-H", "expect: 100-continue", "-X", "POST", "-T", file, `${agent.url}/sha`);
		assert.equal(shaOf(ended), SHA);
		assert.match(ended.stderr, /< HTTP\/1\.1 100 Continue/);
	});
	test("uploads from standard input, chunked", async () => {
		const ended = await curl("-v", "-X", "POST", "-T", "-", `${agent.url}/sha`);
		assert.equal(shaOf(ended), SHA);
		assert.match(ended.stderr, /> transfer-encoding: chunked/i);
	});
	test("uploads with a length and with a form", async () => {
		assert.equal(shaOf(await curl("--data-binary", `@${file}`, `${agent.url}/sha`)), SHA);
		const { stdout } = await curl("-F", `file=@${file}`, "-F", "name=value", `${agent.url}/echo`);
		assert.ok(stdout.includes(BODY));
	});
	test("asks for the head alone", async () => {
		const { stdout } = await curl("-I", `${agent.url}/bytes/12345`);
		assert.match(stdout.toString(), /^HTTP\/1\.1 200 .*content-length: 12345\r\n/is);
	});
	test("sends paths as they are", async () => {
		for (const path of ["/raw/a/../b", "/raw/%2e%2e/x", "/raw//double", "/raw/ü", "/raw/a|b{c}?q=[1]&r=%00"]) {
			const { stdout } = await curl("--path-as-is", "-g", `${agent.url}${path}`);
			const direct = await curl("--path-as-is", "-g", `${app.url}${path}`);
			assert.deepEqual(stdout, direct.stdout);
		}
	});
	test("goes on over one connection, and over eight at once", async () => {
		const urls = Array.from({ length: 20 }, (_, i) => `${agent.url}/raw/${i}`);
		const { stdout } = await curl("-w", " %{num_connects}\n", ...urls);
		assert.equal(stdout.toString(), urls.map((_, i) => `/raw/${i} ${i === 0 ? 1 : 0}\n`).join(""));
		const atOnce = await curl("-Z", "--parallel-max", "8", "-w", " %{http_code}\n", ...urls);
		assert.equal(atOnce.stdout.toString().match(/ 200\n/g)?.length, 20);
	});
	test("is told 103 before the answer", async () => {
		const { stdout } = await curl("-i", `${agent.url}/hints`);
		assert.match(stdout.toString(), /^HTTP\/1\.1 103 .*\r\n\r\nHTTP\/1\.1 200 /s);
	});
	test("reads events as they come", async () => {
		const { stdout, code } = await run(tool("curl"), ["-sSN", "-m", "1", `${agent.url}/events/3`]);
		assert.equal(code, 28); // by its own time limit: the stream has no end
		assert.equal(stdout.toString(), "data: 0\n\ndata: 1\n\ndata: 2\n\n");
	});
	test("asks for h2c and is answered in HTTP/1.1", {
		skip: curlHas("HTTP2") ? false : "curl without HTTP/2",
	}, async () => {
		const { stdout } = await curl("--http2", "-w", "%{http_version}", `${agent.url}/`);
		assert.equal(stdout.toString(), "hello\n1.1");
	});
	test("asks a proxy in absolute form", async () => {
		const { stdout } = await curl("-x", agent.url, "http://elsewhere.example/who");
		const { headers } = JSON.parse(stdout.toString()) as { headers: Record<string, string> };
		assert.equal(headers["host"], "elsewhere.example");
	});
	test("is refused what would be ambiguous, and told so", async () => {
		const { stdout } = await curl(
			"-i",
			"-H",
			"transfer-encoding: chunked",
			"-H",
			"content-length: 3",
			"-d",
			"abc",
			`${agent.url}/echo`,
		);
		assert.match(stdout.toString(), /^HTTP\/1\.1 400 .*x-outrigger-error: /is);
	});
	test("comes over a Unix socket and over IPv6", async (t) => {
		const path = join(folder, "in.sock");
		const unix = await startAgent(app.port, { OUTRIGGER_INBOUND__0__LISTEN: `unix:${path}` });
		t.after(() => unix.stop());
		assert.equal((await curl("--unix-socket", path, "http://localhost/")).stdout.toString(), "hello\n");
		const six = await startAgent(app.port, { OUTRIGGER_INBOUND__0__LISTEN: "[::1]:0" });
		t.after(() => six.stop());
		assert.equal((await curl("-g", "-6", `${six.url}/`)).stdout.toString(), "hello\n");
	});
	test("tells a proxy's client address with the PROXY protocol", async (t) => {
		const behind = await startAgent(app.port, { OUTRIGGER_CONNECTIONS__PROXY_PROTOCOL: "true" });
		t.after(() => behind.stop());
		const { stdout } = await curl("--haproxy-protocol", `${behind.url}/who`);
		const { headers } = JSON.parse(stdout.toString()) as { headers: Record<string, string> };
		assert.equal(headers["x-forwarded-for"], "127.0.0.1");
	});
});

describe("before nginx,", { skip: without("nginx", "curl") }, () => {
	let folder: string;
	let socket: string;
	let nginx: Awaited<ReturnType<typeof startNginx>> | undefined;
	let agent: AgentProcess;
	before(async () => {
		folder = await mkdtemp(join(tmpdir(), "outrigger-nginx-"));
		socket = join(folder, "nginx.sock");
		nginx = await startNginx(folder, socket);
		agent = await startAgent(`unix:${socket}`, {
			OUTRIGGER_ROUTES__OPENAPI: "none",
		});
	});
	after(async () => {
		await agent?.stop();
		await nginx?.stop();
		await rm(folder, { recursive: true, force: true });
	});

	test("files, ranges and conditions are served over a Unix socket", async () => {
		const whole = await ask(agent.url, { path: "/large.bin" });
		assert.ok(whole.body.equals(BODY));
		const etag = String(whole.headers["etag"]);
		assert.equal((await ask(agent.url, { path: "/large.bin", headers: { "if-none-match": etag } })).status, 304);
		const { stdout } = await run(tool("curl"), [
			"-sS",
			"-r",
			"1000-1999",
			"-w",
			"%{http_code}",
			`${agent.url}/large.bin`,
		]);
		assert.ok(stdout.equals(Buffer.concat([BODY.subarray(1000, 2000), Buffer.from("206")])));
		const beyond = await ask(agent.url, { path: "/large.bin", headers: { range: "bytes=999999999-" } });
		assert.equal(beyond.status, 416);
	});
	test("answers are compressed as they are directly", async () => {
		const { stdout } = await run(tool("curl"), ["-sS", "--compressed", "-D", "-", `${agent.url}/text.txt`]);
		assert.match(stdout.toString(), /content-encoding: gzip/i);
		assert.ok(stdout.toString().endsWith("word ".repeat(2000)));
	});
	test("what is uploaded can be read again, chunked and with a length", async () => {
		for (const [i, body] of [BODY, [BODY.subarray(0, 1_000_000), BODY.subarray(1_000_000)]].entries()) {
			assert.equal((await ask(agent.url, { method: "PUT", path: `/dav/${i}`, body })).status, 201);
			assert.ok((await ask(agent.url, { path: `/dav/${i}` })).body.equals(BODY));
		}
	});
	test("40 of 40 uploads that nginx refuses receive its 413", async () => {
		const statuses: string[] = [];
		for (let i = 0; i < 40; i++) {
			const args = ["-sS", "-m", "20", "-H", "expect:", "--data-binary", "@-", "-o", "/dev/null", "-w", "%{http_code}"];
			statuses.push((await run(tool("curl"), [...args, `${agent.url}/small`], { input: BODY })).stdout.toString());
		}
		assert.deepEqual(statuses, Array(40).fill("413"));
	});
	test("HTTP/2 with prior knowledge is relayed as it is", {
		skip: curlHas("HTTP2") ? false : "curl without HTTP/2",
	}, async (t) => {
		const two = await startAgent(`unix:${socket}2`);
		t.after(() => two.stop());
		// One request a process: curl 7.88 cannot use such a connection again, not even directly.
		const args = ["-sS", "--http2-prior-knowledge", "-w", " %{http_version}", `${two.url}/large.bin`];
		for (let i = 0; i < 3; i++) {
			const { stdout, stderr } = await run(tool("curl"), args);
			assert.equal(stderr, "");
			assert.ok(stdout.equals(Buffer.concat([BODY, Buffer.from(" 2")])));
		}
		assert.equal(await two.metric('outrigger_relayed_connections_opened_total{kind="opaque"}'), 3);
	});
});

async function startNginx(folder: string, socket: string) {
	const root = join(folder, "root");
	const { mkdir, chmod } = await import("node:fs/promises");
	await mkdir(join(root, "dav"), { recursive: true });
	await chmod(folder, 0o777);
	await writeFile(join(root, "large.bin"), BODY);
	await writeFile(join(root, "text.txt"), "word ".repeat(2000));
	const config = join(folder, "nginx.conf");
	await writeFile(
		config,
		`daemon off; master_process off; pid ${folder}/pid; error_log stderr notice; worker_processes 1;
events { worker_connections 256; }
http {
	access_log off; root ${root}; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/p;
	fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
	gzip on; gzip_types text/plain; gzip_min_length 100; types { text/plain txt; }
	server {
		listen unix:${socket};
		location / { }
		location /dav/ { dav_methods PUT; client_max_body_size 100m; }
		location /small { client_max_body_size 1k; proxy_pass http://127.0.0.1:1; }
	}
	server { listen unix:${socket}2 http2; location / { } }
}
`,
	);
	const { Running } = await import("./processes.ts");
	const process_ = new Running(tool("nginx"), ["-p", folder, "-e", "stderr", "-c", config]);
	await process_.line(/start worker process|using the "epoll"|built by/);
	return process_;
}

describe("through the agent, the client", () => {
	let app: App;
	let agent: AgentProcess;
	before(async () => {
		app = await (tools.go === undefined ? startNamed("node") : startNamed("go"));
		agent = await startAgent(app.port, { OUTRIGGER_ROUTES__OPENAPI: "none" });
	});
	after(async () => {
		await agent?.stop();
		await app?.stop();
	});

	const allWell = async (program: string, args: readonly string[]): Promise<void> => {
		const { code, stdout, stderr } = await run(program, args, {}, 100_000);
		assert.equal(code, 0, `${stdout}\n${stderr}`);
		assert.match(stdout.toString(), /all well\n$/);
	};
	test("of Go, net/http, does all it can", { skip: without("go") }, () => allWell(tool("go"), ["client", agent.url]));
	test("of Python, requests, does all it can", { skip: without("python") }, () =>
		allWell(tool("python"), [`${apps}python/clients.py`, agent.url, "requests"]),
	);
	test("of Python, httpx, does all it can", { skip: without("python") }, () =>
		allWell(tool("python"), [`${apps}python/clients.py`, agent.url, "httpx"]),
	);
	test("of Java, HttpClient, does all it can, h2c asked for included", { skip: without("java") }, () =>
		allWell(tool("java"), ["-XX:TieredStopAtLevel=1", "-cp", tools.javaClasses, "Client", agent.url]),
	);

	test("of Node, fetch, sends and receives streams", async () => {
		const stream = new ReadableStream<Uint8Array>({
			start: (controller) => {
				for (let at = 0; at < BODY.length; at += 50_000) controller.enqueue(BODY.subarray(at, at + 50_000));
				controller.close();
			},
		});
		const answer = await fetch(`${agent.url}/sha`, { method: "POST", body: stream, duplex: "half" });
		assert.equal(((await answer.json()) as { sha256: string }).sha256, SHA);
		const controller = new AbortController();
		const events = await fetch(`${agent.url}/events/1`, { signal: controller.signal });
		assert.equal(Buffer.from((await events.body?.getReader().read())?.value ?? []).toString(), "data: 0\n\n");
		controller.abort();
	});
	test("of Node, undici, sends ahead of the answers and gets them in order", async () => {
		const client = new Client(agent.url, { pipelining: 8 });
		const lengths = Array.from({ length: 100 }, (_, i) => i * 113);
		const answers = await Promise.all(
			lengths.map(async (n) => (await client.request({ path: `/bytes/${n}`, method: "GET" })).body.arrayBuffer()),
		);
		assert.deepEqual(
			answers.map((bytes) => bytes.byteLength),
			lengths,
		);
		await client.close();
	});
});

test("every app of this folder can be started by its command line", () => {
	// The names are what `servers.test.ts` and `run.test.ts` go through: one that is missing there would never be asked.
	assert.deepEqual(Object.keys(commandOf).sort(), [
		"aiohttp",
		"go",
		"gunicorn",
		"httpServer",
		"java",
		"node",
		"uvicorn",
	]);
});
