import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findExecutable, outputOf, versionIn } from "../executables.ts";
import type { Peer, Site } from "./peer.ts";

const LOG_FIELDS = [
	["time", "$time_iso8601"],
	["method", "$request_method"],
	["path", "$uri"],
	["status", "$status"],
	["duration", "$request_time"],
	["upstream", "$upstream_response_time"],
	["request_bytes", "$request_length"],
	["response_bytes", "$body_bytes_sent"],
	["client", "$remote_addr"],
	["protocol", "$server_protocol"],
	["user_agent", "$http_user_agent"],
	["request_id", "$request_id"],
] as const;

/** nginx's own defaults but for what a streaming proxy in front of one app needs; each line says which. */
function configuration(site: Site, logOptions: string): string {
	const line = LOG_FIELDS.map(([key, value]) => `"${key}":"${value}"`).join(",");
	const user = process.getuid?.() === 0 ? "user root;" : "";
	return `
${user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${site.folder}/nginx.pid;
error_log ${site.folder}/error.log warn;
events { worker_connections 14000; }
http {
	log_format line escape=json '{${line}}';
	access_log ${site.folder}/access.log line${logOptions};
	client_body_temp_path ${site.folder}/body;
	proxy_temp_path ${site.folder}/proxy;
	fastcgi_temp_path ${site.folder}/fastcgi;
	uwsgi_temp_path ${site.folder}/uwsgi;
	scgi_temp_path ${site.folder}/scgi;
	keepalive_requests 1000000000;     # the default closes each connection after 1,000: a measure of reconnecting
	client_max_body_size 0;
	upstream app {
		server 127.0.0.1:${site.originPort};
		keepalive 1024;
		keepalive_requests 1000000000;
	}
	server {
		listen 127.0.0.1:${site.port} backlog=4096;
		location / {
			proxy_pass http://app;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
			proxy_request_buffering off;   # the defaults write large bodies to disk first; the others stream
			proxy_max_temp_file_size 0;
		}
	}
}
`;
}

function nginxPeer(name: string, setting: string, logOptions: string): Peer {
	return {
		name,
		setting,
		isAgent: false,
		version: () => versionIn(outputOf(findExecutable("nginx") ?? "nginx", ["-v"])),
		missing: () =>
			findExecutable("nginx") === undefined
				? { what: "nginx", how: "apt-get install nginx-light", apt: ["nginx-light"] }
				: undefined,
		launch(site) {
			mkdirSync(site.folder, { recursive: true });
			const file = join(site.folder, "nginx.conf");
			writeFileSync(file, configuration(site, logOptions));
			return {
				argv: [findExecutable("nginx") ?? "nginx", "-p", site.folder, "-c", file],
				logFile: join(site.folder, "access.log"),
				isLogStdout: false,
			};
		},
	};
}

/** The base of all ratios: the access log as its documentation writes it, one write a line. */
export const nginx = nginxPeer(
	"nginx",
	"one worker, JSON access log to a file (its default: one write a line), HTTP/1.1 and keep-alive upstream, bodies streamed",
	"",
);

/** The same with nginx's own log buffer: what is left of the difference when both sides gather their lines. */
export const nginxBufferedLog = nginxPeer(
	"nginx-buffered-log",
	"as nginx, with access_log buffer=64k flush=1s",
	" buffer=64k flush=1s",
);
