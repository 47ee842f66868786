/** Templates of routes: `/users/{id}`, `/files/{rest...}`. Text in, the reason why it is none out. */

/** Why the text is not a template; `undefined` when it is one. */
export function routeTemplateMistake(template: string): string | undefined {
	const segments = template.split("/").slice(1);
	const names = new Set<string>();
	for (const [index, segment] of segments.entries()) {
		const isLast = index === segments.length - 1;
		if (segment === "" && !isLast) return "there is an empty segment (//)";
		if (segment === "." || segment === "..") return `a segment ${segment} never reaches a route`;
		if (!/[{}]/.test(segment)) continue;
		const name = /^\{([A-Za-z_][A-Za-z0-9_-]*)(\.\.\.)?\}$/.exec(segment);
		if (name === null)
			return `a parameter is a whole segment in braces, such as {id}; ${JSON.stringify(segment)} is not`;
		const [, parameter = "", rest] = name;
		if (rest !== undefined && !isLast) return `{${parameter}...} takes all that remains, so it can only come last`;
		if (names.has(parameter)) return `the parameter {${parameter}} is there twice`;
		names.add(parameter);
	}
	return undefined;
}

/** What two templates have in common that match the same paths: `/users/{}` for `/users/{id}` and `/users/{name}`. */
export function routeShape(template: string): string {
	return template.replace(/\{[^}]*?(\.\.\.)?\}/g, "{$1}");
}
