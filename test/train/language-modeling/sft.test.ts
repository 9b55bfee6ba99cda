import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packBestFit } from "../../../lib/data/packing.ts";
import type { LocatedRow } from "../../../lib/data/rows.ts";
import { compile, embedding, input, type Value } from "../../../lib/graph/index.ts";
import { LanguageModel } from "../../../lib/language-model/language-model.ts";
import { rowInputs, sequenceForward } from "../../../lib/models/forward.ts";
import type { ForwardContext } from "../../../lib/nn/context.ts";
import { sftExample } from "../../../lib/train/examples/sft-rows.ts";
import type { TrainEvent } from "../../../lib/train/loop/trainer.ts";
import { type SftOptions, sft } from "../../../lib/train/stages/sft.ts";
import { isStep, options, rows, steps, workplace } from "./dialogues.ts";

const place = workplace();
const { newModel } = place;

const losses = async (base: LanguageModel, given: SftOptions) => (await steps(base, given)).map((s) => s.loss);
const bytes = async (base: LanguageModel) => {
  const out = new Map<string, string>();
  for (const name of base.model.weightNames)
    out.set(name, Buffer.from((await base.model.weight(name).read()).buffer).toString("base64"));
  return out;
};

describe("sft", () => {
  test("learns to answer; the saved model has its chat template and card, and gives the same answers", async () => {
    await using base = newModel();
    const outputDir = join(place.folder, "answers");
    const events: TrainEvent[] = [];
    const run = sft(
      base,
      options({
        data: join(place.folder, "rows.jsonl"),
        maxSteps: 400,
        learningRate: 1e-2,
        evalFraction: 0.2,
        evalSteps: 200,
        outputDir,
      }),
    );
    for await (const event of run) events.push(event);
    const result = await run;
    const held = events.filter((e) => !isStep(e)) as { evalLoss: number }[];
    expect(held).toHaveLength(2);
    expect(result.evalLoss).toBeLessThan(held[0]!.evalLoss);
    expect(result.loss).toBeLessThan(0.05);
    expect(base.card).toMatchObject({ stage: "sft", data: [{ name: "rows.jsonl" }] });
    await using loaded = await LanguageModel.load(outputDir);
    expect(loaded.tokenizer!.hasChatTemplate).toBe(true);
    expect(loaded.card).toMatchObject({ stage: "sft", evaluations: [{ name: "held-out rows" }] });
    const answer = await loaded.chat().send(rows[5]!.messages[0]!.content, { temperature: 0, maxTokens: 24 });
    expect(answer.text.trim()).toBe(rows[5]!.messages[1]!.content);
    expect(answer.finishReason).toBe("stop");
  });

  test("packing gives the same loss and step as padding for the same rows", async () => {
    await using padded = newModel();
    await using packed = newModel();
    const all = options({ maxSteps: 3, learningRate: 1e-2, perDeviceTrainBatchSize: rows.length, maxGradNorm: 0 });
    const a = await steps(padded, all);
    // Each step has all rows in both cases. Packed rows take as many sequences as they need.
    const few = options({
      ...all,
      packing: true,
      maxSeqLength: 128,
      perDeviceTrainBatchSize: 1,
      gradientAccumulationSteps: 1,
    });
    const lengths = rows.map((r) => place.tokenizer.applyChatTemplate(r.messages).ids.length);
    const sequences = packBestFit(lengths, 128).length;
    const b = await steps(packed, { ...few, perDeviceTrainBatchSize: sequences });
    expect(sequences).toBeLessThan(rows.length / 2);
    for (const [i, step] of a.entries()) {
      expect(b[i]!.tokensSeen).toBe(step.tokensSeen);
      expect(Math.abs(b[i]!.loss / step.loss - 1), `step ${i + 1}`).toBeLessThan(1e-5);
      expect(Math.abs(b[i]!.gradNorm / step.gradNorm - 1), `step ${i + 1}`).toBeLessThan(1e-4);
    }
  });

  test("four micro-batches of 2 give the same step as one batch of 8", async () => {
    await using one = newModel();
    await using four = newModel();
    const a = await steps(one, options({ perDeviceTrainBatchSize: 8 }));
    const b = await steps(four, options({ perDeviceTrainBatchSize: 2, gradientAccumulationSteps: 4 }));
    for (const [i, step] of a.entries()) {
      expect(Math.abs(b[i]!.loss / step.loss - 1)).toBeLessThan(1e-4);
      expect(b[i]!.tokensSeen).toBe(step.tokensSeen);
    }
  });

  test.each([
    ["full", {}],
    ["LoRA with dropout, packed, with replay", { lora: { r: 4, dropout: 0.1 }, packing: true, maxSeqLength: 64 }],
  ] as const)("%s: a resumed run has the losses of an uninterrupted one, bit for bit", async (name, more) => {
    const replay =
      "lora" in more ? { replay: { data: join(place.folder, "text.txt"), weight: 0.3, maxSeqLength: 16 } } : {};
    const given = options({ ...more, ...replay, maxSteps: 10 });
    await using whole = newModel();
    const expected = await losses(whole, given);
    const outputDir = join(place.folder, `resumed-${name.slice(0, 4)}`);
    const control = new AbortController();
    await using first = newModel();
    const before = await bytes(first);
    const seen: number[] = [];
    const aborted = (async () => {
      for await (const event of sft(first, { ...given, outputDir, saveSteps: 3, signal: control.signal }))
        if (isStep(event) && seen.push(event.loss) === 5) control.abort();
    })();
    await expect(aborted).rejects.toMatchObject({ code: "ABORTED" });
    await using second = newModel();
    const rest = await losses(second, { ...given, outputDir, saveSteps: 3, resume: "auto" });
    expect([...seen.slice(0, 10 - rest.length), ...rest]).toEqual(expected);
    expect(rest.length).toBeLessThanOrEqual(6);
    if ("lora" in more) expect(await bytes(first)).toEqual(before);
    else expect(await bytes(first)).not.toEqual(before);
  });

  test("LoRA saves only the adapter, which loads onto its base, and leaves the base unchanged", async () => {
    await using base = newModel();
    await base.save(join(place.folder, "base"));
    await using known = await LanguageModel.load(join(place.folder, "base"));
    const before = await bytes(known);
    const outputDir = join(place.folder, "adapter");
    const result = await sft(
      known,
      options({
        lora: { r: 8, targetModules: ["q_proj", "v_proj"] },
        maxSteps: 20,
        saveSteps: 10,
        outputDir,
        learningRate: 1e-2,
      }),
    );
    expect(await bytes(known)).toEqual(before);
    const prompt = place.tokenizer.applyChatTemplate(rows[0]!.messages.slice(0, 1), { addGenerationPrompt: true }).ids;
    const expected = await known.logits(prompt, { last: true });
    await using loaded = await LanguageModel.load(result.path!);
    expect(await loaded.logits(prompt, { last: true })).toEqual(expected);
    expect(await loaded.logits(prompt, { last: true, adapters: [] })).toEqual(
      await base.logits(prompt, { last: true }),
    );
    await using checkpoint = await LanguageModel.load(join(outputDir, "checkpoint-20"));
    expect(await checkpoint.logits(prompt, { last: true })).toEqual(expected);
    const config = JSON.parse(await readFile(join(outputDir, "adapter_config.json"), "utf8"));
    expect(config).toMatchObject({ peft_type: "LORA", r: 8, target_modules: ["q_proj", "v_proj"] });
    await expect(readFile(join(outputDir, "model.safetensors"))).rejects.toThrow();
    expect(loaded.card).toMatchObject({ stage: "sft" });
    // A second run continues with the existing adapter.
    const [again] = await losses(loaded, options({ lora: { r: 8 }, maxSteps: 1 }));
    expect(again).toBeLessThan(result.loss + 0.5);
    expect(loaded.model.adapters.size).toBe(1);
  });

  test("NEFTune adds noise of ± alpha / √(length · width) to the embeddings, in training only, and resumes with the same noise", async () => {
    const given = options({ neftuneNoiseAlpha: 20, evalData: rows.slice(0, 4), maxSteps: 6 });
    await using whole = newModel();
    const expected = await losses(whole, given);
    await using plain = newModel();
    const quiet = await losses(plain, { ...given, neftuneNoiseAlpha: 0 });
    expect(expected[0]).not.toBe(quiet[0]);
    const outputDir = join(place.folder, "neftune");
    await using first = newModel();
    const controller = new AbortController();
    const before: number[] = [];
    const interrupted = async () => {
      for await (const event of sft(first, { ...given, outputDir, signal: controller.signal })) {
        if (!isStep(event)) continue;
        before.push(event.loss);
        if (event.step === 3) controller.abort();
      }
    };
    await expect(interrupted()).rejects.toMatchObject({ code: "ABORTED" });
    await using second = newModel();
    expect([...before, ...(await losses(second, { ...given, outputDir, resume: true }))]).toEqual(expected);
    // Evaluation adds no noise: after a step with a negligible learning rate, the held-out loss is the same with and without NEFTune.
    const held = async (neftuneNoiseAlpha: number) => {
      await using base = newModel();
      return (await sft(base, { ...given, neftuneNoiseAlpha, maxSteps: 1, learningRate: 1e-12 })).evalLoss;
    };
    expect(await held(20)).toBeCloseTo((await held(0))!, 6);
    // Read the noise itself: what a training pass adds to an embedding.
    const width = 32;
    await using base = newModel();
    const program = compile(() => {
      const hidden: Value[] = [];
      const noise = { key: () => input("noise", "i32", [3]), stream: () => 0 };
      const embeddings = { sequenceLength: 16, neftuneNoiseAlpha: 20 };
      const watched = {
        ...base.model.family,
        forward: (c: ForwardContext) => {
          const table = c.weight("model.embed_tokens.weight");
          const x = embedding(table, c.ids, {});
          hidden.push(x, c.embedded(x));
          return x;
        },
      };
      sequenceForward(Object.assign(Object.create(base.model), { family: watched }), rowInputs(16), {
        ...embeddings,
        noise,
      });
      return { x: hidden[0]!, noisy: hidden[1]! };
    });
    const rowsOf = { ids: Int32Array.from({ length: 16 }, (_, i) => i), noise: Int32Array.of(1, 2, 3) };
    const { x, noisy } = await program.bind(base.model.device, base.model.tensors).run(rowsOf);
    const bound = 20 / Math.sqrt(16 * width);
    const differences = Array.from(noisy, (v, i) => v - x[i]!);
    expect(Math.max(...differences.map(Math.abs))).toBeLessThanOrEqual(bound * 1.0001);
    const mean = differences.reduce((n, d) => n + d * d, 0) / differences.length;
    // The tolerance is nearly four standard deviations of the mean square of 512 uniform draws.
    expect(Math.abs(mean / (bound ** 2 / 3) - 1)).toBeLessThan(0.15);
  });

  test("replay is reported and changes what is learned", async () => {
    await using plain = newModel();
    await using kept = newModel();
    const replay = { data: join(place.folder, "text.txt"), weight: 1, maxSeqLength: 16, perDeviceTrainBatchSize: 2 };
    const a = await steps(plain, options());
    const b = await steps(kept, options({ replay }));
    expect(a[0]!.metrics).toBeUndefined();
    expect(b[0]!.metrics!.replayLoss).toBeGreaterThan(4);
    expect(b.at(-1)!.metrics!.replayLoss).toBeLessThan(b[0]!.metrics!.replayLoss!);
    expect(b[0]!.loss).toBe(a[0]!.loss);
    expect(b[1]!.loss).not.toBe(a[1]!.loss);
    expect(b[0]!.tokensSeen).toBe(a[0]!.tokensSeen + 2 * 16);
    await using off = newModel();
    const c = await steps(off, options({ replay: { ...replay, weight: 0 } }));
    expect(c.map((s) => s.loss)).toEqual(a.map((s) => s.loss));
  });

  test.each([
    [
      "ends with the last turn",
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    ],
    [
      "writes text after the last turn",
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% else %}END{% endif %}",
    ],
  ])("assistant messages within the prompt are not learned if the template %s", (_, chatTemplate) => {
    const say = (role: string, content: string) => ({ role, content });
    const prompt = [say("user", "Anna?"), say("assistant", "red ball"), say("user", "Ben?")];
    const row = {
      value: { prompt, completion: [say("assistant", "old tree")] },
      where: "row 1",
      index: 0,
      inFile: false,
    } as LocatedRow;
    const { ids, mask } = sftExample(row, place.tokenizer, {
      assistantOnlyLoss: true,
      completionOnlyLoss: true,
      chatTemplate,
    });
    expect(place.tokenizer.decode(ids)).toContain("<user>Anna?\n<assistant>red ball\n");
    const learned = place.tokenizer.decode(ids.filter((_, i) => mask[i]));
    expect(learned).toContain("old tree");
    expect(learned).not.toContain("red ball");
  });

  test("assistantOnlyLoss and completionOnlyLoss select which messages are learned", () => {
    const say = (role: string, content: string) => ({ role, content });
    const value = {
      prompt: [say("user", "Anna?"), say("assistant", "red ball"), say("user", "Ben?")],
      completion: [say("assistant", "old tree"), say("user", "Dan?"), say("assistant", "new hat")],
    };
    const chatTemplate =
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    const learned = (how: { assistantOnlyLoss: boolean; completionOnlyLoss: boolean }, row: object = value) => {
      const located = { value: row, where: "row 1", index: 0, inFile: false } as LocatedRow;
      const { ids, mask } = sftExample(located, place.tokenizer, { ...how, chatTemplate });
      return place.tokenizer.decode(ids.filter((_, i) => mask[i]));
    };
    expect(learned({ assistantOnlyLoss: false, completionOnlyLoss: true })).toBe(
      "old tree\n<user>Dan?\n<assistant>new hat\n",
    );
    expect(learned({ assistantOnlyLoss: true, completionOnlyLoss: true })).toBe("old tree\nnew hat\n");
    const tool = { prompt: value.prompt, completion: [say("tool", "a map"), say("assistant", "old tree")] };
    expect(learned({ assistantOnlyLoss: false, completionOnlyLoss: true }, tool)).toContain(
      "tool>a map\n<assistant>old",
    );
    const all = learned({ assistantOnlyLoss: false, completionOnlyLoss: false });
    expect(all).toContain("Anna?\n<assistant>red ball\n<user>Ben?\n<assistant>old tree\n<user>Dan?");
  });

  test.each([
    "{% for m in messages %}<{{ 'model' if m.role == 'assistant' else m.role }}>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<model>{% endif %}",
    undefined,
  ])('answers of the role "model" are the assistant\'s, as in preference training (%#)', (chatTemplate) => {
    const say = (role: string, content: string) => ({ role, content });
    const how = { assistantOnlyLoss: true, completionOnlyLoss: true, chatTemplate };
    const learned = (role: string, value: object) => {
      const { ids, mask } = sftExample(
        { value, where: "row 1", index: 0, inFile: false } as LocatedRow,
        place.tokenizer,
        how,
      );
      return [role, place.tokenizer.decode(ids.filter((_, i) => mask[i]))];
    };
    const rows = (role: string) => [
      { messages: [say("user", "Anna?"), say(role, "red ball"), say("user", "Ben?"), say(role, "old tree")] },
      { prompt: [say("user", "Anna?")], completion: [say(role, "red ball")] },
    ];
    for (const [i, row] of rows("model").entries()) {
      const [, text] = learned("model", row);
      expect(text).toContain("red ball");
      expect(text).not.toContain("Ben?");
      if (chatTemplate) expect(text).toBe(learned("assistant", rows("assistant")[i]!)[1]);
    }
    expect(() => learned("model", { messages: [say("user", "Anna?"), say("model", "")] })).toThrow(
      /messages\[1\]\.content: expected an answer that is not empty/,
    );
  });

  test("epochs determine the number of steps; a row is a prompt with a completion, or a text", async () => {
    await using base = newModel();
    const data = [
      { prompt: "Anna holds", completion: " a red ball." },
      { text: "Ben holds an old tree." },
      { prompt: [{ role: "user", content: "Who?" }], completion: [{ role: "assistant", content: "Dan." }] },
    ];
    const result = await sft(base, {
      data: (async function* () {
        yield* data;
      })(),
      numTrainEpochs: 4,
      perDeviceTrainBatchSize: 2,
    });
    expect(result.steps).toBe(6);
  });

  test("losses in bf16 are within 1 % of those in f32", async () => {
    await using a = newModel();
    await using b = newModel();
    const wide = await losses(a, options({ learningRate: 1e-3 }));
    const narrow = await losses(b, options({ learningRate: 1e-3, dtype: "bf16" }));
    for (const [i, loss] of wide.entries()) expect(Math.abs(narrow[i]! / loss - 1)).toBeLessThan(0.01);
  });
});
