// The kernels whose mutants are run together: cases of test/emulator/kernels.cc by one or several prefixes of their names, on a device. `kernel`
// is a part of the names of the mutated kernels. Cases are small, because each mutant runs them once.
export const families = [
  { family: "product, mma.sync", device: "sm_80", cases: ["linear bf16", "epilogue bf16"], kernel: "tensor_kernel" },
  { family: "8-bit activations", device: "sm_80", cases: "quantized q8_0", kernel: "" },
  { family: "experts", device: "sm_80", cases: "experts bf16, small", kernel: "experts" },
  { family: "attention, mma.sync", device: "sm_80", cases: "attention bf16", kernel: "attention" },
  { family: "cached attention", device: "sm_80", cases: "cached tensor", kernel: "tensor_cached_attention" },
  { family: "long prompts", device: "sm_80", cases: "long prompts", kernel: "tensor_cached_prefill" },
  { family: "logits, mma.sync", device: "sm_80", cases: "logits:", kernel: "logits" },
  {
    family: "product, wgmma",
    device: "sm_90",
    cases: [
      "sm_90: wide tiles",
      "sm_90: half tiles",
      "sm_90: split",
      "sm_90 epilogue",
      "sm_90: added",
      "sm_90: decoded",
      "sm_90: rows",
    ],
    kernel: "tensor_warpgroup_kernel",
  },
  { family: "8-bit product", device: "sm_90", cases: "sm_90 fp8", kernel: "fp8" },
  { family: "logits, wgmma", device: "sm_90", cases: "sm_90 logits: wide", kernel: "logits" },
  { family: "attention, wgmma", device: "sm_90", cases: "sm_90 attention, heads of 96", kernel: "attention" },
  {
    family: "attention gradient",
    device: "sm_90",
    cases: "sm_90 gradients, bidirectional, heads",
    kernel: "gradient",
  },
];
