import assert from "node:assert/strict";
import { test } from "node:test";
import { readOpenTelemetry } from "./opentelemetry.ts";

function values(env: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
	const { assignments } = readOpenTelemetry(env);
	return Object.fromEntries(assignments.map(({ path, input }) => [path, input.form === "text" ? input.text : "?"]));
}

function warned(env: Readonly<Record<string, string>>): readonly string[] {
	return readOpenTelemetry(env).warnings.map(({ place }) => (place.kind === "variable" ? place.name : "?"));
}

test("nothing set sets nothing, and an empty variable counts as not set", () => {
	const names = [
		"OTEL_SERVICE_NAME",
		"OTEL_RESOURCE_ATTRIBUTES",
		"OTEL_EXPORTER_OTLP_ENDPOINT",
		"OTEL_EXPORTER_OTLP_HEADERS",
		"OTEL_TRACES_SAMPLER",
		"OTEL_SDK_DISABLED",
	];
	const empty = Object.fromEntries(names.map((name) => [name, ""]));
	for (const env of [{}, empty]) {
		assert.deepEqual(values(env), {});
		assert.deepEqual(warned(env), []);
	}
});

test("service names and attributes: OTEL_SERVICE_NAME wins over the attribute", () => {
	const env = {
		OTEL_RESOURCE_ATTRIBUTES: "service.name=a,service.namespace=shop,service.version=1.2,team=a%2Cb c,team2=x,",
		OTEL_SERVICE_NAME: "orders",
	};
	assert.deepEqual(values(env), {
		"service.name": "orders",
		"service.namespace": "shop",
		"service.version": "1.2",
		"traces.resourceAttributes": "team=a%2Cb%20c,team2=x",
	});
	assert.deepEqual(values({ OTEL_RESOURCE_ATTRIBUTES: "service.name=" }), {});
	assert.deepEqual(warned({ OTEL_RESOURCE_ATTRIBUTES: "nonsense" }), ["OTEL_RESOURCE_ATTRIBUTES"]);
	assert.deepEqual(values({ OTEL_RESOURCE_ATTRIBUTES: "a=1,nonsense" }), {}, "a wrong one is discarded whole");
});

test("the exporter: endpoint, headers, switched off", () => {
	assert.deepEqual(values({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:4318", OTEL_EXPORTER_OTLP_HEADERS: "a=b" }), {
		"traces.endpoint": "http://c:4318",
		"traces.headers": "a=b",
	});
	assert.deepEqual(values({ OTEL_SDK_DISABLED: "TRUE" }), { "traces.exporter": "none" });
	assert.deepEqual(values({ OTEL_SDK_DISABLED: "false" }), {});
	assert.deepEqual(warned({ OTEL_SDK_DISABLED: "1" }), ["OTEL_SDK_DISABLED"]);
	assert.deepEqual(warned({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:4317", OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }), [
		"OTEL_EXPORTER_OTLP_PROTOCOL",
	]);
	assert.deepEqual(warned({ OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }), [], "no endpoint, no matter");
});

test("samplers become a share; what is not known is warned about and ignored", () => {
	const rows: readonly (readonly [string | undefined, string | undefined, string | undefined, boolean])[] = [
		["always_on", undefined, "1", false],
		["parentbased_always_on", undefined, "1", false],
		["always_off", "0.5", "0", false],
		["traceidratio", "0.25", "0.25", false],
		["parentbased_traceidratio", ".5", ".5", false],
		["traceidratio", undefined, "1", false],
		["traceidratio", "2", "1", true],
		["traceidratio", "half", "1", true],
		["jaeger_remote", undefined, undefined, true],
		[undefined, "0.5", undefined, false],
	];
	for (const [sampler, argument, share, warns] of rows) {
		const env = {
			...(sampler === undefined ? {} : { OTEL_TRACES_SAMPLER: sampler }),
			...(argument === undefined ? {} : { OTEL_TRACES_SAMPLER_ARG: argument }),
		};
		assert.equal(values(env)["traces.sample"], share, JSON.stringify(env));
		assert.equal(warned(env).length > 0, warns, JSON.stringify(env));
	}
});
