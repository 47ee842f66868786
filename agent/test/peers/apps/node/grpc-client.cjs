// @grpc/grpc-js against gRPC's interoperability server, with messages written by hand.
const assert = require("node:assert/strict");
const grpc = require("@grpc/grpc-js");

const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());
const same = (bytes) => bytes;
const path = (method) => `/grpc.testing.TestService/${method}`;
const deadline = () => ({ deadline: Date.now() + 20_000 });
const unary = (method, bytes) =>
	new Promise((resolve, reject) =>
		client.makeUnaryRequest(path(method), same, same, bytes, new grpc.Metadata(), deadline(), (error, answer) =>
			error ? reject(error) : resolve(answer),
		),
	);
const count = async (call) => {
	let answers = 0;
	for await (const _ of call) answers++;
	return answers;
};

(async () => {
	assert.equal((await unary("EmptyCall", Buffer.alloc(0))).length, 0);
	assert.ok((await unary("UnaryCall", Buffer.from("10a08d06", "hex"))).length > 100_000);
	const asked = Buffer.from("1202080a", "hex");
	const streaming = client.makeServerStreamRequest(
		path("StreamingOutputCall"),
		same,
		same,
		asked,
		new grpc.Metadata(),
		deadline(),
	);
	assert.equal(await count(streaming), 1);
	const both = client.makeBidiStreamRequest(path("FullDuplexCall"), same, same, new grpc.Metadata(), deadline());
	for (let i = 0; i < 5; i++) both.write(asked);
	both.end();
	assert.equal(await count(both), 5);
	await assert.rejects(unary("NoSuchCall", Buffer.alloc(0)), { code: grpc.status.UNIMPLEMENTED });
	client.close();
	console.log("all well");
})().catch((error) => {
	console.error(error);
	process.exitCode = 1;
});
