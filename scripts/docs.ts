/** npm run docs: writes the parts of docs/ that follow from sources. */
import { readFileSync, writeFileSync } from "node:fs";
import { pages } from "./docs-pages.ts";

for (const { path, render } of await pages()) {
	const present = readFileSync(path, "utf8");
	const wanted = render(present);
	if (wanted !== present) writeFileSync(path, wanted);
	console.log(`${path}: ${wanted === present ? "as it was" : "written"}`);
}
