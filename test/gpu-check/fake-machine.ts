// A copy of the check's scripts with small sources, and fake tools on PATH: a machine with a card, for tests without one.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const checkout = fileURLToPath(new URL("../../", import.meta.url));
const SYSTEM =
  "awk basename bash cat cksum cut date df dirname env find git grep head ls mkdir mktemp mv nproc readlink rm sed sleep sort tail timeout tr wc xargs";
const SOURCES = [
  "native/core/a.cc",
  "native/core/platform/linux/b.cc",
  "native/core/platform/darwin/c.cc",
  "native/runtime/d.cc",
  "native/ops/e.cc",
  "native/distributed/f.cc",
  "native/cuda/g.cu",
  "test/emulator/fragments.cu",
  "test/emulator/kernels.cc",
  "test/emulator/bench.cc",
];
/**
 * nvcc of a CUDA release that knows compute capabilities 8.0 to 9.0, and from 12.8 on 12.0. It writes the options of each call to a file. A
 * linked program runs the shell code in $FAKE_fragments, $FAKE_kernels or $FAKE_bench.
 */
const NVCC = `#!/bin/bash
case $1 in
  --version) echo "Cuda compilation tools, release \${FAKE_CUDA:-12.8}, V\${FAKE_CUDA:-12.8}.9" && exit ;;
  --list-gpu-arch)
    printf 'compute_%s\\n' 80 86 89 90
    [ "\${FAKE_CUDA:-12.8}" != 12.8 ] || echo compute_120
    exit ;;
esac
echo "$@" >>"$FAKE_ROOT/nvcc.txt"
[ -z "\${FAKE_NVCC_ERROR:-}" ] || { echo "$FAKE_NVCC_ERROR" >&2; exit 1; }
case " $* " in *' -c '*) sleep "\${FAKE_NVCC_SLEEP:-0}" ;; esac
while [ "$1" != -o ]; do shift; done
printf '#!/bin/bash\\neval "\${FAKE_%s:-true}"\\n' "$(basename "$2")" >"$2"
[ -x "$2" ] || chmod +x "$2"
`;

export class FakeMachine {
  readonly root = mkdtempSync(join(tmpdir(), "heddle-gpu-check-"));
  readonly bin = join(this.root, "bin");
  readonly out = join(this.root, "out");

  /** @param card the compute capability, driver and name that nvidia-smi lists, or undefined without nvidia-smi */
  constructor(card: string | undefined = "12.0, 570.86.10, NVIDIA GeForce RTX 5090") {
    cpSync(join(checkout, "scripts", "gpu-check.sh"), join(this.root, "scripts", "gpu-check.sh"));
    cpSync(join(checkout, "scripts", "gpu-check"), join(this.root, "scripts", "gpu-check"), { recursive: true });
    for (const source of SOURCES) {
      mkdirSync(dirname(join(this.root, source)), { recursive: true });
      writeFileSync(join(this.root, source), source);
    }
    mkdirSync(this.bin);
    for (const name of [...SYSTEM.split(" "), "chmod"]) {
      const path = ["/usr/bin", "/bin"].map((folder) => join(folder, name)).find((each) => existsSync(each));
      if (path) symlinkSync(path, join(this.bin, name));
    }
    this.tool("nvcc", NVCC);
    this.tool("g++", "#!/bin/bash\n");
    this.tool(
      "compute-sanitizer",
      `#!/bin/bash\neval "\${FAKE_SANITIZER:-echo '========= ERROR SUMMARY: 0 errors'}"\n`,
    );
    const [capability, ...rest] = (card ?? "").split(",");
    if (card !== undefined)
      this.tool(
        "nvidia-smi",
        `#!/bin/bash\nif [ $# = 0 ]; then echo "CUDA Version: \${FAKE_DRIVER_CUDA:-12.8}"; else echo "\${FAKE_CAPABILITY:-${capability}},${rest.join(",")}"; fi\n`,
      );
  }

  tool(name: string, script: string): void {
    writeFileSync(join(this.bin, name), script);
    chmodSync(join(this.bin, name), 0o755);
  }

  /** Runs the check. `env` has the behavior of the fake tools. */
  check(args: readonly string[] = [], env: Record<string, string> = {}, out = this.out) {
    const { status, stdout, stderr } = spawnSync(
      "/bin/bash",
      [join(this.root, "scripts", "gpu-check.sh"), out, ...args],
      {
        encoding: "utf8",
        env: {
          PATH: this.bin,
          CUDA_HOME: join(this.root, "no-cuda"),
          FAKE_ROOT: this.root,
          HEDDLE_COMMIT: "abc1234",
          ...env,
        },
      },
    );
    return { status, stdout, stderr };
  }

  /** The options of nvcc's calls so far. */
  compiled(): string[] {
    return readFileSync(join(this.root, "nvcc.txt"), "utf8").trim().split("\n");
  }

  file(name: string): string {
    return readFileSync(join(this.out, name), "utf8");
  }

  files(): string[] {
    return readdirSync(this.out).sort();
  }
}
