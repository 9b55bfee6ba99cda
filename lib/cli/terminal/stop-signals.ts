// Handles the signals that stop a command that would otherwise never end, such as `serve`.

/**
 * Handles SIGINT and SIGTERM. Create it before models are loaded: without a handler, the first process of a container ignores the signals.
 */
export class StopSignals {
  private stop: (() => void) | undefined;

  constructor() {
    for (const [signal, code] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const)
      process.on(signal, () => {
        if (!this.stop) return process.exit(code);
        this.stop();
        this.stop = undefined;
      });
  }

  /**
   * Resolves on the first signal, so that running answers can finish. Before this call, and after the first signal, a signal ends the process
   * at once.
   */
  first(): Promise<void> {
    return new Promise((resolve) => {
      this.stop = resolve;
    });
  }
}
