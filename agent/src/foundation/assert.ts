/** Assertions are for our own mistakes, never for input: input that is wrong is a `Fault` or a configuration problem. */
export class AssertionFailure extends Error {
	override readonly name = "AssertionFailure";
}

/** Throws when something that we believe to be impossible has happened. */
export function assert(claim: boolean, message: string): asserts claim {
	if (!claim) throw new AssertionFailure(message);
}

/** For the `default` of a switch over a closed union: compiles only when every case is handled. */
export function unreachable(value: never): never {
	throw new AssertionFailure(`unreachable: ${String(value)}`);
}
