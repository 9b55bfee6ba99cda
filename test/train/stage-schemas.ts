import { classifySchema } from "../../lib/train/classify.ts";
import { dpoSchema } from "../../lib/train/dpo.ts";
import { embedSchema } from "../../lib/train/embed.ts";
import { grpoSchema } from "../../lib/train/grpo.ts";
import { ktoSchema } from "../../lib/train/kto.ts";
import { orpoSchema } from "../../lib/train/orpo.ts";
import { ppoSchema } from "../../lib/train/ppo.ts";
import { pretrainSchema } from "../../lib/train/pretrain.ts";
import { rewardSchema } from "../../lib/train/reward.ts";
import { sftSchema } from "../../lib/train/sft.ts";

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
