// Schemas of the custom resources that no npm package describes, written after the CustomResourceDefinitions of their projects. They are the
// Gateway API Inference Extension's InferencePool v1 and InferenceObjective v1alpha2, and Kubeflow Trainer's v1alpha1. Fields that deploy/ does
// not use are left out.
import { z } from "zod";

const name = z.string().regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/);
const group = z.string().regex(/^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
const port = z.strictObject({ number: z.int().min(1).max(65_535) });
const metadata = z.strictObject({ name, labels: z.record(z.string(), z.string()).optional() });
const quantities = z.partialRecord(
  z.enum(["cpu", "memory", "nvidia.com/gpu"]),
  z.string().regex(/^\d+(\.\d+)?(m|[KMGT]i?)?$/),
);

const inferencePool = z.strictObject({
  selector: z.strictObject({ matchLabels: z.record(z.string(), z.string().max(63)) }),
  targetPorts: z.array(port).min(1).max(8),
  appProtocol: z.enum(["http", "kubernetes.io/h2c"]).optional(),
  // `kind` is left out. Its default is Service, which needs a port.
  endpointPickerRef: z.strictObject({ name, port, failureMode: z.enum(["FailOpen", "FailClose"]).optional() }),
});

const inferenceObjective = z.strictObject({
  priority: z.int32().optional(),
  poolRef: z.strictObject({ group: group.optional(), kind: z.string().optional(), name }),
});

const processes = z.union([z.int32().min(1), z.enum(["auto", "cpu", "gpu"])]);

/** schemas.test.ts checks the template of each replicated job as a Job of batch/v1. */
const trainingRuntime = z.strictObject({
  mlPolicy: z
    .strictObject({
      numNodes: z.int32().min(1),
      torch: z.strictObject({ numProcPerNode: processes.optional() }).optional(),
    })
    .optional(),
  template: z.strictObject({
    // A JobSet.
    spec: z.strictObject({
      failurePolicy: z.strictObject({ maxRestarts: z.int32().min(0).optional() }).optional(),
      replicatedJobs: z
        .array(z.strictObject({ name, template: z.object({ metadata: z.unknown(), spec: z.unknown() }) }))
        .min(1),
    }),
  }),
});

const trainJob = z.strictObject({
  runtimeRef: z.strictObject({
    name,
    apiGroup: z.literal("trainer.kubeflow.org").optional(),
    kind: z.enum(["TrainingRuntime", "ClusterTrainingRuntime"]).optional(),
  }),
  trainer: z.strictObject({
    image: z.string().optional(),
    command: z.array(z.string()).max(128).optional(),
    args: z.array(z.string()).max(128).optional(),
    env: z.array(z.strictObject({ name: z.string(), value: z.string() })).optional(),
    numNodes: z.int32().min(1).optional(),
    numProcPerNode: processes.optional(),
    resourcesPerNode: z.strictObject({ requests: quantities.optional(), limits: quantities.optional() }).optional(),
  }),
  suspend: z.boolean().optional(),
  activeDeadlineSeconds: z.int().min(1).optional(),
});

function resource(apiVersion: string, kind: string, spec: z.ZodType) {
  return z.strictObject({ apiVersion: z.literal(apiVersion), kind: z.literal(kind), metadata, spec });
}

/** The schemas by API version and kind. */
export const resourceSchemas: Readonly<Record<string, z.ZodType>> = Object.fromEntries(
  (
    [
      ["inference.networking.k8s.io/v1", "InferencePool", inferencePool],
      ["inference.networking.x-k8s.io/v1alpha2", "InferenceObjective", inferenceObjective],
      ["trainer.kubeflow.org/v1alpha1", "TrainingRuntime", trainingRuntime],
      ["trainer.kubeflow.org/v1alpha1", "TrainJob", trainJob],
    ] as const
  ).map(([version, kind, spec]) => [`${version} ${kind}`, resource(version, kind, spec)]),
);
