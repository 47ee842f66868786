// A reporter of node:test that counts tests (not their groups) and notices files in which there is no test at all.
import { relative } from "node:path";

export default async function* countReporter(source) {
	const counts = { passed: 0, failed: 0, skipped: 0, empty: [] };
	for await (const { type, data } of source) {
		if (type !== "test:pass" && type !== "test:fail") continue;
		if (data.details?.type === "suite") {
			// A group counts only where it failed by itself: its own hook or its own body threw.
			if (type === "test:fail" && data.details.error?.failureType === "hookFailed") counts.failed += 1;
			continue;
		}
		const isWholeFile =
			data.nesting === 0 && data.file !== undefined && data.name === relative(process.cwd(), data.file);
		if (type === "test:fail") counts.failed += 1;
		else if (isWholeFile) counts.empty.push(data.name);
		else if (data.skip !== undefined || data.todo !== undefined) counts.skipped += 1;
		else counts.passed += 1;
	}
	yield JSON.stringify(counts);
}
