// Mutants that do not change a result. Each entry has a pattern of "ENTRY:NUMBER DESCRIPTION", and the reason why no test can detect them.
// Numbers may change with a kernel or with nvcc. A mutant that is listed and caught is an error, so a wrong number is likely to be noticed.
export const harmless = [
  {
    mutant: / without setmaxnreg\.inc/,
    // PTX has unlimited registers. Without setmaxnreg.inc, ptxas spills registers: the kernel is slower, but its results are the same. A
    // missing setmaxnreg.dec is caught, because setmaxnreg.inc then waits forever.
    why: "PTX has unlimited registers, so that a kernel without setmaxnreg.inc computes the same",
  },
  {
    mutant: /group_kernel\w*:1 without bar\.sync/,
    // The second barrier of block_sum, before the next call overwrites `partial`. The kernel calls block_sum once, and does not use `partial`
    // elsewhere. Its accesses to other shared memory come later and have their own barriers.
    why: "the kernel has no second block_sum, whose writes this barrier would delay",
  },
  {
    mutant: /group_kernel\w*:7 without bar\.sync/,
    // The barrier at the end of the loop's remainder. nvcc unrolls the loop by two, so the remainder is the last iteration. The kernel accesses
    // no shared memory after it.
    why: "the loop's remainder is its last iteration, so nothing overwrites the counts afterwards",
  },
  {
    mutant: /tensor_cached_attention_kernel\w*:6 without cp\.async\.wait_group/,
    // The wait after the loop over groups of keys. Each warp runs at least one iteration, because it begins before the first group. Iteration g
    // starts the copies of the next group only if that group is in the loop. That iteration begins with a wait for all copies. So the last
    // iteration commits an empty group, and no copy is pending after the loop.
    why: "every copy has been waited for in the loop",
  },
  {
    mutant: /tensor_warpgroup_attention_kernel\w*:25 without wgmma\.fence/,
    // The fence before the products with the values, in the loop. The products with the keys come just before them, and have a fence too. The
    // sums of the output and the weights were last written before that fence.
    why: "no register of these products is written after the fence of the products before them",
  },
];
