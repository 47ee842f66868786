/** Reads what a rule needs from TypeScript text: its imports, and its code without comments and texts. */
import { posix } from "node:path";

export interface Import {
	/** As written: `./fault.ts`, `node:net`, `pino`. */
	readonly specifier: string;
	/** static: loaded with the file; dynamic: `import()`; type: nothing is left of it at run time. */
	readonly kind: "static" | "dynamic" | "type";
	/** From 1. */
	readonly line: number;
}

export interface Source {
	/** From the root of the repository, with `/`. */
	readonly path: string;
	/** The text, in which comments, strings, templates and regular expressions are blanks; same length, same lines. */
	readonly code: string;
	readonly imports: readonly Import[];
}

const REGEX_AFTER_CHAR = "(,=:[!&|?{};+-*%<>~^";
const REGEX_AFTER_WORD = /\b(?:return|typeof|case|in|of|do|else|void|delete|throw|new|await|yield)$/;

/**
 * Blanks out everything that is not code. Not a parser: whether a slash begins a regular expression is told by what is
 * before it, which is right for formatted code. Expressions inside templates stay code.
 */
export function blank(text: string): string {
	const out = [...text.replace(/[\u0080-\uffff]/g, "x")];
	const wipe = (from: number, to: number): void => {
		for (let i = from; i < to; i++) if (out[i] !== "\n") out[i] = " ";
	};
	/** One entry for each template we are inside of: how many braces are open in its present expression. */
	const templates: number[] = [];
	let lastCode = -1;
	let at = 0;

	const endOfTemplatePart = (from: number): number => {
		let i = from;
		while (i < text.length && text[i] !== "`" && !(text[i] === "$" && text[i + 1] === "{"))
			i += text[i] === "\\" ? 2 : 1;
		wipe(from, i);
		if (text[i] === "$") {
			templates.push(0);
			return i + 2;
		}
		return i + 1;
	};

	while (at < text.length) {
		const char = text[at] ?? "";
		const next = text[at + 1];
		if (char === "/" && next === "/") {
			const end = text.indexOf("\n", at);
			wipe(at, end === -1 ? text.length : end);
			at = end === -1 ? text.length : end;
		} else if (char === "/" && next === "*") {
			const end = text.indexOf("*/", at + 2);
			wipe(at, end === -1 ? text.length : end + 2);
			at = end === -1 ? text.length : end + 2;
		} else if (char === '"' || char === "'") {
			let end = at + 1;
			while (end < text.length && text[end] !== char && text[end] !== "\n") end += text[end] === "\\" ? 2 : 1;
			wipe(at + 1, end);
			lastCode = end;
			at = end + 1;
		} else if (char === "`") {
			lastCode = at;
			at = endOfTemplatePart(at + 1);
		} else if (char === "/" && beginsRegex(text, lastCode)) {
			let end = at + 1;
			let inClass = false;
			while (end < text.length && text[end] !== "\n" && (inClass || text[end] !== "/")) {
				if (text[end] === "[") inClass = true;
				else if (text[end] === "]") inClass = false;
				end += text[end] === "\\" ? 2 : 1;
			}
			wipe(at + 1, end);
			lastCode = end;
			at = end + 1;
		} else {
			const open = templates.length - 1;
			if (open >= 0 && char === "{") templates[open] = (templates[open] ?? 0) + 1;
			if (open >= 0 && char === "}") {
				if (templates[open] === 0) {
					templates.pop();
					lastCode = at;
					at = endOfTemplatePart(at + 1);
					continue;
				}
				templates[open] = (templates[open] ?? 0) - 1;
			}
			if (char.trim() !== "") lastCode = at;
			at += 1;
		}
	}
	return out.join("");
}

function beginsRegex(text: string, lastCode: number): boolean {
	if (lastCode < 0 || REGEX_AFTER_CHAR.includes(text[lastCode] ?? "")) return true;
	return REGEX_AFTER_WORD.test(text.slice(Math.max(0, lastCode - 10), lastCode + 1));
}

const STATIC =
	/(?:^|[;}\n])[ \t]*(?:import|export)\b(?<type>\s+type\b(?!\s*(?:,|from\b)))?(?:[^"';=]*?\bfrom)?\s*["'](?<text> *)["']/dg;
const DYNAMIC = /(?<type>\btypeof\s+)?\bimport\s*\(\s*["'](?<text> *)["']/dg;

export function readSource(path: string, text: string): Source {
	const code = blank(text);
	const imports: Import[] = [];
	for (const [pattern, kind] of [
		[STATIC, "static"],
		[DYNAMIC, "dynamic"],
	] as const) {
		for (const match of code.matchAll(pattern)) {
			const [from, to] = match.indices?.groups?.["text"] ?? [0, 0];
			const line = code.slice(0, from).split("\n").length;
			imports.push({
				specifier: text.slice(from, to),
				kind: match.groups?.["type"] === undefined ? kind : "type",
				line,
			});
		}
	}
	return { path, code, imports: imports.sort((a, b) => a.line - b.line) };
}

/** The path of the file that a relative import means, from the root of the repository; undefined for a package. */
export function resolveRelative(from: string, specifier: string): string | undefined {
	return specifier.startsWith(".") ? posix.join(posix.dirname(from), specifier) : undefined;
}

/** `@outrigger/k8s` of `@outrigger/k8s/inject`, `yaml` of `yaml/util`; Node's own and relative ones give undefined. */
export function packageOf(specifier: string): string | undefined {
	if (specifier.startsWith(".") || specifier.startsWith("node:")) return undefined;
	return specifier
		.split("/")
		.slice(0, specifier.startsWith("@") ? 2 : 1)
		.join("/");
}
