import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findExecutable, outputOf, versionIn } from "../executables.ts";
import type { Peer, Site } from "./peer.ts";

const LOG_LINE =
	'{"time":"%[date,ltime(%Y-%m-%dT%H:%M:%S)]","method":"%HM","path":"%[capture.req.uri,json(utf8s)]","status":%ST,"duration":%Ta,' +
	'"upstream":%Tr,"request_bytes":%U,"response_bytes":%B,"client":"%ci","protocol":"%HV",' +
	'"user_agent":"%[capture.req.hdr(0),json(utf8s)]","ended":"%ts"}';

function configuration(site: Site): string {
	return `
global
	nbthread 1
	maxconn 8000
	log stdout len 4096 format raw local0
defaults
	mode http
	log global
	timeout connect 1s
	timeout client 620s
	timeout server 620s
	timeout http-keep-alive 620s
frontend in
	bind 127.0.0.1:${site.port} backlog 4096
	declare capture request len 128
	http-request capture req.hdr(user-agent) len 128
	log-format '${LOG_LINE}'
	default_backend app
backend app
	server app 127.0.0.1:${site.originPort}
`;
}

export const haproxy: Peer = {
	name: "haproxy",
	setting:
		"one thread, JSON log lines to stdout, which is a file (haproxy writes no file itself; one write a line, as to syslog)",
	isAgent: false,
	version: () => versionIn(outputOf(findExecutable("haproxy") ?? "haproxy", ["-v"])),
	missing: () =>
		findExecutable("haproxy") === undefined
			? { what: "haproxy", how: "apt-get install haproxy", apt: ["haproxy"] }
			: undefined,
	launch(site) {
		mkdirSync(site.folder, { recursive: true });
		const file = join(site.folder, "haproxy.cfg");
		writeFileSync(file, configuration(site));
		return {
			argv: [findExecutable("haproxy") ?? "haproxy", "-db", "-f", file],
			logFile: join(site.folder, "access.log"),
			isLogStdout: true,
		};
	},
};
