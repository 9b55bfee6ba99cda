// Processes whose environment has the variables of several launchers, or of srun.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { entry, node } from "../helpers.ts";
import { LAUNCHERS, mpirun, rankTest as test } from "../mpirun.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "heddle-launchers-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Writes a script that changes the environment by `before`, opens the world and prints it. */
async function scriptOf(name: string, before = ""): Promise<string> {
  const file = join(folder, name);
  await writeFile(
    file,
    `const { openWorld } = await import(${JSON.stringify(entry)});
     const { env } = process;
     ${before}
     const world = await openWorld({ threads: 1 });
     const [ranks] = await world.sum([1]);
     if (world.rank === 0) console.log(JSON.stringify({ launcher: world.launch?.launcher, size: world.size, ranks }));
     await world.close();`,
  );
  return file;
}

const { openMpi, mpich } = LAUNCHERS;
const nested = [
  {
    outer: openMpi,
    inner: mpich,
    launcher: "mpich",
    unset: ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"],
  },
  {
    outer: mpich,
    inner: openMpi,
    launcher: "openmpi",
    unset: ["PMI_RANK", "PMI_SIZE"],
  },
];

test.each(nested)(
  "$inner.command inside $outer.command is an error that names both, until the outer variables are unset",
  async ({ outer, inner, launcher, unset }) => {
    const file = await scriptOf("nested.mjs");
    const run = (more: string[]) => {
      const args = [...outer.args, ...more, inner.command, "-n", "2", ...inner.args];
      return mpirun(1, [file], undefined, { command: outer.command, args });
    };
    const refused = await run([]);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(
      /PMI_(RANK|SIZE): expected \d, which is OMPI_COMM_WORLD_\1, got \d; unset the variables of the launcher/,
    );
    const { code, stdout, stderr } = await run(["env", ...unset.flatMap((name) => ["-u", name])]);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ launcher, size: 2, ranks: 2 });
  },
  60_000,
);

test("ranks of srun connect by MPICH if Slurm offers PMI, and by Open MPI if it offers PMIx", async () => {
  // srun sets its own variables and those of its plugin, such as PMI_RANK or PMIX_RANK, which mpirun sets here.
  const slurm = "SLURM_JOB_ID: '7', SLURM_STEP_ID: '0', SLURM_JOB_NODELIST: 'localhost'";
  const pmi = `Object.assign(env, { ${slurm}, SLURM_PROCID: env.PMI_RANK, SLURM_NTASKS: env.PMI_SIZE });`;
  const pmix = `Object.assign(env, { ${slurm}, SLURM_PROCID: env.OMPI_COMM_WORLD_RANK, SLURM_NTASKS: env.OMPI_COMM_WORLD_SIZE });
    for (const name of Object.keys(env)) if (name.startsWith("OMPI_COMM_WORLD_")) delete env[name];`;
  for (const [before, launcher] of [
    [pmi, mpich],
    [pmix, openMpi],
  ] as const) {
    const ended = await mpirun(2, [await scriptOf("srun.mjs", before)], undefined, launcher);
    expect(ended.code, ended.stderr).toBe(0);
    expect(JSON.parse(ended.stdout)).toEqual({ launcher: "slurm", size: 2, ranks: 2 });
  }
}, 60_000);

test("CPU ranks of srun without a plugin for MPI are an error that names the libraries and the plugins", async () => {
  const variables = { SLURM_JOB_ID: "7", SLURM_STEP_ID: "0", SLURM_PROCID: "1", SLURM_NTASKS: "2" };
  const file = await scriptOf("no-plugin.mjs", `Object.assign(env, ${JSON.stringify(variables)});`);
  const { code, stderr } = await node([file]);
  expect(code).not.toBe(0);
  expect(stderr).toMatch(
    /mpi: expected rank 1 of 2, as the launcher \(slurm\) says, got rank 0 of 1 from Open MPI .*, the first that opens of these libraries: libmpi\.so\.40, libmpi\.so\.12, .*; start with srun --mpi=pmix or --mpi=pmi2, .*; set HEDDLE_MPI to the launcher's own library/,
  );
}, 60_000);
