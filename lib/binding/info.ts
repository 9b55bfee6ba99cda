// Build and devices (native/binding/info.cc).

/** A CUDA device as its driver describes it. */
export interface CudaDeviceInfo {
  index: number;
  name: string;
  /** For example "9.0". */
  computeCapability: string;
  memoryBytes: number;
  multiprocessors: number;
  /** The version of CUDA that the driver speaks. */
  driver: string;
}

export interface BuildInfo {
  version: string;
  compiler: string;
  buildType: string;
  /** `problem`: why a machine with a driver has no devices. */
  cuda: { built: boolean; devices: CudaDeviceInfo[]; problem?: string };
}

export interface InfoBinding {
  info(): BuildInfo;
  /** By which the ranks of a world find each other; needs NCCL. */
  collectiveId(): ArrayBuffer;
}
