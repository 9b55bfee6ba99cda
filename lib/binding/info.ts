// Types of build and device information (native/binding/info.cc).

/** A CUDA device as its driver describes it. */
export interface CudaDeviceInfo {
  /** Number of the device, as in `cuda:N`. */
  index: number;
  /** The driver's name of the device. */
  name: string;
  /** For example "9.0". */
  computeCapability: string;
  /** Size of the device's memory in bytes. */
  memoryBytes: number;
  /** Number of streaming multiprocessors. */
  multiprocessors: number;
  /** The newest version of CUDA that the driver supports. */
  driver: string;
  /** Where the card is, for example "0000:3b:00.0". nvidia-smi takes it as `--id`, because its indices may differ from CUDA's. */
  pciBusId: string;
}

/** The addon's build, and the CUDA devices that it finds. */
export interface BuildInfo {
  /** Version of the package that the addon was built from. */
  version: string;
  /** The C++ compiler and its version. */
  compiler: string;
  /** `Release` or `Debug`. */
  buildType: string;
  /**
   * `built`: whether the addon has CUDA kernels. `toolkit`: the version of CUDA that they were built with, for example "13.0".
   * `problem`: why no device was found although there is a driver, or why one is missing from `devices`.
   */
  cuda: { built: boolean; toolkit?: string; devices: CudaDeviceInfo[]; problem?: string };
}

/** The addon's functions that describe the build and the machine. */
export interface InfoBinding {
  info(): BuildInfo;
  /** Creates an id by which the ranks of a group find each other. It needs NCCL. */
  collectiveId(): ArrayBuffer;
}
