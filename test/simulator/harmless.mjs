// Mutants that change no result. Each entry has the kernels, the mutants, and the reason why no program can detect them.
export const harmless = [
  {
    kernel: "tensor_warpgroup",
    what: /^without setmaxnreg\.inc/,
    // PTX has unlimited registers. Without the request for more, ptxas spills registers: the kernel is slower and has the same results. A
    // missing release is caught, because the request then waits forever.
    why: "setmaxnreg.inc asks for registers that PTX does not name",
  },
  {
    kernel: "tensor_warpgroup_kernelINS0_4sm908RingTileILi256ELi4ELi16384ELi32768EEELb0ELb0E",
    what: /^bit (1[6-9]|2[0-9]) of or\.b64/,
    // Bits 16 to 29 are the leading dimension's byte offset ("Matrix Descriptor Format"). "Strides" says of K-major tiles with a swizzle that it
    // is not used. Both operands of these kernels are K-major.
    why: "K-major tiles with a swizzle have no use for the leading byte offset",
  },
];
