// npm start: the agent as it ships, in front of the example application. Arguments replace the example:
// npm start -- python3 -m http.server 0
import { spawnSync } from "node:child_process";
import { root, runNode, setUp } from "./setup.mjs";

const node = await setUp();
const build = spawnSync(node, ["agent/build.ts", "--quiet"], { cwd: root, stdio: ["ignore", 2, 2] });
if (build.status !== 0) process.exit(1);
const app = process.argv.length > 2 ? process.argv.slice(2) : ["node", "examples/node/server.ts"];
// Any free port, unless somebody wants one: 3000 is often taken.
runNode(node, ["agent/dist/main.js", "run", "--", ...app], { PORT: process.env.PORT ?? "0" });
