/** Maps option names to the spelling in a configuration file, such as `per_device_train_batch_size`. */
export class WrittenNames {
  /** Maps an option's path (`lora.targetModules`) to the file's spelling of its last segment. */
  private readonly names = new Map<string, string>();

  add(path: string, written: string): void {
    this.names.set(path, written);
  }

  /** Returns the last segment of an option's path in the file's spelling. */
  of(path: string): string {
    return this.names.get(path) ?? path.slice(path.lastIndexOf(".") + 1);
  }

  /** Forgets the file's spelling of an option that the command line overrides. */
  forget(path: string): void {
    this.names.delete(path);
  }

  /** Rewrites a message about an option to the file's spelling: `learningRate: expected …` as `learning_rate: expected …`. */
  inMessage(message: string): string {
    const unknown = /^([\w.]+)\.(\w+)(?=: expected .*, got an unknown one$)/s.exec(message);
    if (unknown) {
      const [path, place = "", name = ""] = unknown;
      // The place is a stage (`sft`), a stage and a nested object (`sft.replay`), or only a nested object
      // (`lora`).
      const inner = [...place.split(".").slice(1), name].join(".");
      return `${place}.${this.of(this.names.has(inner) ? inner : path)}${message.slice(path.length)}`;
    }
    return (
      message
        // A new model's configuration is validated separately, so its errors have names without the prefix `model.`.
        .replace(/(?<=^model configuration: )\w+(?=:)/, (name) => this.of(`model.${name}`))
        .replace(/^[A-Za-z]\w*(\.\w+)*(?=:)/, (path) => this.written(path))
        // Elsewhere in a message, only a dotted path is certain to name an option.
        .replace(/(?<=\s)[A-Za-z]\w*(\.\w+)+/g, (path) => (this.names.has(path) ? this.written(path) : path))
    );
  }

  private written(path: string): string {
    const parts = path.split(".");
    return parts.map((_, i) => this.of(parts.slice(0, i + 1).join("."))).join(".");
  }
}
