// Whole processes under mpirun: ranks on CPUs that MPI connects.
import { readFileSync } from "node:fs";
import { cp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect } from "vitest";
import { type Ended, entry, graph, node } from "./helpers.ts";
import { LAUNCHERS, mpirun, processesOf, processOf, rankTest as test } from "./mpirun.ts";
import { prepareRuns, type Trained } from "./ranks/train-ranks.ts";

let folder: string;
let train: Awaited<ReturnType<typeof prepareRuns>>["train"];
beforeAll(async () => {
  ({ folder, train } = await prepareRuns("ranks"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let four: Trained;
test("two and four ranks have the losses of one process bit for bit, and only rank 0 prints and writes", async () => {
  for (const ranks of [2, 4]) {
    // With a micro-batch per rank, ranks add gradients in the order in which one process does.
    const alone = await train(0, `alone-${ranks}`, { micro: ranks });
    expect(alone.code, alone.stderr).toBe(0);
    expect(alone.losses.size).toBe(24);
    const all = await train(ranks, `ranks-${ranks}`, { micro: ranks });
    expect(all.code, all.stderr).toBe(0);
    four = all;
    expect(all.lines).toHaveLength(alone.lines.length);
    expect(all.losses).toEqual(alone.losses);
    const written = (await readdir(join(folder, `ranks-${ranks}`))).sort();
    expect(written).toEqual((await readdir(join(folder, `alone-${ranks}`))).sort());
  }
}, 120_000);

test.each(["optimizer", "gradients"])(
  "ranks with sharding %s have the losses of ranks without it, and write the same checkpoint",
  async (sharding) => {
    const shared = await train(4, sharding, { more: { sharding } });
    expect(shared.code, shared.stderr).toBe(0);
    expect(shared.losses).toEqual(four.losses);
    for (const file of ["optimizer.safetensors", "model.safetensors"]) {
      const [one, other] = [sharding, "ranks-4"].map((name) => readFileSync(join(folder, name, "checkpoint-24", file)));
      expect(one!.equals(other!), file).toBe(true);
    }
  },
  120_000,
);

/** Resumes a run in a copy of its folder, by one process. */
async function resumeAlone(name: string): Promise<Trained> {
  await cp(join(folder, name), join(folder, `${name}-alone`), { recursive: true });
  const alone = await train(0, `${name}-alone`, { args: ["--resume"] });
  expect(alone.code, alone.stderr).toBe(0);
  return alone;
}

test("ranks that divide the gradients add up several micro-batches, and a resumed run may stop dividing them", async () => {
  const whole = await train(2, "divided-whole", { more: { sharding: "gradients" } });
  let sent = false;
  const begun = await train(2, "divided", {
    more: { sharding: "gradients" },
    atStep(step, pid) {
      if (sent || step < 10) return;
      sent = true;
      process.kill(processOf(1, pid), "SIGTERM");
    },
  });
  expect(begun.code, begun.stderr).toBe(143);
  expect([...begun.losses]).toEqual([...whole.losses].slice(0, begun.losses.size));
  const alone = await resumeAlone("divided");
  const rest = await train(4, "divided", { args: ["--resume"] });
  expect(rest.code, rest.stderr).toBe(0);
  expect(rest.losses).toEqual(alone.losses);
  expect(rest.losses.size).toBe(24 - begun.losses.size);
}, 120_000);

test("a run of which a rank was killed resumes with another number of ranks and the losses of one process", async () => {
  const broken = await train(2, "broken", {
    more: { sharding: "gradients" },
    atStep(step, pid) {
      if (step === 10) process.kill(processOf(1, pid), "SIGKILL");
    },
  });
  expect(broken.code).not.toBe(0);
  const alone = await resumeAlone("broken");
  const rest = await train(4, "broken", { args: ["--resume"], more: { sharding: "optimizer" } });
  expect(rest.code, rest.stderr).toBe(0);
  expect(Math.min(...rest.losses.keys())).toBeGreaterThan(8);
  expect(rest.losses).toEqual(alone.losses);
}, 120_000);

test("SIGTERM to one rank before its model is loaded stops all ranks", async () => {
  let sent = 0;
  const sendOnce = async (pid: number) => {
    // MPI is loaded after the command has begun to listen to signals, and before the model.
    for (; sent === 0; await sleep(20)) {
      const found = processesOf(1, pid).filter((one) => readFileSync(`/proc/${one}/maps`, "utf8").includes("libmpi"));
      for (const one of found) process.kill(one, "SIGTERM");
      sent = found.length;
    }
  };
  const stopped = await train(2, "stopped-early", { more: { maxSteps: 2000 }, atStart: sendOnce });
  expect(sent).toBe(1);
  expect(stopped.losses.size).toBe(0);
  expect(stopped.code, stopped.stderr).toBe(143);
  expect(stopped.stderr.match(/^heddle: .*/gm)).toEqual([
    "heddle: train: stopped with another rank; nothing was saved because the first step was not complete",
  ]);
}, 60_000);

test("an invalid option is reported once", async () => {
  const refused = await train(2, "refused", { more: { learningRate: -1 } });
  expect(refused.code).toBe(2);
  expect(refused.stderr.match(/^heddle: .*/gm)).toEqual([expect.stringMatching(/^heddle: learningRate: /)]);
}, 60_000);

const script = fileURLToPath(new URL("ranks-stages.mjs", import.meta.url));

test("parts of matrices and several batches of gradients have the same losses as one process, bit for bit", async () => {
  // Small batches, so that sums are started and stored while the program goes on.
  process.env.HEDDLE_RANK_BATCH_BYTES = "60000";
  try {
    const alone = await node([script, entry, "3", "none", "large"]);
    expect(alone.code, alone.stderr).toBe(0);
    for (const sharding of ["optimizer", "gradients", "parameters"]) {
      const { code, stdout, stderr } = await mpirun(3, [script, entry, "1", sharding, "large"]);
      expect(code, stderr).toBe(0);
      expect(JSON.parse(stdout), sharding).toEqual(JSON.parse(alone.stdout));
    }
  } finally {
    delete process.env.HEDDLE_RANK_BATCH_BYTES;
  }
}, 120_000);

test("reduceScatter and allGather agree with allReduce bit for bit, for parts of any size", async () => {
  const file = join(folder, "collectives.mjs");
  // Parts of 0, 1 and many elements, of several tensors, and longer than a chunk.
  await writeFile(
    file,
    `const { openWorld } = await import(${JSON.stringify(entry)});
     const { Tensor, toBf16 } = await import(${JSON.stringify(graph)});
     const world = await openWorld({ threads: 1 });
     const sizes = [[1, 700_001], [0, 5], [300_000, 0, 3]].slice(0, world.size);
     const numbers = (seed, count) => Float32Array.from({ length: count }, (_, i) => Math.sin(seed * 7919 + i * i) * 10 ** (i % 5));
     const make = (dtype) => Promise.all(sizes.map((own, part) => Promise.all(own.map((count, i) => {
       const data = numbers(world.rank * 100 + part * 10 + i, count);
       return Tensor.from(world.device, dtype, [count], dtype === "bf16" ? toBf16(data) : data);
     }))));
     const same = async (a, b) => {
       const [x, y] = await Promise.all([a.read(), b.read()]);
       return Buffer.compare(Buffer.from(x.buffer), Buffer.from(y.buffer)) === 0;
     };
     const found = [];
     for (const dtype of ["f32", "bf16"]) {
       const [sums, parts, before] = [await make(dtype), await make(dtype), await make(dtype)];
       await world.allReduce(sums.flat());
       await world.reduceScatter(parts);
       for (const [part, tensors] of parts.entries())
         for (const [i, t] of tensors.entries()) found.push(await same(t, (part === world.rank ? sums : before)[part][i]));
       await world.allGather(parts);
       for (const [i, t] of parts.flat().entries()) found.push(await same(t, sums.flat()[i]));
     }
     const [mine] = (await make("f32"))[0];
     await world.broadcast([mine], world.size - 1);
     found.push((await mine.read())[0] === numbers((world.size - 1) * 100, 1)[0]);
     const refused = await world.reduceScatter([[mine]]).catch(({ message }) => message);
     const differing = (await world.sum([found.filter((one) => !one).length]))[0];
     if (world.rank === 0) console.log(JSON.stringify({ compared: found.length, differing, refused }));
     await world.close();`,
  );
  for (const [ranks, launcher] of [
    [3, LAUNCHERS.openMpi],
    [2, LAUNCHERS.mpich],
  ] as const) {
    const ended = await mpirun(ranks, [file], undefined, launcher);
    expect(ended.code, ended.stderr).toBe(0);
    const tensors = ranks === 3 ? 7 : 4;
    expect(JSON.parse(ended.stdout)).toEqual({
      compared: 4 * tensors + 1,
      differing: 0,
      refused: `reduceScatter: expected the tensors of ${ranks} ranks, got those of 1`,
    });
  }
}, 60_000);

test("a program's waits for a slower rank are counted apart from its computation", async () => {
  const file = join(folder, "waits.mjs");
  await writeFile(
    file,
    `const { openWorld } = await import(${JSON.stringify(entry)});
     const { allReduce, compile, input, reduceScatter, Tensor, tensor } = await import(${JSON.stringify(graph)});
     const world = await openWorld({ threads: 1 });
     await world.joinDevice(world.device);
     const own = await Tensor.from(world.device, "f32", [2], Float32Array.of(1, 2));
     const nodes = [
       () => allReduce(tensor("own", "f32", [2])),
       () => reduceScatter(input("g", "f32", [4]), tensor("own", "f32", [2]), { first: 0, ends: [2, 4], add: false }),
     ];
     const found = [];
     for (const [i, node] of nodes.entries()) {
       const program = compile(() => {
         node();
         return {};
       }).bind(world.device, new Map([["own", own]]));
       await world.sum([0]);
       if (world.rank === 1) await new Promise((resolve) => setTimeout(resolve, 1500));
       await program.run(i === 1 ? { g: Float32Array.of(1, 2, 3, 4) } : {});
       found.push({ waited: program.waitedSeconds, sums: [...await own.toFloat32()] });
     }
     const all = (await world.gatherBytes(Buffer.from(JSON.stringify(found)))).map((one) => JSON.parse(Buffer.from(one)));
     if (world.rank === 0) console.log(JSON.stringify(all));
     await world.close();`,
  );
  const { code, stdout, stderr } = await mpirun(2, [file]);
  expect(code, stderr).toBe(0);
  const [fast, slow] = JSON.parse(stdout) as { waited: number; sums: number[] }[][];
  expect([fast, slow].map((rank) => rank!.map(({ sums }) => sums))).toEqual([
    [
      [2, 4],
      [2, 4],
    ],
    [
      [2, 4],
      [6, 8],
    ],
  ]);
  for (const [i, { waited }] of fast!.entries()) {
    expect(waited).toBeGreaterThan(0.7);
    expect(slow![i]!.waited).toBeLessThan(waited / 2);
  }
}, 60_000);

test("a rank that hangs is named, and all ranks end", async () => {
  const file = join(folder, "hang.mjs");
  await writeFile(
    file,
    `const { openWorld } = await import(${JSON.stringify(entry)});
     const world = await openWorld({ silenceSeconds: 3 });
     await world.sum([1]);
     if (world.rank === 1) process.kill(process.pid, "SIGSTOP");
     await world.sum([1]);`,
  );
  const started = performance.now();
  const ended = await mpirun(2, [file]);
  expect(ended.code).not.toBe(0);
  expect(performance.now() - started).toBeLessThan(30_000);
  expect(ended.stderr).toContain("world: rank 1 of 2 has sent no heartbeat for 3 s");
}, 60_000);

/** Runs a program on two ranks of a world. Rank 1 throws while rank 0 waits for it. */
async function failAlone(name: string, around: (work: string) => string): Promise<Ended> {
  const file = join(folder, `${name}.mjs`);
  const work = `await world.sum([1]);
    if (world.rank === 1) throw new Error("no space for rank 1");
    await world.sum([1]);`;
  await writeFile(
    file,
    `const { openWorld } = await import(${JSON.stringify(entry)});
     const world = await openWorld({ threads: 1 });
     ${around(`try { ${work} } finally { await world[Symbol.asyncDispose](); }`)}`,
  );
  return mpirun(2, [file]);
}

test("a rank that fails alone leaves the world with its own error, and ends all ranks", async () => {
  const started = performance.now();
  const ended = await failAlone("fails", (work) => work);
  expect(performance.now() - started).toBeLessThan(20_000);
  expect(ended.code).not.toBe(0);
  expect(ended.stderr).toContain("rank 1 of 2: Error: no space for rank 1");
  expect(ended.stderr).not.toContain("SuppressedError");
}, 60_000);

test("a rank that leaves early after a caught error makes the others fail, and their errors name it", async () => {
  const started = performance.now();
  const ended = await failAlone("leaves", (work) => `try { ${work} } catch (e) { if (world.rank === 0) throw e; }`);
  expect(performance.now() - started).toBeLessThan(20_000);
  expect(ended.code).not.toBe(0);
  expect(ended.stderr).toMatch(/rank 0 of 2: .*world: rank 1 of 2 has ended before the others/);
}, 60_000);

test("each rank may have its own number of threads", async () => {
  const file = join(folder, "threads.mjs");
  await writeFile(
    file,
    `if (process.env.OMPI_COMM_WORLD_RANK === "1") process.env.HEDDLE_THREADS = "3";
     const { openWorld } = await import(${JSON.stringify(entry)});
     const world = await openWorld(process.env.OMPI_COMM_WORLD_RANK === "2" ? { threads: 2 } : {});
     const threads = await world.sum([0, 1, 2].map((rank) => (rank === world.rank ? world.device.threads : 0)));
     if (world.rank === 0) console.log(JSON.stringify(threads));
     await world.close();`,
  );
  const ended = await mpirun(3, [file]);
  expect(ended.code, ended.stderr).toBe(0);
  expect(JSON.parse(ended.stdout).slice(1)).toEqual([3, 2]);
}, 60_000);

test("a worker thread cannot join ranks", async () => {
  const file = join(folder, "worker.mjs");
  await writeFile(
    file,
    `import { isMainThread, Worker } from "node:worker_threads";
     if (isMainThread) new Worker(new URL(import.meta.url));
     else {
       const { openWorld } = await import(${JSON.stringify(entry)});
       await openWorld({ size: 2 }).catch(({ code, message }) => console.log(code, message));
     }`,
  );
  const ended = await node([file]);
  expect(ended.stdout).toContain("UNSUPPORTED world: expected the main thread");
  expect(ended.code, ended.stderr).toBe(0);
}, 60_000);

test("another MPI than the launcher's is an error that names both, and a library that is not MPI is an error", async () => {
  const file = join(folder, "other.mjs");
  await writeFile(file, `await (await import(${JSON.stringify(entry)})).openWorld();`);
  const run = async (library: string) => {
    const { command, args } = LAUNCHERS.openMpi;
    return mpirun(2, [file], undefined, { command, args: [...args, "-x", `HEDDLE_MPI=${library}`] });
  };
  const other = await run("libmpich.so.12");
  expect(other.code).not.toBe(0);
  expect(other.stderr).toMatch(
    /mpi: expected rank \d of 2, as the launcher \(openmpi\) says, got rank 0 of 1 from MPICH/,
  );
  const none = await run("libm.so.6");
  expect(none.stderr).toMatch(
    /expected an MPI library \(HEDDLE_MPI names one\), got none; tried .*MPI_Get_library_version/,
  );
}, 60_000);
