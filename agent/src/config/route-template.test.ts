import assert from "node:assert/strict";
import { test } from "node:test";
import { routeShape, routeTemplateMistake } from "./route-template.ts";

test("templates have whole segments as parameters, the remaining ones only last, and each name once", () => {
	for (const good of ["/", "/users", "/users/", "/users/{id}", "/a/{b}/c/{d_e-f}", "/files/{rest...}"]) {
		assert.equal(routeTemplateMistake(good), undefined, good);
	}
	const bad: readonly (readonly [string, RegExp])[] = [
		["//", /empty segment/],
		["/a//b", /empty segment/],
		["/users/{id", /whole segment/],
		["/users/{}", /whole segment/],
		["/users/{1d}", /whole segment/],
		["/users/x{id}", /whole segment/],
		["/a/{rest...}/b", /only come last/],
		["/a/{id}/{id}", /twice/],
		["/a/../b", /never reaches/],
		["/./b", /never reaches/],
	];
	for (const [template, why] of bad) assert.match(routeTemplateMistake(template) ?? "", why, template);
});

test("the names of parameters make no difference to what a template matches", () => {
	assert.equal(routeShape("/users/{id}/x"), routeShape("/users/{name}/x"));
	assert.notEqual(routeShape("/files/{path}"), routeShape("/files/{path...}"));
	assert.equal(routeShape("/plain"), "/plain");
});
