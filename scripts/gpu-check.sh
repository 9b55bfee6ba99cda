#!/usr/bin/env bash
# Runs all tests and benchmarks that need a GPU, in less than nine minutes. The machine needs only CUDA, Node 20, CMake and a compiler,
# and no network. Needs the checkout and its node_modules, and uses ../shared/fixtures if present.
#
#   scripts/gpu-check.sh OUT                  on a GPU
#   scripts/gpu-check.sh OUT --emulator       on the emulated device, as a rehearsal
#   scripts/gpu-check.sh OUT --no-gpu         without a device: builds, static checks, and the failures without a GPU
#   scripts/gpu-check.sh --pack FILE.tar.xz   packs Node, the npm packages that the check needs and the small fixtures into an archive
#   scripts/gpu-check.sh OUT --unpack FILE    unpacks such an archive first, to where node_modules or ../shared/fixtures are missing
#   ... --only NAME,NAME                      runs only these steps
#   ... --seconds N                           limits the time for all steps (default 530)
#
# OUT receives summary.txt and summary.json (rewritten after every step), log.txt with the output of all steps, and the results of the
# benchmarks. A step that fails or hangs does not stop the others. The exit code is 0 if every step passed.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --unpack)
      pack=${2:?--unpack: expected a file}
      shift
      folder=$(mktemp -d) || exit 1
      # One archive, or a pattern that matches its parts in order: --unpack 'pack.tar.xz.*'
      # shellcheck disable=SC2086
      cat $pack | tar -xJf - -C "$folder" || { echo "gpu-check: $pack cannot be unpacked" >&2; exit 1; }
      [ -d "$root/node_modules" ] || mv "$folder/node_modules" "$root/node_modules"
      [ -d "$root/../shared/fixtures" ] || { mkdir -p "$root/../shared" && mv "$folder/fixtures" "$root/../shared/fixtures"; }
      command -v node >/dev/null || export PATH="$folder/bin:$PATH"
      ;;
    *) arguments+=("$1") ;;
  esac
  shift
done

# Adds CUDA's default path if nvcc is not on PATH.
command -v nvcc >/dev/null || [ ! -x /usr/local/cuda/bin/nvcc ] || export PATH="$PATH:/usr/local/cuda/bin"
command -v node >/dev/null || { echo "gpu-check: node is not on PATH; an archive for --unpack has one" >&2; exit 1; }
exec node "$root/scripts/gpu-check/main.mjs" ${arguments[@]+"${arguments[@]}"}
