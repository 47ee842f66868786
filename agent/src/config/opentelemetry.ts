import type { Env } from "./environment.ts";
import type { KeyPath } from "./keys.ts";
import { splitPairs } from "./kinds.ts";
import type { Assignment, Layer } from "./layer.ts";
import { type Problem, type ProblemKind, quote } from "./problems.ts";

/**
 * The usual OpenTelemetry variables as assignments to our keys. By OpenTelemetry's rules an empty one counts as not set, and one
 * that is wrong is warned about and ignored: they are often set for a whole cluster, and must not keep a pod from starting.
 * https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */

/** Each variable that is obeyed, with what it does. */
export const OPENTELEMETRY_VARIABLES: Readonly<Record<string, string>> = Object.freeze({
	OTEL_EXPORTER_OTLP_ENDPOINT: "Sets traces.endpoint, and thereby switches the exporter on.",
	OTEL_EXPORTER_OTLP_HEADERS: "Sets traces.headers.",
	OTEL_SERVICE_NAME: "Sets service.name.",
	OTEL_RESOURCE_ATTRIBUTES:
		"Sets traces.resourceAttributes; service.name, service.namespace and service.version in it set these keys.",
	OTEL_TRACES_SAMPLER:
		"Sets traces.sample: always_on is 1, always_off is 0, traceidratio takes OTEL_TRACES_SAMPLER_ARG; each also with parentbased_ before it.",
	OTEL_TRACES_SAMPLER_ARG: "The share for traceidratio, from 0 to 1; 1 when it is absent.",
	OTEL_SDK_DISABLED: "true sets traces.exporter to none.",
});

const serviceKeys: Readonly<Record<string, KeyPath>> = {
	"service.name": "service.name",
	"service.namespace": "service.namespace",
	"service.version": "service.version",
};

export function readOpenTelemetry(env: Env): Layer {
	const assignments: Assignment[] = [];
	const warnings: Problem[] = [];
	const take = (name: string): string | undefined => (env[name] === "" ? undefined : env[name]);
	const set = (path: KeyPath, name: string, text: string): void => {
		assignments.push({ path, concrete: path, input: { form: "text", place: { kind: "variable", name }, text } });
	};
	const ignore = (kind: ProblemKind, name: string, message: string, expected: string): void => {
		warnings.push({
			kind,
			place: { kind: "variable", name },
			message: `${message}; the variable is ignored`,
			expected,
		});
	};

	const attributes = take("OTEL_RESOURCE_ATTRIBUTES");
	const split = attributes === undefined ? [] : splitPairs(attributes);
	if (split === undefined) {
		ignore(
			"bad_value",
			"OTEL_RESOURCE_ATTRIBUTES",
			"this is not name=value with commas between",
			"name=value,name=value, percent-encoded",
		);
	} else if (attributes !== undefined) {
		const others = new Map(split); // of a repeated name the last counts
		for (const [name, path] of Object.entries(serviceKeys)) {
			const value = others.get(name);
			if (value !== undefined && value !== "") set(path, "OTEL_RESOURCE_ATTRIBUTES", value);
			others.delete(name);
		}
		const rest = [...others].map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
		if (rest.length > 0) set("traces.resourceAttributes", "OTEL_RESOURCE_ATTRIBUTES", rest.join(","));
	}

	const serviceName = take("OTEL_SERVICE_NAME");
	if (serviceName !== undefined) set("service.name", "OTEL_SERVICE_NAME", serviceName); // after the attributes: it wins

	const endpoint = take("OTEL_EXPORTER_OTLP_ENDPOINT");
	if (endpoint !== undefined) set("traces.endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
	const headers = take("OTEL_EXPORTER_OTLP_HEADERS");
	if (headers !== undefined) set("traces.headers", "OTEL_EXPORTER_OTLP_HEADERS", headers);
	const protocol = take("OTEL_EXPORTER_OTLP_PROTOCOL");
	if (endpoint !== undefined && protocol === "grpc") {
		ignore(
			"ignored",
			"OTEL_EXPORTER_OTLP_PROTOCOL",
			"spans are sent by HTTP only",
			"an endpoint that speaks OTLP over HTTP, usually port 4318",
		);
	}

	readSampler(take("OTEL_TRACES_SAMPLER"), take("OTEL_TRACES_SAMPLER_ARG"), set, ignore);

	const disabled = take("OTEL_SDK_DISABLED")?.toLowerCase();
	if (disabled === "true") set("traces.exporter", "OTEL_SDK_DISABLED", "none");
	else if (disabled !== undefined && disabled !== "false") {
		ignore("wrong_type", "OTEL_SDK_DISABLED", `this is not a boolean (found ${quote(disabled)})`, "true or false");
	}
	return { assignments, lists: [], problems: [], warnings, isWhole: true, isAdvisory: true };
}

function readSampler(
	sampler: string | undefined,
	argument: string | undefined,
	set: (path: KeyPath, name: string, text: string) => void,
	ignore: (kind: ProblemKind, name: string, message: string, expected: string) => void,
): void {
	switch (sampler?.replace(/^parentbased_/, "")) {
		case undefined:
			return; // the argument alone means nothing
		case "always_on":
			set("traces.sample", "OTEL_TRACES_SAMPLER", "1");
			return;
		case "always_off":
			set("traces.sample", "OTEL_TRACES_SAMPLER", "0");
			return;
		case "traceidratio":
			if (argument === undefined) set("traces.sample", "OTEL_TRACES_SAMPLER", "1");
			else if (isShare(argument)) set("traces.sample", "OTEL_TRACES_SAMPLER_ARG", argument);
			else {
				ignore(
					"out_of_bounds",
					"OTEL_TRACES_SAMPLER_ARG",
					`this is not a share (found ${quote(argument)})`,
					"a number from 0 to 1",
				);
				set("traces.sample", "OTEL_TRACES_SAMPLER", "1"); // the sampler's own default
			}
			return;
		default:
			ignore(
				"bad_value",
				"OTEL_TRACES_SAMPLER",
				`there is no such sampler here (found ${quote(sampler ?? "")})`,
				"always_on, always_off or traceidratio, each also with parentbased_ before it",
			);
	}
}

function isShare(text: string): boolean {
	return /^(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?$/.test(text) && Number(text) <= 1;
}
