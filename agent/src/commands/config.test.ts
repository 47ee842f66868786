import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { KEY_PATHS } from "../config/keys.ts";
import type { Io } from "./command.ts";
import { runCommandLine } from "./command-line.ts";
import { COMMANDS } from "./registry.ts";

interface Said {
	readonly out: string;
	readonly err: string;
	readonly code: number;
}

interface Given {
	readonly env?: Readonly<Record<string, string>>;
	readonly cwd?: string;
	readonly isTerminal?: boolean;
}

async function type(given: Given, ...argv: readonly string[]): Promise<Said> {
	const said = { out: "", err: "" };
	const { env = {}, cwd = "/nowhere", isTerminal = false } = given;
	const output = (key: "out" | "err"): Io["stdout"] => ({
		write: (text) => {
			said[key] += text;
		},
		isTerminal,
		columns: isTerminal ? 80 : undefined,
	});
	const { code } = await runCommandLine(
		["config", ...argv],
		{
			stdout: output("out"),
			stderr: output("err"),
			env,
			cwd,
		},
		COMMANDS,
	);
	return { ...said, code };
}

const wrong = { OUTRIGGER_WORKERS: "x", OUTRIGGER_TIMEOUT__HEAD: "1s" };

test("config check tells all problems on stdout and ends with 78; a good one says so", async () => {
	const bad = await type({ env: wrong }, "check");
	assert.equal(bad.code, 78);
	assert.match(bad.out, /^OUTRIGGER_TIMEOUT__HEAD: there is no key/m);
	assert.match(bad.out, /did you mean OUTRIGGER_TIMEOUTS__HEAD\?/);
	assert.match(
		bad.out,
		/^OUTRIGGER_WORKERS: workers: this is not a whole number \(found "x"\)\n {4}expected: .*\n {4}example: OUTRIGGER_WORKERS=2\n/m,
	);
	assert.equal(bad.err, "2 problems in the configuration (without a file).\n");
	assert.equal(
		(await type({ env: { OUTRIGGER_WORKERS: "x" } }, "check")).err,
		"1 problem in the configuration (without a file).\n",
	);
	const good = await type({ env: { OUTRIGGER_APP_PORT: "3000" } }, "check");
	assert.deepEqual(good, { code: 0, out: "", err: "The configuration is good (without a file).\n" });
});

test("config check without an app's port is a warning: the pod says it", async () => {
	const { code, out } = await type({}, "check");
	assert.equal(code, 0);
	assert.match(out, /^OUTRIGGER_APP_PORT: warning: inbound\.0\.app: nobody has said where the app listens/);
});

test("config check reads a file from where it is called, and -o json says the same for a script", async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "outrigger-config-"));
	t.after(() => rmSync(folder, { recursive: true }));
	writeFileSync(join(folder, "o.yaml"), "inbound: [{ app: 'localhost:3000' }]\nlog:\n  level: loud\n");
	const { code, out } = await type({ cwd: folder }, "check", "--config", "o.yaml", "-o", "json");
	assert.equal(code, 78);
	const told = JSON.parse(out);
	assert.equal(told.ok, false);
	assert.equal(told.file, "o.yaml");
	assert.deepEqual(told.problems[0].place, { kind: "file", file: "o.yaml", line: 3, column: 10 });
	writeFileSync(join(folder, "good.yaml"), "inbound: [{ app: 'localhost:3000' }]\n");
	const good = JSON.parse(
		(await type({ cwd: folder }, "check", "--config", "good.yaml", "--set", "log.level=warn", "-o", "json")).out,
	);
	assert.deepEqual(good, { ok: true, file: "good.yaml", problems: [], warnings: [] });
	const lacking = await type({ cwd: folder }, "check", "--config", "p.yaml");
	assert.equal(lacking.code, 78);
	assert.match(lacking.out, /^--config: there is no file p\.yaml/);
	assert.match((await type({ cwd: folder }, "check", "--config", "o.yaml")).err, /\(with o\.yaml\)/);
});

