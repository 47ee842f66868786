import { renderAddress } from "../config/address.ts";
import type { Address, InboundSettings, Settings } from "../config/settings.ts";
import { unreachable } from "../foundation/assert.ts";
import type { Clock } from "../foundation/clock.ts";
import type { Component } from "../foundation/component.ts";
import type { Scheduler } from "../foundation/scheduler.ts";
import type { AppPortStatus } from "./app-port.ts";
import { grpcCheck } from "./check-grpc.ts";
import { type AskingParts, askHttp, type HealthPage, httpCheck, judgeHttp, pageOfUrl } from "./check-http.ts";
import type { Contributor, HealthFinding, HealthTree } from "./health-tree.ts";
import type { NameLookups } from "./name-lookup.ts";
import { type Check, ScheduledCheck } from "./scheduled-check.ts";

/**
 * How one port of the app is: whether it accepts (`AppPort` says so), and what the app's own check says while it does.
 *
 *                 accepts, nothing to ask
 *   unknown ──────────────────────────────────► accepts ◄───┐ auto: there is no page
 *      │ ▲                                                  │
 *      │ └── accepts ──► asking (unknown) ──first answer──► checked (pass, warn, fail)
 *      ▼                    │                               │
 *   refuses ◄───────────────┴────────── refuses ────────────┘      all that was learned is forgotten
 *
 * Between the moment at which the port accepts and the first answer the app is `unknown`, which is not ready: so readiness goes up once, and not
 * up, down and up. A refusal counts at once; `AppPort` has its own fall and rise.
 *
 * **auto** asks `GET /health` when the port accepts. 2xx, 3xx and 5xx: that is the app's health page from now on. 4xx: it has none, and the
 * port alone counts; 404 is the plain case, but an app that wants a login everywhere (401, 403), takes no GET (405) or wants another Host
 * (400, 421) has not said that it is ill, and must not become unready for having no page. What does not speak HTTP/1 (gRPC, a database,
 * anything behind TLS) passes, is asked as often as `fall` says, since one reset connection proves nothing, and is then left in peace. Who
 * does not answer at all within the timeout fails like any other check, with the line that turns the question off.
 */
export interface AppHealthSettings {
	readonly target: AppTarget;
	readonly intervalMs: number;
	readonly timeoutMs: number;
	readonly fall: number;
	readonly rise: number;
	/** Whether a failing check is a failure, or a warning. A port that refuses always is one: nobody could be served. */
	readonly critical: boolean;
}

/** What is asked while the port accepts. */
export type AppTarget =
	| { readonly t: "none" }
	| { readonly t: "auto" }
	/** At the app's own address. */
	| { readonly t: "path"; readonly path: string }
	| { readonly t: "url"; readonly url: string }
	| { readonly t: "grpc"; readonly service: string };

export interface AppHealthParts {
	readonly tree: HealthTree;
	readonly clock: Clock;
	readonly scheduler: Scheduler;
	/** In [0, 1). */
	readonly random: () => number;
	readonly lookups: NameLookups;
	readonly userAgent: string;
}

/** Where most services have it. */
export const AUTO_PATH = "/health";
/** While the app is ill or has not answered yet, it is asked this often: it should get its traffic soon. */
const RETRY_MS = 1_000;

/**
 * What is asked on the app's port number `index`. The check is one of the app, not of a port: it is asked on the first one, and the others count
 * by whether they accept (a second port is more often gRPC or an admin page than the same thing again).
 */
export function appTarget(
	health: Settings["health"]["app"],
	index: number,
	protocol: InboundSettings["protocol"] | undefined,
): AppTarget {
	const { http, grpc } = health;
	if (index > 0) return { t: "none" };
	if (grpc !== "none") return { t: "grpc", service: grpc === "*" ? "" : grpc };
	// Who says that the port speaks something else has answered the question of auto.
	if (http === "auto") return protocol === "tcp" || protocol === "http2" ? { t: "none" } : { t: "auto" };
	if (http === "none") return { t: "none" };
	return http.startsWith("/") ? { t: "path", path: http } : { t: "url", url: http };
}

export class AppHealth implements Component {
	readonly name: string;
	readonly #settings: AppHealthSettings;
	readonly #contributor: Contributor;
	readonly #check: ScheduledCheck | undefined;
	readonly #asking: AskingParts;
	#isRunning = false;
	#port: AppPortStatus | undefined;
	/** Whether something has been found out since the port accepts. */
	#hasAnswered = false;
	/** Of `auto`, since the port last refused. */
	#learned: "nothing" | "page" | "no_page" = "nothing";
	/** Answers in a row that were not HTTP. */
	#aliens = 0;

