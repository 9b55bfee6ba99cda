import type { z } from "zod";
import type { StageName } from "../../../lib/cli/options/stage-table.ts";
import { classifySchema } from "../../../lib/train/stages/classify.ts";
import { dpoSchema } from "../../../lib/train/stages/dpo.ts";
import { embedSchema } from "../../../lib/train/stages/embed.ts";
import { grpoSchema } from "../../../lib/train/stages/grpo.ts";
import { ktoSchema } from "../../../lib/train/stages/kto.ts";
import { orpoSchema } from "../../../lib/train/stages/orpo.ts";
import { ppoSchema } from "../../../lib/train/stages/ppo.ts";
import { pretrainSchema } from "../../../lib/train/stages/pretrain.ts";
import { rewardSchema } from "../../../lib/train/stages/reward.ts";
import { sftSchema } from "../../../lib/train/stages/sft.ts";
import { simpoSchema } from "../../../lib/train/stages/simpo.ts";

/** The options of every stage, by its name. */
export const schemasByStage = {
  pretrain: pretrainSchema,
  sft: sftSchema,
  classify: classifySchema,
  embed: embedSchema,
  reward: rewardSchema,
  dpo: dpoSchema,
  kto: ktoSchema,
  orpo: orpoSchema,
  simpo: simpoSchema,
  ppo: ppoSchema,
  grpo: grpoSchema,
} satisfies Record<StageName, z.ZodObject>;

export const stageSchemas = Object.values(schemasByStage);
