import { strict as assert } from "node:assert";
import { test } from "node:test";
import { ManualClock } from "../../src/foundation/clock.ts";
import { connect, field, ok, startApp, startPlane, turn } from "./harness.ts";

const UPLOAD = Buffer.alloc(256 * 1024, "u");

test("1xx pass in their order before the answer, and lose what may not be in them", async () => {
	await using app = await startApp(async (wire) => {
		for (;;) {
			await wire.request();
			wire.write("HTTP/1.1 100 Continue\r\n\r\n");
			wire.write(
				"HTTP/1.1 102 Processing\r\nx-request-id: of-the-app\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n",
			);
			await turn();
			wire.write("content-length: 5\r\nconnection: x-secret\r\nx-secret: 1\r\nx-outrigger-route: /x\r\n\r\n");
			await turn();
			wire.write(ok("done"));
		}
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	for (let i = 0; i < 3; i++) {
		client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
		const answer = await client.response();
		assert.equal(answer.body.toString(), "done");
		assert.deepEqual(answer.interim, [
			"HTTP/1.1 100 Continue\r\n\r\n",
			"HTTP/1.1 102 Processing\r\n\r\n",
			"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n",
		]);
	}
	client.end();
	await plane.settle();
	assert.equal(plane.records.length, 3, "a 1xx is no exchange");
});

test("1xx do not reach an HTTP/1.0 client", async () => {
	await using app = await startApp(async (wire) => {
		await wire.request();
		wire.write(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n${ok("done").toString()}`);
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write("POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx");
	const answer = await client.response();
	assert.deepEqual([answer.interim, answer.body.toString()], [[], "done"]);
});

test("a hundred thousand 1xx in odd pieces cost neither memory nor the answer", async () => {
	const count = 100_000;
	await using app = await startApp(async (wire) => {
		await wire.request();
		const hint = Buffer.from("HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload; as=style\r\n\r\n");
		const block = Buffer.concat(Array.from({ length: 1000 }, () => hint));
		// Each piece ends in the middle of a head, so that there is always one that has not come whole.
		wire.write(hint.subarray(0, 10));
		const shifted = Buffer.concat([hint.subarray(10), block.subarray(hint.length), hint.subarray(0, 10)]);
		for (let i = 0; i < count / 1000; i++) {
			wire.write(shifted);
			await turn();
			await turn();
		}
		wire.write(hint.subarray(10));
		wire.write(ok("done"));
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
	await client.until(() => client.unread.includes("HTTP/1.1 200"), "the answer");
	const text = client.unread.toString("latin1");
	assert.equal(text.split("HTTP/1.1 103").length - 1, count + 1);
	client.reset();
	await plane.settle();
});

test("an app that says 100 gets the body then, and the client hears of it first", async () => {
	await using app = await startApp(async (wire) => {
		const head = await wire.requestHead();
		assert.equal(field(head, "expect"), "100-Continue");
		assert.equal(wire.unread.length, 0, "the body has not been asked for");
		wire.write("HTTP/1.1 100 Continue\r\n\r\n");
		wire.write(ok((await wire.body(head)).body));
	});
	await using plane = await startPlane(app.port);
	await using client = await connect(plane.port);
	client.write("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-Continue\r\ncontent-length: 4\r\n\r\n");
	await client.until(() => client.unread.length > 0, "the 100");
	assert.equal(client.unread.toString(), "HTTP/1.1 100 Continue\r\n\r\n");
	client.write("body");
	const answer = await client.response();
	assert.deepEqual([answer.status, answer.body.toString()], [200, "body"]);
	assert.equal(field(answer, "connection"), undefined, "the connection goes on");
	client.end();
	await plane.settle();
});

for (const status of [417, 401]) {
	test(`an app that answers ${status} instead of 100 is heard, and the body is not asked for`, async () => {
		await using app = await startApp(async (wire) => {
			await wire.requestHead();
			wire.write(`HTTP/1.1 ${status} No\r\ncontent-length: 2\r\n\r\nno`);
		});
		await using plane = await startPlane(app.port);
		await using client = await connect(plane.port);
		client.write("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
		const answer = await client.response();
		assert.deepEqual([answer.status, answer.body.toString(), answer.interim], [status, "no", []]);
		assert.equal(field(answer, "connection"), "close", "what comes next could be the body or a request");
		assert.equal((await client.rest()).isClean, true);
		client.end();
		await plane.settle();
		assert.equal(plane.records[0]?.status, status);
	});
}

test("a body that says that it is too large is refused before it is asked for, and the app never hears of it", async () => {
	await using app = await startApp(() => undefined);
	await using plane = await startPlane(app.port, { set: { "limits.body": "1KiB" } });
	await using client = await connect(plane.port);
	client.write("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1025\r\n\r\n");
	const answer = await client.response();
	assert.deepEqual([answer.status, answer.interim], [413, []]);
	assert.equal(app.wires.length, 0);
	client.end();
	await plane.settle();
});

test("a client that waits for the app's 100 is not told that its body stalls", async () => {
	const clock = new ManualClock();
	await using app = await startApp(() => undefined);
	await using plane = await startPlane(app.port, { clock, set: { "timeouts.response": "60s" } });
	await using client = await connect(plane.port);
	client.write("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
	await (await app.wire(0)).requestHead();
	plane.advance(59_000);
	await turn();
	assert.equal(client.receivedBytes, 0);
	plane.advance(2_000);
	const answer = await client.response();
	assert.deepEqual([answer.status, field(answer, "x-outrigger-error")], [504, "app_response_timeout"]);
	client.end();
	await plane.settle();
});

/** Forty clients that upload and only then listen, or listen while they upload. */
const fortyUploads = async (
	port: number,
	head: (index: number) => string,
	isChunked: boolean,
): Promise<{ readonly status: number; readonly body: string; readonly wasClean: boolean }[]> =>
	Promise.all(
		Array.from({ length: 40 }, async (_, index) => {
			await using client = await connect(port);
			client.write(head(index));
			for (let at = 0; at < UPLOAD.length && !client.isClosed; at += 32_768) {
				const piece = UPLOAD.subarray(at, at + 32_768);
				client.write(isChunked ? Buffer.concat([Buffer.from("8000\r\n"), piece, Buffer.from("\r\n")]) : piece);
				if (index % 2 === 0) await turn();
			}
			const answer = await client.response();
			client.end();
			await client.rest();
			return { status: answer.status, body: answer.body.toString(), wasClean: client.error === undefined };
		}),
	);

for (const isChunked of [false, true]) {
	const framing = isChunked ? "transfer-encoding: chunked" : `content-length: ${UPLOAD.length * 100}`;

	test(`40 of 40 uploads (${isChunked ? "chunked" : "length"}) that the app answers and closes early get the app's answer`, async () => {
		await using app = await startApp(async (wire, index) => {
			await wire.requestHead();
			if (index % 3 === 0) await wire.take(40_000);
			wire.write("HTTP/1.1 401 Unauthorized\r\ncontent-length: 7\r\nconnection: close\r\n\r\nwho are");
			// As real apps do: FIN, or the RST that closing with unread octets makes.
			if (index % 2 === 0) wire.end();
			else wire.socket.destroySoon();
		});
		await using plane = await startPlane(app.port);
		const answers = await fortyUploads(plane.port, () => `POST / HTTP/1.1\r\nhost: a\r\n${framing}\r\n\r\n`, isChunked);
		assert.deepEqual(
			answers.map(({ status, body, wasClean }) => `${status} ${body} ${wasClean}`),
			Array.from({ length: 40 }, () => "401 who are true"),
		);
		await plane.settle();
		assert.equal(plane.records.filter(({ status, faultIndex }) => status === 401 && faultIndex === -1).length, 40);
	});

	test(`40 of 40 uploads (${isChunked ? "chunked" : "length"}) that the agent refuses get their 413`, async () => {
		await using app = await startApp(() => undefined);
		await using plane = await startPlane(app.port, { set: { "limits.body": "64KiB" } });
		const answers = await fortyUploads(plane.port, () => `POST / HTTP/1.1\r\nhost: a\r\n${framing}\r\n\r\n`, isChunked);
		assert.deepEqual(
			answers.map(({ status, wasClean }) => `${status} ${wasClean}`),
			Array.from({ length: 40 }, () => "413 true"),
		);
		await plane.settle();
		assert.equal(plane.records.filter(({ status }) => status === 413).length, 40);
	});
}

test("a refused upload is discarded up to limits.lingerBytes, then read no more, and cut after timeouts.linger", async () => {
	await using app = await startApp(() => undefined);
	await using plane = await startPlane(app.port, {
		set: { "limits.body": "1KiB", "limits.lingerBytes": "128KiB", "timeouts.linger": "300ms" },
	});
	await using client = await connect(plane.port);
	client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n");
	assert.equal((await client.response()).status, 413);
	while (!client.isClosed) {
		client.write(UPLOAD);
		await turn();
	}
	await plane.settle();
});
