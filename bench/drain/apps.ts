/** The apps that are restarted: what each does with SIGTERM by itself, what it needs, how it is built and started. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { CACHE_FOLDER, findExecutable, outputOf, VENV_FOLDER, versionIn } from "../executables.ts";
import type { Missing } from "../peers/peer.ts";
import type { What } from "./arrivals.ts";
import { patternOf } from "./body.ts";

export interface AppSite {
	/** It listens here, on 127.0.0.1. */
	readonly port: number;
	/** A folder of its own. */
	readonly folder: string;
	readonly downloadBytes: number;
}

export interface AppLaunch {
	readonly argv: readonly string[];
	readonly env: Readonly<Record<string, string>>;
}

export interface App {
	readonly name: string;
	readonly title: string;
	/** What it does when it gets SIGTERM and nobody has written anything for that. */
	readonly byItself: string;
	readonly paths: Readonly<Record<What, string>>;
	/** Throws when it cannot be started. */
	version(): string;
	missing(): Missing | undefined;
	/** Compiles what must be compiled; what is there already stays. */
	build(): void;
	/** Writes its configuration into the site's folder. */
	launch(site: AppSite): AppLaunch;
}

const SOURCES = join(import.meta.dirname, "apps");
const BUILT = join(CACHE_FOLDER, "drain");
const PATHS = { quick: "/quick", slow: "/slow", upload: "/upload", download: "/download" } as const;

const environment = ({ port, downloadBytes }: AppSite): AppLaunch["env"] => ({
	PORT: String(port),
	DOWNLOAD_BYTES: String(downloadBytes),
});

/** Runs a compiler, and says what it said when it fails. */
function compile(argv: readonly string[], cwd: string): void {
	const [file = "", ...args] = argv;
	const done = spawnSync(file, args, { cwd, encoding: "utf8", timeout: 300_000 });
	if (done.status !== 0) throw new Error(`${argv.join(" ")}: ${done.error?.message ?? done.stderr.trim()}`);
}

/** A name for what was compiled from these sources: another source gets another one. */
const builtFrom = (name: string, ...files: readonly string[]): string => {
	const hash = createHash("sha256");
	for (const file of files) hash.update(readFileSync(join(SOURCES, file)));
	return join(BUILT, `${name}-${hash.digest("hex").slice(0, 12)}`);
};

const node: App = {
	name: "node",
	title: "Node, `examples/node`",
	byItself: "ends at once (its own handler of SIGTERM is left out)",
	paths: { ...PATHS, quick: "/", slow: "/orders/1/invoice" },
	version: () => process.versions.node,
	missing: () => undefined,
	build: () => undefined,
	launch: (site) => ({ argv: [process.execPath, join(SOURCES, "node", "server.ts")], env: environment(site) }),
};

/** Where `.ci/peers` puts its Python, and where the bench puts its own. */
const PYTHON_FOLDERS = [
	join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "outrigger-peers", "python"),
	VENV_FOLDER,
];

const findUvicorn = (): string | undefined =>
	PYTHON_FOLDERS.map((folder) => join(folder, "bin", "uvicorn")).find((file) => existsSync(file));

/** The versions that the peers' tests use, so that there is one list. */
function pythonPackages(): readonly string[] {
	const file = join(import.meta.dirname, "..", "..", "agent", "test", "peers", "apps", "python", "requirements.txt");
	return readFileSync(file, "utf8")
		.split("\n")
		.filter((line) => /^(?:fastapi|uvicorn)\b/.test(line));
}

const fastapi: App = {
	name: "fastapi",
	title: "FastAPI under uvicorn",
	byItself: "closes its port at once, finishes what it has, ends",
	paths: PATHS,
	version: () => versionIn(outputOf(findUvicorn() ?? "uvicorn", ["--version"])),
	missing: () =>
		findUvicorn() === undefined
			? {
					what: "FastAPI and uvicorn",
					how: "pip install fastapi uvicorn[standard], into the bench's venv",
					pip: pythonPackages(),
				}
			: undefined,
	build: () => undefined,
	launch: (site) => ({
		argv: [
			findUvicorn() ?? "uvicorn",
			"app:app",
			...["--app-dir", join(SOURCES, "fastapi"), "--host", "127.0.0.1", "--port", String(site.port)],
			"--no-access-log",
		],
		env: { ...environment(site), PYTHONDONTWRITEBYTECODE: "1" },
	}),
};

const GO_FILES = ["go/main.go", "go/go.mod"];

