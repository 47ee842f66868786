/**
 * `node:http`, without what comes with importing it: an ES import reads every export of a built-in module, and some exports of this one
 * are getters that load undici and the WebSocket client (Node 26: 14 MiB and 100 ms that nobody uses). `getBuiltinModule` reads none.
 */
export const { createServer, request, STATUS_CODES } = process.getBuiltinModule("node:http");
