// A fake machine with a card, for tests on machines without one: a copy of the scripts of gpu-check, small sources, and fake tools on PATH.
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
 * nvcc of a CUDA release. It knows compute capabilities 8.0 to 9.0. Release 12.8 also knows 12.0. It writes the options of each call to a file.
 * A linked program runs the shell code in $FAKE_fragments, $FAKE_kernels or $FAKE_bench.
 */
const NVCC = `#!/bin/bash
case $1 in
  --version) echo "Cuda compilation tools, release \${FAKE_CUDA:-12.8}, V\${FAKE_CUDA:-12.8}.9" && exit ;;
  --list-gpu-arch)
    printf 'compute_%s\\n' 80 86 89 90
    [ "\${FAKE_CUDA:-12.8}" != 12.8 ] || echo compute_120
    exit ;;
  -dryrun) echo '#$ TOP=/fake/toolkit' >&2 && exit ;;
esac
echo "$@" >>"$FAKE_ROOT/nvcc.txt"
[ -z "\${FAKE_NVCC_ERROR:-}" ] || { echo "$FAKE_NVCC_ERROR" >&2; exit 1; }
case " $* " in *' -c '*) sleep "\${FAKE_NVCC_SLEEP:-0}" ;; esac
while [ "$1" != -o ]; do shift; done
printf '#!/bin/bash\\neval "\${FAKE_%s:-true}"\\n' "$(basename "$2")" >"$2"
[ -x "$2" ] || chmod +x "$2"
`;

/**
 * nvidia-smi with the cards of $FAKE_ROOT/cards.txt, as lines "capability|driver|name|MIG mode|instances". It does not know the field
 * $FAKE_UNKNOWN_FIELD. It writes the options of each call to a file.
 */
const NVIDIA_SMI = `#!/bin/bash
echo "$@" >>"$FAKE_ROOT/nvidia-smi.txt"
[ $# -gt 0 ] || { echo "CUDA Version: \${FAKE_DRIVER_CUDA:-12.8}" && exit; }
id='' list='' fields='' answer=''
for option; do
  case $option in
    -L) list=1 ;;
    --id=*) id=\${option#*=} ;;
    --query-gpu=*) fields=\${option#*=} ;;
  esac
done
[[ ,$fields, != *,\${FAKE_UNKNOWN_FIELD:-none},* ]] || { echo "$FAKE_UNKNOWN_FIELD is not a valid field to query." && exit 2; }
mapfile -t cards <"$FAKE_ROOT/cards.txt"
for i in "\${!cards[@]}"; do
  [ -z "$id" ] || [ "$id" = "$i" ] || continue
  IFS='|' read -r capability driver name mig instances <<<"\${cards[i]}"
  if [ -n "$list" ]; then
    answer+="GPU $i: $name (UUID: GPU-$i$i$i$i-aaaa)"$'\\n'
    for part in $instances; do answer+="  MIG $part     Device  0: (UUID: MIG-$i-$part)"$'\\n'; done
    continue
  fi
  line=''
  for field in \${fields//,/ }; do
    case $field in
      compute_cap) value=\${FAKE_CAPABILITY:-$capability} ;;
      driver_version) value=$driver ;;
      name) value=$name ;;
      mig.mode.current) value=$mig ;;
      *) value="$field of $i" ;;
    esac
    line+="\${line:+, }$value"
  done
  answer+=$line$'\\n'
done
[ -n "$answer" ] || { echo 'No devices were found' && exit 6; }
printf '%s' "$answer"
`;

export class FakeMachine {
  readonly root = mkdtempSync(join(tmpdir(), "heddle-gpu-check-"));
  readonly bin = join(this.root, "bin");
  readonly out = join(this.root, "out");

  /**
   * @param cards those that nvidia-smi lists, as "capability, driver, name". A fourth part "MIG 1g.10gb 2g.20gb" turns MIG on and lists the
   * instances
   */
  constructor(cards: readonly string[] = ["12.0, 570.86.10, NVIDIA GeForce RTX 5090"]) {
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
    this.tool("nvidia-smi", NVIDIA_SMI);
    const lines = cards.map((card) => {
      const [capability, driver, name, mig] = card.split(", ");
      return [capability, driver, name, mig ? "Enabled" : "[N/A]", mig?.slice(4) ?? ""].join("|");
    });
    writeFileSync(join(this.root, "cards.txt"), `${lines.join("\n")}\n`);
  }

  tool(name: string, script: string): void {
    writeFileSync(join(this.bin, name), script);
    chmodSync(join(this.bin, name), 0o755);
  }

  /** Runs the check. `env` determines the behavior of the fake tools. */
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

  /** The card as scripts/gpu-check/machine.mjs reads it, or undefined. */
  deviceFacts(env: Record<string, string> = {}): Record<string, string> | undefined {
    const module = new URL("../../scripts/gpu-check/machine.mjs", import.meta.url).href;
    const program = `const { deviceFacts } = await import("${module}"); console.log(JSON.stringify(deviceFacts() ?? null));`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
      encoding: "utf8",
      env: { PATH: this.bin, FAKE_ROOT: this.root, ...env },
    });
    return (JSON.parse(stdout) as Record<string, string> | null) ?? undefined;
  }

  /** The options of nvcc's calls so far. */
  compiled(): string[] {
    return readFileSync(join(this.root, "nvcc.txt"), "utf8").trim().split("\n");
  }

  /** The options of nvidia-smi's calls so far. */
  asked(): string[] {
    return readFileSync(join(this.root, "nvidia-smi.txt"), "utf8").split("\n").slice(0, -1);
  }

  file(name: string): string {
    return readFileSync(join(this.out, name), "utf8");
  }

  files(): string[] {
    return readdirSync(this.out).sort();
  }
}
