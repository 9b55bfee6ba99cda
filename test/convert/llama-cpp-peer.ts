import { type LlamaCppPeer, openLlamaCpp } from "../../bench/peers/llama-cpp.ts";

/** One process of llama.cpp for all files of a test: starting it takes longer than a case. */
export function onePeer() {
  let peer: LlamaCppPeer | undefined;
  const close = () => {
    peer?.close();
    peer = undefined;
  };
  return {
    close,
    async of(file: string): Promise<LlamaCppPeer> {
      // Where the case before ended it, or this file does, the one that is started tells.
      const opened = await peer?.open(file).catch(() => undefined);
      if (opened) return peer!;
      if (opened === false) throw new Error("expected node-llama-cpp to open the file, got a refusal");
      close();
      peer = await openLlamaCpp(file, 1);
      if (!peer) throw new Error("expected node-llama-cpp to open the file, got an end");
      return peer;
    },
  };
}