	/** `name`: of the port, such as that of its inbound. It is the contributor's name. */
	constructor(name: string, settings: AppHealthSettings, parts: AppHealthParts) {
		this.name = `app-health ${name}`;
		this.#settings = settings;
		this.#contributor = parts.tree.add("app", name, { critical: true });
		const { clock, scheduler, random, userAgent, lookups } = parts;
		this.#asking = { userAgent, lookup: lookups.door() };
		const { intervalMs, timeoutMs, fall, rise } = settings;
		if (settings.target.t === "none") return;
		this.#check = new ScheduledCheck(
			{ intervalMs, timeoutMs, fall, rise, retryMs: Math.min(RETRY_MS, intervalMs) },
			{
				clock,
				scheduler,
				random,
				check: (signal) => this.#ask(signal),
				onFinding: (finding) => this.#onFinding(finding),
			},
		);
	}

	async start(): Promise<void> {
		if (this.#isRunning) return;
		this.#isRunning = true;
		this.#settle();
	}

	async stop(): Promise<void> {
		this.#isRunning = false;
		this.#check?.stop();
	}

	/** To be told each change of the app's port, in the turn of the change. */
	onPort(port: AppPortStatus): void {
		this.#port = port;
		this.#settle();
	}

	/** Brings check and contributor in line with the port. Called as often as one likes. */
	#settle(): void {
		const port = this.#port;
		if (port?.state !== "accepts") {
			this.#check?.stop();
			this.#learned = "nothing";
			this.#aliens = 0;
			this.#hasAnswered = false;
			this.#contributor.set(
				port?.state === "refuses"
					? { status: "fail", reason: "app_refuses", detail: port.lastError }
					: { status: "unknown", reason: "not_asked" },
			);
			return;
		}
		if (this.#check === undefined || this.#learned === "no_page") {
			this.#contributor.set(this.#accepts());
			return;
		}
		if (!this.#hasAnswered)
			this.#contributor.set(this.#settings.critical ? { status: "unknown", reason: "not_asked" } : this.#accepts());
		if (this.#isRunning) this.#check.start();
	}

	#accepts(): HealthFinding {
		const { address } = this.#port ?? {};
		return { status: "pass", detail: address === undefined ? undefined : `${renderAddress(address)} accepts` };
	}

	#onFinding(finding: HealthFinding): void {
		this.#hasAnswered = true;
		if (this.#learned === "no_page") {
			this.#check?.stop();
			this.#contributor.set(this.#accepts());
			return;
		}
		const isFailure = finding.status === "fail" && !this.#settings.critical;
		this.#contributor.set({ ...finding, ...(isFailure ? { status: "warn" } : {}), advice: this.#advice(finding) });
	}

	#advice(finding: HealthFinding): string | undefined {
		if (this.#settings.target.t !== "auto" || this.#learned !== "nothing" || finding.status !== "fail")
			return undefined;
		return "if the app has no health page and speaks no HTTP: health: { app: { http: none } }";
	}

	#ask(signal: AbortSignal): Promise<HealthFinding> {
		const address = this.#port?.address;
		// A port that accepts has been found somewhere. The address is asked for each time, since it may come back at another one.
		if (address === undefined)
			return Promise.resolve({ status: "fail", reason: "internal", detail: "it has no address" });
		return this.#checkAt(address)(signal);
	}

	#checkAt(address: Address): Check {
		const { target } = this.#settings;
		switch (target.t) {
			case "none":
				return () => Promise.resolve({ status: "pass" });
			case "auto":
				return (signal) => this.#askAuto(ownPage(address, AUTO_PATH), signal);
			case "path":
				return httpCheck(ownPage(address, target.path), this.#asking);
			case "url":
				return httpCheck(pageOfUrl(target.url, true), this.#asking);
			case "grpc":
				return grpcCheck({ address, service: target.service }, this.#asking);
			default:
				return unreachable(target);
		}
	}

	async #askAuto(page: HealthPage, signal: AbortSignal): Promise<HealthFinding> {
		const outcome = await askHttp(page, this.#asking, signal);
		const finding = judgeHttp(page, outcome);
		if (signal.aborted || this.#learned === "page") return finding;
		if (outcome.t === "alien") {
			this.#aliens += 1;
			if (this.#aliens >= this.#settings.fall) this.#learned = "no_page";
			return { status: "pass", detail: `${finding.detail}: only the port counts` };
		}
		this.#aliens = 0;
		if (outcome.t === "answered") {
			const { status } = outcome;
			this.#learned = (status >= 200 && status < 400) || (status >= 500 && status < 600) ? "page" : "no_page";
		}
		return finding;
	}
}

function ownPage(address: Address, path: string): HealthPage {
	return { address, isTls: false, isVerified: false, path, auth: undefined };
}
