// Names of options, and suggestions for unknown names.
import { HeddleError } from "../../core/errors.ts";
import { nearest } from "../../core/nearest-name.ts";

/**
 * Names of an option in other libraries and in haste, without case and underscores. The first one that a stage has is suggested. `lora.r`
 * is the key `r` inside `lora`.
 */
export const ALIASES: Readonly<Record<string, readonly string[]>> = {
  lr: ["learningRate"],
  maxlr: ["learningRate"],
  peaklr: ["learningRate"],
  stepsize: ["learningRate"],
  minlr: ["minLearningRateRatio"],
  bs: ["perDeviceTrainBatchSize"],
  batch: ["perDeviceTrainBatchSize"],
  batchsize: ["perDeviceTrainBatchSize"],
  trainbatchsize: ["perDeviceTrainBatchSize"],
  microbatchsize: ["perDeviceTrainBatchSize"],
  devicebatchsize: ["perDeviceTrainBatchSize"],
  evalbatchsize: ["perDeviceTrainBatchSize"],
  epoch: ["numTrainEpochs", "maxSteps"],
  epochs: ["numTrainEpochs", "maxSteps"],
  nepochs: ["numTrainEpochs", "maxSteps"],
  numepochs: ["numTrainEpochs", "maxSteps"],
  maxepochs: ["numTrainEpochs", "maxSteps"],
  trainepochs: ["numTrainEpochs", "maxSteps"],
  numtrainepochs: ["numTrainEpochs", "maxSteps"],
  steps: ["maxSteps"],
  numsteps: ["maxSteps"],
  totalsteps: ["maxSteps"],
  trainsteps: ["maxSteps"],
  numtrainsteps: ["maxSteps"],
  iters: ["maxSteps"],
  maxiters: ["maxSteps"],
  iterations: ["maxSteps"],
  numiterations: ["maxSteps"],
  accumulation: ["gradientAccumulationSteps"],
  accumulationsteps: ["gradientAccumulationSteps"],
  accumulategradbatches: ["gradientAccumulationSteps"],
  gradaccum: ["gradientAccumulationSteps"],
  gradaccumsteps: ["gradientAccumulationSteps"],
  gradientaccumulation: ["gradientAccumulationSteps"],
  seqlen: ["maxSeqLength"],
  seqlength: ["maxSeqLength"],
  sequencelength: ["maxSeqLength"],
  maxseqlen: ["maxSeqLength"],
  maxlen: ["maxSeqLength"],
  maxlength: ["maxSeqLength"],
  modelmaxlength: ["maxSeqLength"],
  blocksize: ["maxSeqLength"],
  context: ["maxSeqLength"],
  contextlength: ["maxSeqLength"],
  cutofflen: ["maxSeqLength"],
  schedule: ["lrScheduler"],
  scheduler: ["lrScheduler"],
  lrschedule: ["lrScheduler"],
  lrschedulertype: ["lrScheduler"],
  learningratescheduler: ["lrScheduler"],
  warmup: ["warmupSteps"],
  numwarmupsteps: ["warmupSteps"],
  numdecaysteps: ["decaySteps"],
  cooldownsteps: ["decaySteps"],
  lrdecaysteps: ["decaySteps"],
  wd: ["weightDecay"],
  decay: ["weightDecay"],
  clip: ["maxGradNorm"],
  gradclip: ["maxGradNorm"],
  clipgradnorm: ["maxGradNorm"],
  gradientclipping: ["maxGradNorm"],
  paramgroups: ["parameterGroups"],
  optimgroups: ["parameterGroups"],
  layerwiselrdecay: ["parameterGroups"],
  nodecay: ["parameterGroups"],
  freezelayers: ["parameterGroups"],
  frozen: ["freeze", "parameterGroups"],
  params: ["match"],
  parameters: ["match"],
  pattern: ["match"],
  lrscale: ["learningRateRatio", "parameterGroups"],
  lrmult: ["learningRateRatio", "parameterGroups"],
  lrratio: ["learningRateRatio", "parameterGroups"],
  optimizer: ["optim"],
  optimiser: ["optim"],
  beta1: ["adamBeta1"],
  beta2: ["adamBeta2"],
  eps: ["adamEpsilon"],
  epsilon: ["adamEpsilon"],
  checkpointing: ["gradientCheckpointing"],
  activationcheckpointing: ["gradientCheckpointing"],
  gradcheckpointing: ["gradientCheckpointing"],
  bf16: ["dtype"],
  fp16: ["dtype"],
  fp32: ["dtype"],
  precision: ["dtype"],
  mixedprecision: ["dtype"],
  torchdtype: ["dtype"],
  randomseed: ["seed"],
  out: ["outputDir"],
  output: ["outputDir"],
  outdir: ["outputDir"],
  outputpath: ["outputDir"],
  savedir: ["outputDir"],
  checkpointdir: ["outputDir"],
  log: ["loggingSteps"],
  logsteps: ["loggingSteps"],
  logevery: ["loggingSteps"],
  loginterval: ["loggingSteps"],
  evalevery: ["evalSteps"],
  evalinterval: ["evalSteps"],
  evalstrategy: ["evalSteps"],
  save: ["saveSteps"],
  saveevery: ["saveSteps"],
  saveinterval: ["saveSteps"],
  savestrategy: ["saveSteps"],
  checkpointsteps: ["saveSteps"],
  keepcheckpoints: ["saveTotalLimit"],
  savelimit: ["saveTotalLimit"],
  maxcheckpoints: ["saveTotalLimit"],
  checkpoint: ["resume"],
  resumefrom: ["resume"],
  resumefromcheckpoint: ["resume"],
  overwrite: ["overwriteOutputDir"],
  overwriteoutput: ["overwriteOutputDir"],
  patience: ["earlyStoppingPatience"],
  dataset: ["data"],
  datasets: ["data"],
  traindata: ["data"],
  traindataset: ["data"],
  trainfile: ["data"],
  file: ["data"],
  files: ["data"],
  corpus: ["data"],
  valdata: ["evalData"],
  validationdata: ["evalData"],
  testdata: ["evalData"],
  evaldataset: ["evalData"],
  evalfile: ["evalData"],
  valfraction: ["evalFraction"],
  valsplit: ["evalFraction"],
  validationsplit: ["evalFraction"],
  testsize: ["evalFraction"],
  datasettextfield: ["textField"],
  separator: ["documentSeparator"],
  template: ["chatTemplate"],
  neftune: ["neftuneNoiseAlpha"],
  neftunealpha: ["neftuneNoiseAlpha"],
  basemodel: ["model"],
  modelname: ["model"],
  modelnameorpath: ["model"],
  modelpath: ["model"],
  tokenizername: ["tokenizer"],
  peft: ["lora"],
  peftconfig: ["lora"],
  loraconfig: ["lora"],
  rank: ["r", "lora.r"],
  lorar: ["r", "lora.r"],
  lorarank: ["r", "lora.r"],
  loraalpha: ["alpha", "lora.alpha"],
  loradropout: ["dropout", "lora.dropout"],
  targets: ["targetModules", "lora.targetModules"],
  modules: ["targetModules", "lora.targetModules"],
  loratargetmodules: ["targetModules", "lora.targetModules"],
  rslora: ["useRslora", "lora.useRslora"],
  labelsmoothing: ["labelSmoothing", "labelSmoothingFactor"],
  labelsmoothingfactor: ["labelSmoothingFactor", "labelSmoothing"],
  reference: ["refModel"],
  referencemodel: ["refModel"],
  reward: ["rewards"],
  rewardfuncs: ["rewards"],
  rewardfunctions: ["rewards"],
  rewardmodel: ["rewards"],
  groupsize: ["numGenerations"],
  numsamples: ["numGenerations"],
  maxtokens: ["maxCompletionLength"],
  maxnewtokens: ["maxCompletionLength"],
  responselength: ["maxCompletionLength"],
  kl: ["klCoef", "beta"],
  klcoef: ["klCoef", "beta"],
  klcoefficient: ["klCoef", "beta"],
  clipepsilon: ["epsilon", "cliprange"],
};

