import { expect, test } from "vitest";
import { recordedOptions } from "../../../lib/train/options/run-options.ts";

const alone = { gradientAccumulationSteps: 4, perDeviceTrainBatchSize: 2, stepsPerGeneration: 8 };
const replay = { data: "earlier.txt", perDeviceTrainBatchSize: 6 };

test("the recorded options of the same work do not depend on the number of processes", () => {
  const onTwo = { ...alone, gradientAccumulationSteps: 2, stepsPerGeneration: 4 };
  expect(recordedOptions(onTwo, {}, 2)).toEqual(recordedOptions(alone, {}, 1));
  const [one, two] = [
    { ...alone, replay },
    { ...onTwo, replay: { ...replay, perDeviceTrainBatchSize: 3 } },
  ];
  expect(recordedOptions(two, {}, 2)).toEqual(recordedOptions(one, {}, 1));
});

test("another number of answers or of replayed rows per step changes the recorded options", () => {
  const onTwo = { ...alone, gradientAccumulationSteps: 2 };
  expect(recordedOptions(onTwo, {}, 2)).not.toEqual(recordedOptions(alone, {}, 1));
  const same = { ...alone, gradientAccumulationSteps: 2, stepsPerGeneration: 4, replay: { data: "earlier.txt" } };
  const before = { ...alone, replay: { data: "earlier.txt" } };
  expect(recordedOptions(same, {}, 2)).not.toEqual(recordedOptions(before, {}, 1));
});
