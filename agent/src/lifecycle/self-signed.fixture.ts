import { generateKeyPairSync, sign } from "node:crypto";

/** A certificate for localhost that nobody has signed but itself (RFC 5280), made anew: no key lies in the repository. */
export function selfSigned(): { readonly key: string; readonly cert: string } {
	const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
	const algorithm = der(0x30, oid("2a8648ce3d040302")); // ecdsa-with-SHA256
	const name = der(0x30, der(0x31, der(0x30, oid("550403"), der(0x0c, Buffer.from("localhost")))));
	const validity = der(0x30, der(0x17, Buffer.from("250101000000Z")), der(0x17, Buffer.from("491231235959Z")));
	const names = der(0x30, der(0x82, Buffer.from("localhost")), der(0x87, Buffer.from([127, 0, 0, 1])));
	const extensions = der(0xa3, der(0x30, der(0x30, oid("551d11"), der(0x04, names))));
	const signed = der(
		0x30,
		der(0xa0, der(0x02, Buffer.from([2]))),
		der(0x02, Buffer.from([1])),
		algorithm,
		name,
		validity,
		name,
		publicKey.export({ type: "spki", format: "der" }),
		extensions,
	);
	const signature = der(0x03, Buffer.from([0]), sign("sha256", signed, privateKey));
	const base64 = der(0x30, signed, algorithm, signature).toString("base64");
	return {
		key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
		cert: `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`,
	};
}

function oid(hex: string): Buffer {
	return der(0x06, Buffer.from(hex, "hex"));
}

/** Tag, length, contents (X.690 §8.1). */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
	const contents = Buffer.concat(parts);
	const { length } = contents;
	const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
	return Buffer.concat([Buffer.from([tag, ...size]), contents]);
}
