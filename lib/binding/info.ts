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

/** The addon, and what CUDA devices it finds. */
export interface BuildInfo {
  /** Version of the package that the addon was built from. */
  version: string;
  /** The C++ compiler and its version. */
  compiler: string;
  /** `Release` or `Debug`. */
  buildType: string;
  /** `built`: whether the addon has CUDA kernels. `problem`: why a machine with a driver has no devices. */
  cuda: { built: boolean; devices: CudaDeviceInfo[]; problem?: string };
}

export interface InfoBinding {
  info(): BuildInfo;
  /** By which the ranks of a world find each other; needs NCCL. */
  collectiveId(): ArrayBuffer;
}
