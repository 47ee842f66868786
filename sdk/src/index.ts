/**
 * `@outrigger/sdk`: what a Node application imports to work with its agent.
 *
 * So far this is only the door: the names of the contract, so that an application need not write them as text. Typed
 * configuration, lifecycle and context come with the contract itself.
 */
export { DEFAULT_AGENT_URL, HEADERS, VARIABLES } from "@outrigger/contract";
