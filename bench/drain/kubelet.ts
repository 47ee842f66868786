/**
 * How the kubelet ends a pod with a native sidecar, as read in its source and seen on a real one:
 *
 *   t0       preStop of all containers, at once
 *            the app's hook returns  ──► SIGTERM to the app
 *            the app is gone         ──► SIGTERM to the sidecar (70 ms later, and not before its own hook has returned)
 *   t0 + grace   SIGTERM to what has had none, and two seconds later SIGKILL to what is left
 *
 * Nobody looks at what a hook answers; one that fails has returned. A container without a hook gets SIGTERM at t0.
 */

export interface Time {
	nowMs(): number;
	/** Calls back once; the function that is returned takes it back. */
	after(ms: number, action: () => void): () => void;
}

export interface Container {
	/** SIGTERM, and SIGKILL for what is left after `graceMs`; resolves when it has ended. At once when it has already. */
	stop(graceMs: number): Promise<void>;
	/** How it ended: `exit code 0`, `signal SIGTERM`; undefined while it runs. */
	hasEnded(): string | undefined;
}

/** What a hook said, for people; the kubelet does not look at it. */
export type Hook = (signal: AbortSignal) => Promise<string>;

export interface DoomedPod {
	readonly app: Container;
	readonly appHook?: Hook;
	readonly sidecar?: Container;
	readonly sidecarHook?: Hook;
}

/** Moments since t0, ms. */
export interface Stop {
	readonly appHookMs: number | undefined;
	readonly appHookSaid: string | undefined;
	readonly sidecarHookMs: number | undefined;
	readonly sidecarHookSaid: string | undefined;
	readonly appSigtermMs: number;
	readonly appGoneMs: number;
	readonly appEnded: string;
	readonly sidecarSigtermMs: number | undefined;
	readonly sidecarGoneMs: number | undefined;
	readonly sidecarEnded: string | undefined;
	/** The end of the grace period came first. */
	readonly isGraceOver: boolean;
}

export type StopPhase = "hooks" | "app stops" | "agent stops";

/** Seen on kubelet 1.36. */
export const SIDECAR_AFTER_MS = 70;
/** What a container gets at least between SIGTERM and SIGKILL. */
export const GRACE_MIN_MS = 2000;

export async function endPod(
	pod: DoomedPod,
	graceMs: number,
	time: Time,
	onPhase: (phase: StopPhase) => void = () => undefined,
): Promise<Stop> {
	const startMs = time.nowMs();
	const sinceStart = (): number => time.nowMs() - startMs;
	const over = new AbortController();
	const { promise: graceOver, resolve } = Promise.withResolvers<void>();
	let isGraceOver = false;
	const cancel = time.after(graceMs, () => {
		isGraceOver = true;
		over.abort();
		resolve();
	});
	const leftMs = (): number => Math.max(GRACE_MIN_MS, graceMs - sinceStart());
	const runHook = async (hook: Hook | undefined) => {
		if (hook === undefined) return { ms: undefined, said: undefined };
		const said = await Promise.race([
			hook(over.signal).catch((error: unknown) => `failed: ${error instanceof Error ? error.message : String(error)}`),
			graceOver.then(() => "did not return within the grace period"),
		]);
		return { ms: sinceStart(), said };
	};

	onPhase("hooks");
	const sidecarHook = runHook(pod.sidecarHook);
	const appHook = await runHook(pod.appHook);
	const appSigtermMs = sinceStart();
	onPhase("app stops");
	let appGoneMs = 0;
	const appGone = pod.app.stop(leftMs()).then(() => {
		appGoneMs = sinceStart();
	});
	let sidecarSigtermMs: number | undefined;
	let sidecarGoneMs: number | undefined;
	if (pod.sidecar !== undefined) {
		await Promise.race([appGone, graceOver]);
		await Promise.race([sidecarHook, graceOver]);
		if (!isGraceOver) {
			onPhase("agent stops");
			await pause(time, SIDECAR_AFTER_MS);
		}
		sidecarSigtermMs = sinceStart();
		await pod.sidecar.stop(leftMs());
		sidecarGoneMs = sinceStart();
	}
	await appGone;
	cancel();
	const { ms: sidecarHookMs, said: sidecarHookSaid } = await sidecarHook;
	return {
		appHookMs: appHook.ms,
		appHookSaid: appHook.said,
		sidecarHookMs,
		sidecarHookSaid,
		appSigtermMs,
		appGoneMs,
		appEnded: pod.app.hasEnded() ?? "still there",
		sidecarSigtermMs,
		sidecarGoneMs,
		sidecarEnded: pod.sidecar?.hasEnded(),
		isGraceOver,
	};
}

const pause = (time: Time, ms: number): Promise<void> => {
	const { promise, resolve } = Promise.withResolvers<void>();
	time.after(ms, resolve);
	return promise;
};