test("colour is there on a terminal, and never with NO_COLOR or on a dumb one", async () => {
	const coloured = async (env: Readonly<Record<string, string>>, isTerminal: boolean): Promise<boolean> =>
		(await type({ env: { ...wrong, ...env }, isTerminal }, "check")).out.includes("\u001b[");
	assert.equal(await coloured({}, true), true);
	assert.equal(await coloured({ NO_COLOR: "" }, true), true);
	assert.equal(await coloured({}, false), false);
	assert.equal(await coloured({ NO_COLOR: "1" }, true), false);
	assert.equal(await coloured({ TERM: "dumb" }, true), false);
});

test("config show prints every value with its source, secrets hidden; problems end with 78", async () => {
	const env = {
		OTEL_EXPORTER_OTLP_HEADERS: "authorization=geheim",
		OUTRIGGER_WORKERS: "2",
		OUTRIGGER_APP_PORT: "3000",
	};
	const { code, out, err } = await type({ env }, "show");
	assert.equal(code, 0);
	assert.match(out, /^KEY +VALUE +SOURCE\n/);
	assert.match(out, /^workers +2 +OUTRIGGER_WORKERS$/m);
	assert.match(out, /^timeouts\.head +10s +default$/m);
	assert.match(out, /^inbound\.0\.app +localhost:3000 +OUTRIGGER_APP_PORT$/m);
	assert.match(out, /^traces\.headers +"\[hidden\]" +OTEL_EXPORTER_OTLP_HEADERS$/m);
	assert.doesNotMatch(out + err, /geheim/);
	assert.match(err, /traces\.headers: this has no effect/);
	assert.match((await type({}, "show")).out, /^inbound\.0\.app +- +default$/m);

	const json: readonly { readonly key: string; readonly value: unknown; readonly source: unknown }[] = JSON.parse(
		(await type({ env }, "show", "-o", "json")).out,
	);
	assert.deepEqual(
		json.find(({ key }) => key === "workers"),
		{ key: "workers", value: 2, source: { kind: "variable", name: "OUTRIGGER_WORKERS" } },
	);
	assert.deepEqual(
		json.find(({ key }) => key === "routes.table"),
		{ key: "routes.table", value: [], source: { kind: "default" } },
	);

	const bad = await type({ env: wrong }, "show");
	assert.deepEqual([bad.code, bad.out], [78, ""]);
	assert.match(bad.err, /2 problems in the configuration; nothing was started\.\n$/);
	const badJson = await type({ env: { OUTRIGGER_WORKERS: "x" } }, "show", "-o", "json");
	assert.equal(badJson.code, 78);
	assert.equal(JSON.parse(badJson.out).problems.length, 1);
	assert.match((await type({ env: { OUTRIGGER_WORKERS: "x" } }, "show")).err, /^1 problem in/m);
});

test("config schema is JSON on stdout and nothing else", async () => {
	const { code, out, err } = await type({}, "schema");
	assert.deepEqual([code, err], [0, ""]);
	assert.equal(JSON.parse(out).$schema, "https://json-schema.org/draft/2020-12/schema");
});

test("config env lists every key's variable and those that stand outside", async () => {
	const rows: readonly {
		readonly name: string;
		readonly key?: string;
		readonly meaning: string;
		readonly secret: boolean;
	}[] = JSON.parse((await type({}, "env", "-o", "json")).out);
	assert.deepEqual(
		rows.flatMap(({ key }) => key ?? []),
		KEY_PATHS,
	);
	assert.deepEqual(
		rows.filter(({ secret }) => secret).map(({ name }) => name),
		["OTEL_EXPORTER_OTLP_HEADERS", "OUTRIGGER_TRACES__HEADERS"],
	);
	const { out } = await type({}, "env");
	assert.match(out, /^OUTRIGGER_APP_PORT +The app's port/m);
	assert.match(out, /^OUTRIGGER_TIMEOUTS__BODY_STALL +30s +How long/m);
	assert.match(out, /^OUTRIGGER_TRACES__HEADERS +none .* Secret\.$/m);
});

test("config alone says which there are", async () => {
	const { code, err } = await type({});
	assert.equal(code, 64);
	assert.match(err, /check, show, schema or env/);
});
