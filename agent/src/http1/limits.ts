/** Bounds of one head; the same three bound the trailers of a chunked body. */
export interface HeadLimits {
	/** `limits.head`: octets from the first byte of a head (an empty line before it included) to the end of its blank line. */
	readonly headBytesMax: number;
	/** `limits.headers`: field lines in one head, and options named in its Connection fields. */
	readonly headersMax: number;
	/** `limits.target`: octets of the request target. */
	readonly targetBytesMax: number;
}
