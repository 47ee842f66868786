/**
 * `@outrigger/k8s`: how a pod gets its agent.
 *
 * So far this is only the door: the names that manifests need. The injector comes behind it.
 */
import { OPS_PATHS, PORTS } from "@outrigger/contract";

/** What all our annotations and labels begin with. */
export const ANNOTATION_PREFIX = "outrigger.dev/";

/** The name of the sidecar container in a pod. */
export const CONTAINER_NAME = "outrigger";

/** The name of the sidecar's port for the kubelet and Prometheus. At most 15 characters (RFC 6335 §5.1). */
export const OPS_PORT_NAME = "outrigger-ops";

export { OPS_PATHS, PORTS };
