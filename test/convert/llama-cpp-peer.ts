import { type LlamaCppPeer, openLlamaCpp } from "../../bench/peers/llama-cpp.ts";

/** Shares one llama.cpp process among a test file's cases, since starting it takes longer than a case. */
export function onePeer() {
  let peer: LlamaCppPeer | undefined;
  const close = () => {
    peer?.close();
    peer = undefined;
  };
  return {
    close,
    async of(file: string): Promise<LlamaCppPeer> {
      // The process may have ended with the previous case. Starting a new one reports any failure.
      const opened = await peer?.open(file).catch(() => undefined);
      if (opened) return peer!;
      if (opened === false) throw new Error("node-llama-cpp rejected the file");
      close();
      peer = await openLlamaCpp(file, 1);
      if (!peer) throw new Error("node-llama-cpp ended before it opened the file");
      return peer;
    },
  };
}
