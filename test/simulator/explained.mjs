// Mutants that no case can detect on the simulator. Each entry has a pattern of "ENTRY:NUMBER DESCRIPTION", and the reason. Most do not change
// a result. Numbers may change with a kernel or with nvcc. A mutant that is listed and caught is an error, so a wrong number is likely to be
// noticed.
export const explained = [
  {
    mutant: / without setmaxnreg\.inc/,
    // PTX has unlimited registers. Without setmaxnreg.inc, ptxas spills registers: the kernel is slower, but its results are the same. A
    // missing setmaxnreg.dec is caught, because setmaxnreg.inc then waits forever.
    why: "PTX has unlimited registers, so that a kernel without setmaxnreg.inc computes the same",
  },
  {
    mutant: /tensor_cached_attention_kernel\w*:6 without cp\.async\.wait_group/,
    // The wait after the loop over groups of keys. Each warp runs at least one iteration, because it begins before the first group. Iteration g
    // starts the copies of the next group only if that group is in the loop. That iteration begins with a wait for all copies. So the last
    // iteration commits an empty group, and no copy is pending after the loop.
    why: "every copy has been waited for in the loop",
  },
  {
    mutant: /tensor_cached_attention_kernel\w*Bf16ELi256ELi3E\w*:(2|10) without bar\.sync/,
    // The barriers before the first part and after each part. A block of this plan has a single warp. Each part begins with a bar.warp.sync,
    // before any lane reads the queries or starts a copy to the ring. Blocks of the other plans have several warps.
    why: "the block has one warp, and bar.warp.sync follows",
  },
  {
    mutant: /tensor_warpgroup_attention_kernel\w*:25 without wgmma\.fence/,
    // The fence before the products with the values, in the loop. The products with the keys come just before them, and have a fence too. The
    // sums of the output and the weights were last written before that fence.
    why: "no register of these products is written after the fence of the products before them",
  },
  {
    mutant: /tensor_warpgroup_prefill_kernel\w*:31 without wgmma\.fence/,
    // The same loop, for long segments over the cache.
    why: "no register of these products is written after the fence of the products before them",
  },
  {
    mutant: /tensor_warpgroup_prefill_kernel\w*:9 without bar\.warp\.sync/,
    // The __syncwarp between the proxy fence of all lanes and the arrival of lane 0. The simulator runs the lanes of a warp together, so all
    // copies of the warp are complete when lane 0 arrives. The race build of the emulator detects this mutant.
    why: "the simulator runs the lanes of a warp together",
  },
  {
    mutant: /tensor_cached_prefill_kernel\w*:5 without cp\.async\.wait_group/,
    // The wait after the loop over tiles of keys (for_key_tiles). Each iteration begins with a wait for all copies, and the last one starts no
    // copy.
    why: "every copy has been waited for in the loop",
  },
  {
    mutant: /tensor_warpgroup_softmax_kernel\w*:39 without bar\.warp\.sync/,
    // The barrier before the next tile's products, which all lanes of a warp must start together. Only a quarter of the lanes has stored a part.
    // Lanes of the simulator reconverge right after such a branch. A GPU does not promise that, so the kernel needs the barrier.
    why: "the simulator's lanes are together after a branch, so it cannot notice that the barrier is missing",
  },
  {
    mutant: /tensor_warpgroup_attention_gradient_kernel\w*:(6|13) without fence\.proxy\.async/,
    // The fences around the words in global memory that order the blocks' additions to dq. The simulator's global memory is written in program
    // order, for both proxies, so nothing there needs a fence. A GPU does.
    why: "the simulator checks fences of proxies in shared memory only",
  },
  {
    mutant: /tensor_warpgroup_attention_gradient_kernel\w*:12 without cp\.async\.bulk\.wait_group 0/,
    // The wait for a block's additions before it tells the next block that they are done. Without it, every block of the simulator adds when its
    // thread waits at its end. Blocks end in the order in which they should add.
    why: "all blocks of the simulator then add later, in the same order",
  },
  {
    mutant: /tensor_warpgroup_attention_gradient_kernel\w*:14 without cp\.async\.bulk\.wait_group 0/,
    // The wait at the end of the thread. Each step has waited until the copies have read their sources and, if it adds, until they are complete.
    why: "no copy is incomplete that the end of the kernel does not complete",
  },
  {
    mutant: /tensor_warpgroup_attention_gradient_kernel\w*:33 without wgmma\.fence/,
    // The fence before dk, in the branch that computes a part of dq. The products of dq just before have a fence. The operands and sums of dk were
    // last written before that fence.
    why: "no register of these products is written after the fence of the products before them",
  },
  {
    mutant: /tensor_warpgroup_attention_gradient_kernel\w*:38 without bar\.warp\.sync/,
    // The barrier before lane 0 tells the producer that a part of dq is staged. Lanes of the simulator run in step, so the other lanes have
    // staged theirs. A GPU does not promise that.
    why: "the lanes of a warp of the simulator run in step",
  },
];
