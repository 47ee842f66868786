/** What this program is, for `outrigger version` and `outrigger_build_info`. The build writes the version in; sources have none. */
declare const __OUTRIGGER_VERSION__: string | undefined;
declare const __OUTRIGGER_REVISION__: string | undefined;

export interface BuildInfo {
	/** `0.0.0-source` when it runs from its sources. */
	readonly version: string;
	/** Commit; `unknown` when the build did not say. */
	readonly revision: string;
	/** Version of Node.js without the v. */
	readonly node: string;
}

export const BUILD_INFO: BuildInfo = Object.freeze({
	version: typeof __OUTRIGGER_VERSION__ === "string" ? __OUTRIGGER_VERSION__ : "0.0.0-source",
	revision: typeof __OUTRIGGER_REVISION__ === "string" ? __OUTRIGGER_REVISION__ : "unknown",
	node: process.versions.node,
});
