// Preloaded into every process and worker while coverage is measured (scripts/coverage.mjs): Node strips the types by itself
// and tsx stays out. What tsx makes is one line with a source map, from which c8 takes lines for run that were not; stripped
// text has every character where it was. Node does not know the paths of tsconfig.json, so our packages are resolved here.
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";

const root = new URL("../", import.meta.url);
const { paths } = JSON.parse(readFileSync(new URL("tsconfig.json", root), "utf8")).compilerOptions;
const own = new Map(Object.entries(paths).map(([name, [file]]) => [name, new URL(file, root).href]));
/** For `--import tsx`: a module that does nothing. */
own.set("tsx", "data:text/javascript,");

registerHooks({
	resolve(specifier, context, next) {
		const url = own.get(specifier);
		return url === undefined ? next(specifier, context) : { url, shortCircuit: true };
	},
});
