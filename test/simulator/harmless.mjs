// Mutants that do not change a result. Each entry has a part of the kernel's name, the mutants, and the reason why no test can detect them.
export const harmless = [
  {
    kernel: "",
    what: /^without setmaxnreg\.inc/,
    // PTX has unlimited registers. Without setmaxnreg.inc, ptxas spills registers: the kernel is slower, but its results are the same. A
    // missing setmaxnreg.dec is caught, because setmaxnreg.inc then waits forever.
    why: "PTX has unlimited registers, so that a kernel without setmaxnreg.inc computes the same",
  },
];
