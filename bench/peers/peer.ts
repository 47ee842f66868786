/** A proxy that can be measured: how it is started before an app, and what it was told to do. */
import type { Launch } from "../processes.ts";

/** Where a peer is to stand. */
export interface Site {
	/** It listens here, on 127.0.0.1. */
	readonly port: number;
	/** The app, on 127.0.0.1. */
	readonly originPort: number;
	/** A folder of its own, for its configuration and its log. */
	readonly folder: string;
	/** The port of its metrics page, where it has one. */
	readonly opsPort: number;
	/** A third port of its own. */
	readonly apiPort: number;
	/** Further variables, for the questions that need the agent set up otherwise. */
	readonly env: Readonly<Record<string, string>>;
}

/** How to start it, and the file in which its access lines arrive. */
export interface PeerLaunch extends Pick<Launch, "argv"> {
	readonly env?: Readonly<Record<string, string>>;
	readonly logFile: string;
	/** Its stdout is the access log; otherwise it writes the file itself. */
	readonly isLogStdout: boolean;
}

export interface Peer {
	readonly name: string;
	/** One line for the reader of the results: what is switched on. */
	readonly setting: string;
	/** It is Outrigger's agent, of whichever build: the questions about its own page are asked. */
	readonly isAgent: boolean;
	/** Reads the version from the executable; throws when it cannot be started. */
	version(): string;
	/** What is missing to start it, and how to get it; undefined when nothing is. */
	missing(): Missing | undefined;
	/** The same peer with further flags for its runtime, where it has one that takes flags. */
	withFlags?(flags: readonly string[]): Peer;
	/** Writes its configuration into the site's folder. */
	launch(site: Site): PeerLaunch;
}

export interface Missing {
	readonly what: string;
	readonly how: string;
	/** Packages of the distribution that bring it. */
	readonly apt?: readonly string[];
	/** Packages of PyPI that bring it, into the bench's own venv. */
	readonly pip?: readonly string[];
}
