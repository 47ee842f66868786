import { KEY_TREE, type Section, type TreeNode, variableOf } from "./key-tree.ts";
import { defaultOf, type KeyPath, keyOf, objectLists } from "./keys.ts";
import type { JsonSchema } from "./kinds.ts";

/** The JSON Schema of the configuration file, draft 2020-12, made of the keys. What several keys say together is not in it (`rules.ts`). */
export function configurationSchema(): JsonSchema {
	return {
		$schema: "https://json-schema.org/draft/2020-12/schema",
		title: "Outrigger's configuration",
		description: "OUTRIGGER_APP_PORT=3000 is enough; everything has a default.",
		...sectionSchema(KEY_TREE),
		// An empty file is a configuration too.
		type: ["object", "null"],
	};
}

function sectionSchema(section: Section): JsonSchema {
	const properties = Object.fromEntries([...section.children].map(([name, node]) => [name, nodeSchema(node)]));
	const required = [...section.children]
		.filter(([, node]) => node.type === "key" && isNeeded(node.path))
		.map(([name]) => name);
	return { type: "object", properties, ...(required.length === 0 ? {} : { required }), additionalProperties: false };
}

function nodeSchema(node: TreeNode): JsonSchema {
	switch (node.type) {
		case "key":
			return keySchema(node.path);
		case "section":
			// A heading with nothing below it is how a section looks whose lines are commented out.
			return { ...sectionSchema(node), type: ["object", "null"] };
		case "objects": {
			const { itemsMax, meaning } = objectLists[node.path];
			return { type: ["array", "null"], description: meaning, items: sectionSchema(node.item), maxItems: itemsMax };
		}
	}
}

function keySchema(path: KeyPath): JsonSchema {
	const { kind, meaning, example, defaultNote } = keyOf(path);
	const written = defaultOf(path);
	const isFixed = written !== undefined && !path.includes("[]");
	const variable = `Variable: ${variableOf(path)}.`;
	return {
		...kind.schema,
		description: [meaning, ...(defaultNote === undefined ? [] : [`Default: ${defaultNote}.`]), variable].join(" "),
		...(isFixed ? { default: written } : {}),
		examples: [example],
	};
}

/** A key of an entry that the entry cannot be without. */
function isNeeded(path: KeyPath): boolean {
	return keyOf(path).defaultNote === "must be there";
}
