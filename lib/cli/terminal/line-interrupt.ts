import type { Interface } from "node:readline";

/**
 * Handles Ctrl-C at a terminal's prompt, as Node's REPL does. Ctrl-C clears a line that has text. On an empty line, the first Ctrl-C prints how
 * to exit, and the second exits.
 */
export class LineInterrupt {
  private readonly lines: Interface;
  private readonly say: (text: string) => void;
  private wasTold = false;

  constructor(lines: Interface, say: (text: string) => void) {
    this.lines = lines;
    this.say = say;
    lines.on("line", () => {
      this.wasTold = false;
    });
  }

  press(): void {
    const { lines } = this;
    if (lines.line !== "") {
      this.wasTold = false;
      // Delete from the cursor to the end, and then to the beginning.
      lines.write(null, { ctrl: true, name: "k" });
      lines.write(null, { ctrl: true, name: "u" });
    } else if (this.wasTold) lines.close();
    else {
      this.wasTold = true;
      this.say("\n(Press Ctrl-C again or Ctrl-D to exit.)");
      lines.prompt();
    }
  }
}
