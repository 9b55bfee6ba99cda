/** How a configuration file writes the names of options where that is not their own: `per_device_train_batch_size`. */
export class WrittenNames {
  /** By the path of the option (`lora.targetModules`), what stands there in the place of its last name. */
  private readonly names = new Map<string, string>();

  add(path: string, written: string): void {
    this.names.set(path, written);
  }

  /** An option's name, or the last of its path, as the file writes it. */
  of(path: string): string {
    return this.names.get(path) ?? path.slice(path.lastIndexOf(".") + 1);
  }

  /** Options that come from elsewhere, whatever the file says. */
  forget(path: string): void {
    this.names.delete(path);
  }

  /** A message of the library about an option, in the file's words: `learningRate: expected …` as `learning_rate: expected …`. */
  inMessage(message: string): string {
    const unknown = /^([\w.]+)(: expected .*, got an unknown option )(\w+)$/s.exec(message);
    if (unknown) {
      const [, place = "", middle = "", name = ""] = unknown;
      // The place is that of the stage, or of the object inside it.
      const inner = [...place.split(".").slice(1), name].join(".");
      return `${place}${middle}${this.of(this.names.has(inner) ? inner : `${place}.${name}`)}`;
    }
    return (
      message
        // A new model's configuration is checked by itself, without the `model` around it.
        .replace(/(?<=^model configuration: )\w+(?=:)/, (name) => this.of(`model.${name}`))
        .replace(/^[A-Za-z]\w*(\.\w+)*(?=:)/, (path) => this.written(path))
        // Elsewhere a path alone is surely an option.
        .replace(/(?<=\s)[A-Za-z]\w*(\.\w+)+/g, (path) => (this.names.has(path) ? this.written(path) : path))
    );
  }

  private written(path: string): string {
    const parts = path.split(".");
    return parts.map((_, i) => this.of(parts.slice(0, i + 1).join("."))).join(".");
  }
}
