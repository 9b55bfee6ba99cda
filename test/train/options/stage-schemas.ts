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

/** The options of every stage. */
export const stageSchemas = [
  pretrainSchema,
  sftSchema,
  classifySchema,
  embedSchema,
  rewardSchema,
  dpoSchema,
  ktoSchema,
  orpoSchema,
  ppoSchema,
  grpoSchema,
];