/** Keys of options that are objects. */
export type InnerNames = Readonly<Record<string, readonly string[]>>;

/**
 * Suggests the option that an unknown name most likely means: one that differs only in case and underscores, a name in other libraries, a
 * key inside another option, or a near spelling.
 * @param inner keys of the options among `known` that are objects of options
 */
export function meantOption(name: string, known: readonly string[], inner: InnerNames = {}): string | undefined {
  // A name of one or two letters is close to any other.
  return sameOption(name, known, inner) ?? (plain(name).length > 2 ? nearest(name, known) : undefined);
}

/** Like meantOption, without near spellings. */
export function sameOption(name: string, known: readonly string[], inner: InnerNames = {}): string | undefined {
  const bare = plain(name);
  const within = Object.entries(inner).flatMap(([option, keys]) => keys.map((key) => `${option}.${key}`));
  const alias = Object.hasOwn(ALIASES, bare) ? ALIASES[bare]! : [];
  return (
    known.find((one) => plain(one) === bare) ??
    alias.find((one) => known.includes(one) || within.includes(one)) ??
    within.find((one) => plain(one.slice(one.indexOf(".") + 1)) === bare)
  );
}

const plain = (name: string) => name.replace(/[^a-zA-Z0-9]/g, "").toLowerCase();

/** The error for an unknown name: `sft: expected learningRate, got an unknown option lr`. */
export function unknownOption(where: string, name: string, known: readonly string[], inner?: InnerNames): HeddleError {
  const expected = meantOption(name, known, inner) ?? `one of ${known.join(", ")}`;
  return new HeddleError("INVALID_ARGUMENT", `${where}: expected ${expected}, got an unknown option ${name}`);
}
