// node scripts/with-node.mjs ARGS… runs `node ARGS…` on the project's own Node, after an install where one is needed.
import { runNode, setUp } from "./setup.mjs";

runNode(await setUp(), process.argv.slice(2));
