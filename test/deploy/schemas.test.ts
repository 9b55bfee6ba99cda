// The files of deploy/ have the forms that Kubernetes, its extensions and Docker expect.
import { describe, expect, test } from "vitest";
import { allOf, compose, type Manifest, manifests, theOnly } from "./manifests.ts";
import { composeErrors, errorsOf, isPublished, schemasFolder } from "./published-schemas.ts";
import { resourceSchemas } from "./resource-schemas.ts";

const kindOf = ({ apiVersion, kind }: Manifest) => `${apiVersion} ${kind}`;
const named = manifests.map((one) => [`${kindOf(one)} ${one.metadata.name}`, one] as const);
const withPublished = schemasFolder() === undefined ? test.skip : test;

test("every manifest has a schema", () => {
  const unknown = manifests.filter((one) => !isPublished(kindOf(one)) && !resourceSchemas[kindOf(one)]);
  expect(unknown.map(kindOf)).toEqual([]);
  expect(manifests.length).toBeGreaterThan(10);
});

describe("custom resources", () => {
  test.each(named.filter(([, one]) => resourceSchemas[kindOf(one)]))("%s matches its definition", (_, manifest) => {
    const { error } = resourceSchemas[kindOf(manifest)]!.safeParse(manifest);
    expect(error?.issues).toBeUndefined();
  });

  test("a misspelled field is an error", () => {
    const pool = theOnly("InferencePool");
    const wrong = { ...pool, spec: { ...pool.spec, targetPort: 8080 } };
    expect(resourceSchemas[kindOf(pool)]!.safeParse(wrong).success).toBe(false);
  });
});

describe("published schemas", () => {
  withPublished.each(named.filter(([, one]) => isPublished(kindOf(one))))("%s is valid", async (_, manifest) => {
    expect(await errorsOf(kindOf(manifest), manifest)).toEqual([]);
  });

  withPublished("the jobs of the training runtimes are valid", async () => {
    const jobs = allOf("TrainingRuntime").flatMap(({ spec }) => spec.template.spec.replicatedJobs);
    expect(jobs).toHaveLength(2);
    for (const { template } of jobs)
      expect(await errorsOf("batch/v1 Job", { apiVersion: "batch/v1", kind: "Job", ...template })).toEqual([]);
  });

  withPublished("a wrong type and a misspelled field are errors", async () => {
    const service = theOnly("Service");
    const wrong = { ...service, spec: { ...service.spec, ports: [{ port: "http" }] } };
    expect(await errorsOf(kindOf(service), wrong)).not.toEqual([]);
    const misspelled = { ...service, spec: { ...service.spec, selectors: {} } };
    expect(await errorsOf(kindOf(service), misspelled)).toEqual(["unknown field /spec/selectors"]);
  });

  withPublished("the compose file is valid", () => {
    // The published schema is too old to define the top-level field `name`.
    const { name, ...rest } = compose;
    expect(name).toBe("heddle");
    expect(composeErrors(rest)).toEqual([]);
    const { heddle } = compose.services;
    expect(composeErrors({ ...rest, services: { heddle: { ...heddle, image_name: "a" } } })).not.toEqual([]);
  });
});
