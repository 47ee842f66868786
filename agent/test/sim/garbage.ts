import type { Dice } from "./dice.ts";

const REQUESTS = [
	"GET /g HTTP/1.1\r\nhost: g\r\n\r\n",
	"POST /g HTTP/1.1\r\nhost: g\r\ncontent-length: 5\r\n\r\nhello",
	"POST /g HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	"POST /g HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: g\r\n\r\n",
	"POST /g HTTP/1.1\r\nhost: g\r\ncontent-length: 0\r\ncontent-length: 30\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
	"POST /g HTTP/1.1\r\nhost: g\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
	"POST /g HTTP/1.1\r\nhost: g\r\ncontent-length: 3\r\nconnection: content-length\r\n\r\nabc",
	"GET /g HTTP/1.1\r\nhost: g\r\nx: a\r\n b\r\n\r\n",
	"GET http://a/g HTTP/1.1\r\nhost: b\r\n\r\nGET /g HTTP/1.0\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nhost: g\r\nmax-forwards: 0\r\n\r\nTRACE / HTTP/1.1\r\nhost: g\r\n\r\n",
	"GET /g HTTP/1.1\r\nhost: g\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nbytes of nobody",
	"GET /g HTTP/1.1\r\nhost: g\r\nuser-agent: kube-probe/1.30\r\n\r\n",
	"PUT /g HTTP/1.1\r\nhost: g\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n",
	"GET /g HTTP/1.1\r\nhost: g\r\ntraceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\r\n\r\n",
];
const NOISE = [
	"\0",
	"\n",
	"\r",
	"\r\n",
	" ",
	":",
	";",
	"\t",
	"\x80",
	"0",
	"5",
	"chunked",
	"GET / HTTP/1.1\r\n",
	"\r\n\r\n",
	"ffffffffffffffff",
];

/** Requests that are wrong, half, doubled or only look so, and plain noise. */
export const garbage = (dice: Dice): Buffer => {
	if (dice.chance(0.1)) return Buffer.from(Array.from({ length: dice.between(1, 200) }, () => dice.below(256)));
	let text = "";
	for (let n = dice.between(1, 3); n > 0; n--) text += dice.pick(REQUESTS);
	for (let n = dice.below(4); n > 0; n--) {
		const at = dice.below(text.length + 1);
		text =
			text.slice(0, at) +
			(dice.chance(0.7) ? dice.pick(NOISE) : "") +
			text.slice(at + (dice.chance(0.5) ? dice.below(4) : 0));
	}
	if (dice.chance(0.05)) text += `GET /${"x".repeat(dice.size(40_000))} HTTP/1.1\r\n`;
	return Buffer.from(text, "latin1");
};
