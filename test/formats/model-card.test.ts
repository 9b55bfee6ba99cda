import { expect, test } from "vitest";
import { parseModelCard, readModelCard, writeModelCard } from "../../lib/formats/model-card.ts";
import { expectError, temporaryFolder } from "./helpers.ts";

test("model card", async () => {
  const folder = temporaryFolder();
  expect(await readModelCard(folder)).toBeUndefined();
  await writeModelCard(folder, {
    stage: "pretrain",
    data: [{ name: "tinystories", licence: "CDLA-Sharing-1.0", tokens: 5 }],
    tokensSeen: 1e9,
    trainingCutoffDate: "2024-06-30",
    evaluations: [{ name: "held-out", metric: "bitsPerByte", value: 0.9 }],
  });
  expect(await readModelCard(folder)).toMatchObject({
    stage: "pretrain",
    parent: null,
    tokensSeen: 1e9,
    trainingCutoffDate: "2024-06-30",
  });
  await expectError(() => parseModelCard({}), "INVALID_ARGUMENT", /model card: stage: expected a string, got nothing/);
  await expectError(
    () => parseModelCard({ stage: "sft", trainingCutoffDate: "June" }),
    "INVALID_ARGUMENT",
    /trainingCutoffDate: expected a date such as/,
  );
  for (const trainingCutoffDate of ["2024-13-45", "2024-00", "2023-02-29", "2024-06-31", "2024-6-1", "1900-02-29"])
    await expectError(
      () => parseModelCard({ stage: "sft", trainingCutoffDate }),
      "INVALID_ARGUMENT",
      /trainingCutoffDate: expected a date such as 2024-06-30, got/,
    );
  for (const trainingCutoffDate of ["2024", "2024-12", "2024-02-29", "2000-02-29", "0099-12-31"])
    expect(parseModelCard({ stage: "sft", trainingCutoffDate }).trainingCutoffDate).toBe(trainingCutoffDate);
  await expectError(
    () => parseModelCard({ stage: "sft", tokensSeen: -1 }, "card"),
    "INVALID_FILE",
    /tokensSeen: expected a whole number, got -1/,
  );
});
