#!/usr/bin/env bash
# Everything that only a GPU can settle, in one command of under nine minutes, on a machine that has nothing but CUDA, Node 20,
# CMake and a compiler: no registry, no network. Needs the checkout and its node_modules; ../shared/fixtures is used where it is.
#
#   scripts/gpu-check.sh OUT                  on a GPU
#   scripts/gpu-check.sh OUT --emulator       a rehearsal: the emulated device stands in for it
#   scripts/gpu-check.sh OUT --no-gpu         what can be said without one: builds, static gates, "0 CUDA devices"
#   scripts/gpu-check.sh --pack FILE.tar.xz   node, the packages that the check needs and the small fixtures, for a machine without any
#   scripts/gpu-check.sh OUT --unpack FILE    uses them: node_modules and ../shared/fixtures are put where they are missing
#   ... --only NAME,NAME --seconds N          some steps; the time for all of them (default 530)
#
# OUT gets summary.txt, summary.json (rewritten after every step), log.txt with every step's output, and what the bench measured. A
# step that fails or hangs does not stop the others. Exit code 0 where every step passed.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --unpack)
      pack=${2:?--unpack: expected a file}
      shift
      folder=$(mktemp -d) || exit 1
      # One archive, or its pieces in order where a single file would be too large to carry: --unpack 'pack.tar.xz.*'
      # shellcheck disable=SC2086
      cat $pack | tar -xJf - -C "$folder" || { echo "gpu-check: $pack could not be unpacked" >&2; exit 1; }
      [ -d "$root/node_modules" ] || mv "$folder/node_modules" "$root/node_modules"
      [ -d "$root/../shared/fixtures" ] || { mkdir -p "$root/../shared" && mv "$folder/fixtures" "$root/../shared/fixtures"; }
      command -v node >/dev/null || export PATH="$folder/bin:$PATH"
      ;;
    *) arguments+=("$1") ;;
  esac
  shift
done

# CUDA's usual place, where PATH does not name it.
command -v nvcc >/dev/null || [ ! -x /usr/local/cuda/bin/nvcc ] || export PATH="$PATH:/usr/local/cuda/bin"
command -v node >/dev/null || { echo "gpu-check: node is not on PATH; --unpack brings one" >&2; exit 1; }
exec node "$root/scripts/gpu-check/main.mjs" ${arguments[@]+"${arguments[@]}"}
