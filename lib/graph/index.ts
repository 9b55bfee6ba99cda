// The graph's values, ops, differentiation and compilation. Model families, losses and training stages are built from them.
export type { CpuInfo } from "../binding/graph.ts";
export type { BuildInfo, CudaDeviceInfo } from "../binding/info.ts";
export { type GradientOptions, gradients } from "./autograd.ts";
export {
  allGatherTensors,
  allReduceNumbers,
  allReduceTensors,
  joinCollective,
  newCollectiveId,
  reduceScatterTensors,
} from "./collective.ts";
export { compile, type Executable, type Inputs, type Outputs, type Program, type Results } from "./compile.ts";
export { Device, type DeviceInfo, type DeviceOptions, deviceInfo, openDevice } from "./device.ts";
export { bytesOf, type DType, type FloatDType, isFloat, isQuantized, type QuantizedDType } from "./dtype.ts";
export { opNames } from "./op-table.ts";
export * from "./ops/attention.ts";
export * from "./ops/elementwise.ts";
export * from "./ops/embedding.ts";
export * from "./ops/experts.ts";
export * from "./ops/fp8.ts";
export * from "./ops/layout.ts";
export * from "./ops/linear.ts";
export * from "./ops/loss.ts";
export * from "./ops/noise.ts";
export * from "./ops/norm.ts";
export * from "./ops/optimizer.ts";
export * from "./ops/sample.ts";
export * from "./ops/unary.ts";
export {
  formatProfile,
  type Profile,
  type ProfiledOperand,
  type ProfiledOperation,
  type ProfileFormat,
  profile,
} from "./profile.ts";
export { Ranks } from "./ranks.ts";
export { Tensor, type TensorData, toBf16, toFloat32 } from "./tensor.ts";
export { input, recomputable, record, type Trace, tensor } from "./trace.ts";
export { type Dim, Dimension, type Node, type Shape, type Source, type TensorType, Value } from "./value.ts";