const go: App = {
	name: "go",
	title: "Go, `net/http`",
	byItself: "ends at once",
	paths: PATHS,
	version: () => versionIn(outputOf(findExecutable("go") ?? "go", ["version"])),
	missing: () =>
		findExecutable("go") === undefined
			? { what: "Go", how: "apt-get install golang-go", apt: ["golang-go"] }
			: undefined,
	build() {
		const file = builtFrom("go", ...GO_FILES);
		if (existsSync(file)) return;
		mkdirSync(BUILT, { recursive: true });
		compile([findExecutable("go") ?? "go", "build", "-trimpath", "-o", file, "."], join(SOURCES, "go"));
	},
	launch: (site) => ({ argv: [builtFrom("go", ...GO_FILES)], env: environment(site) }),
};

const JAVA_FILES = ["java/Server.java"];

const java: App = {
	name: "java",
	title: "Java, `HttpServer`",
	byItself: "ends at once",
	paths: PATHS,
	version: () => versionIn(outputOf(findExecutable("java") ?? "java", ["-version"])),
	missing: () =>
		findExecutable("javac") === undefined || findExecutable("java") === undefined
			? { what: "a JDK", how: "apt-get install openjdk-17-jdk-headless", apt: ["openjdk-17-jdk-headless"] }
			: undefined,
	build() {
		const folder = builtFrom("java", ...JAVA_FILES);
		if (existsSync(join(folder, "Server.class"))) return;
		mkdirSync(folder, { recursive: true });
		compile(
			[findExecutable("javac") ?? "javac", "-encoding", "UTF-8", "-d", folder, "Server.java"],
			join(SOURCES, "java"),
		);
	},
	launch: (site) => ({
		argv: [
			findExecutable("java") ?? "java",
			"-XX:TieredStopAtLevel=1",
			"-Xmx256m",
			...["-cp", builtFrom("java", ...JAVA_FILES), "Server"],
		],
		env: environment(site),
	}),
};

/**
 * A static site with an upload. nginx can neither wait nor hash: the slow answer is a file that is sent in three parts, and the upload is read
 * whole (that is what its proxy does by default) before its length is told by an inner server.
 */
function nginxConfiguration({ port, folder }: AppSite): string {
	const user = process.getuid?.() === 0 ? "user root;" : "";
	return `
${user}
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log warn;
events { worker_connections 4000; }
http {
	access_log off;
	client_body_temp_path ${folder}/body;
	proxy_temp_path ${folder}/proxy;
	fastcgi_temp_path ${folder}/fastcgi;
	uwsgi_temp_path ${folder}/uwsgi;
	scgi_temp_path ${folder}/scgi;
	sendfile on;
	keepalive_requests 1000000000;   # the default closes each connection after 1,000: that is no restart
	server {
		listen 127.0.0.1:${port};
		root ${folder}/site;
		location = /slow {
			limit_rate 80k;
			sendfile_max_chunk 4k;
		}
		location = /upload {
			client_max_body_size 8m;
			client_body_buffer_size 2m;
			proxy_pass http://unix:${folder}/inner.sock:/;
		}
	}
	server {
		listen unix:${folder}/inner.sock;
		client_max_body_size 8m;
		location / {
			default_type application/json;
			return 200 '{"length":$http_content_length}';
		}
	}
}
`;
}

const SLOW_FILE_BYTES = 12 * 1024;

const nginx: App = {
	name: "nginx",
	title: "nginx",
	byItself: 'its "fast shutdown": ends at once',
	paths: PATHS,
	version: () => versionIn(outputOf(findExecutable("nginx") ?? "nginx", ["-v"])),
	missing: () =>
		findExecutable("nginx") === undefined
			? { what: "nginx", how: "apt-get install nginx-light", apt: ["nginx-light"] }
			: undefined,
	build: () => undefined,
	launch(site) {
		const { folder } = site;
		mkdirSync(join(folder, "site"), { recursive: true });
		writeFileSync(join(folder, "site", "quick"), "hello\n");
		writeFileSync(join(folder, "site", "slow"), patternOf(SLOW_FILE_BYTES));
		writeFileSync(join(folder, "site", "download"), patternOf(site.downloadBytes));
		const file = join(folder, "nginx.conf");
		writeFileSync(file, nginxConfiguration(site));
		return { argv: [findExecutable("nginx") ?? "nginx", "-p", folder, "-c", file], env: {} };
	},
};

export const APPS: readonly App[] = [node, fastapi, go, java, nginx];

/** @throws with the names that exist, when one does not */
export function chooseApps(wanted: readonly string[]): readonly App[] {
	return wanted.map((name) => {
		const app = APPS.find((other) => other.name === name);
		if (app === undefined) {
			throw new Error(`no app is called "${name}"; there are: ${APPS.map((other) => other.name).join(", ")}`);
		}
		return app;
	});
}
