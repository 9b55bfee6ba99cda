// Mutants that do not change a result. Each entry has a part of the kernel's name, the mutants, and the reason why no test can detect them.
export const harmless = [
  {
    kernel: "tensor_warpgroup",
    what: /^without setmaxnreg\.inc/,
    // PTX has unlimited registers. Without setmaxnreg.inc, ptxas spills registers: the kernel is slower, but its results are the same. A
    // missing setmaxnreg.dec is caught, because setmaxnreg.inc then waits forever.
    why: "PTX has unlimited registers, so that a kernel without setmaxnreg.inc computes the same",
  },
  {
    kernel: "PairedINS3_8RingTileILi256ELi4ELi16384ELi32768EEEEELb0ELb1E",
    what: /^bit (1[6-9]|2[0-9]) of or\.b64/,
    // Bits 16 to 29 are the byte offset of the leading dimension ("Matrix Descriptor Format"). The manual's section "Strides" says that
    // swizzled K-major tiles do not use it. Both operands of these kernels are K-major.
    why: "swizzled K-major tiles do not use the leading byte offset",
  },
];
