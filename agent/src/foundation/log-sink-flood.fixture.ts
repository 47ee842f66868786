/** A process of log-sink.test.ts: writes ten megabytes to an end that nobody reads, tells how that went, and exits while bytes are pending. */
import { systemClock } from "./clock.ts";
import { Deadline } from "./deadline.ts";
import { LogSink } from "./log-sink.ts";

const sink = LogSink.open(process.argv[2] ?? "stdout", 65_536);
const line = Buffer.alloc(1024, "x");
line[1023] = 0x0a;
for (let i = 0; i < 10_000; i++) sink.write(Buffer.from(line), 1, "access_line");
const isFlushed = await sink.flush(Deadline.after(systemClock, 50));
process.send?.({ dropped: sink.dropped("access_line"), pendingBytes: sink.pendingBytes, isFlushed }, () => {
	process.exit(0);
});
