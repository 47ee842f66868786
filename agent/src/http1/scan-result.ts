import type { Fault } from "../foundation/fault.ts";

/** All bytes were used and more are needed. */
export const INCOMPLETE = 0;
/** The thing that is scanned ends within the bytes. */
export const COMPLETE = 1;

/** Two small integers and constant objects: compared by identity, nothing is made. */
export type ScanResult = Fault | typeof INCOMPLETE | typeof COMPLETE;
