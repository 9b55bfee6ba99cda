#!/usr/bin/env bash
# Tests and times heddle on this machine's GPU, of compute capability 8.0 or newer. Needs CUDA 12.5 with nvcc and a C++ compiler, and no
# network.
#
#   scripts/gpu-check.sh OUT                  both phases
#   scripts/gpu-check.sh OUT correctness      tests, then compute-sanitizer
#   scripts/gpu-check.sh OUT bench            benchmarks, compared with the forecast and with PyTorch where python3 has it
#   scripts/gpu-check.sh OUT --simulator      a rehearsal: the kernels' PTX on a simulated device (needs nvcc)
#   scripts/gpu-check.sh OUT --emulator       a rehearsal: the kernels as C++ on an emulated device
#   scripts/gpu-check.sh OUT --no-gpu         without a device: builds, static checks, and the failures without a GPU
#   scripts/gpu-check.sh --pack FILE.tar.xz   packs Node, the npm packages that the check needs and the small fixtures into an archive
#   scripts/gpu-check.sh OUT --unpack FILE    unpacks such an archive first, to where node_modules or ../shared/fixtures are missing
#   ... --only NAME,NAME                      runs only these steps
#   ... --seconds N                           limits the time of each phase (default 470 on a GPU, which is less than eight minutes)
#   ... --plain                               runs what needs neither Node nor CMake, as is done where one of them is missing
#
# The card is CUDA's first one, in the order of the PCI bus. CUDA_VISIBLE_DEVICES selects another one, or a MIG instance. HEDDLE_SIMULATOR=sm_90
# makes --simulator rehearse compute capability 9.0.
#
# With Node 20, CMake, make or ninja, and the checkout's node_modules, all steps run. Without them, nvcc alone builds the tests of fragments and
# kernels and a small benchmark (plain.sh). ../shared/fixtures is used if present.
#
# OUT receives summary.txt and summary.json (rewritten after every step), a log of each phase, and DATE-CARD.jsonl for bench/results. A step that
# fails or hangs does not stop the others, even if its process waits in the driver and cannot be killed. Benchmarks ignore the choices that
# `heddle autotune` saved. Exit code: 0 if every step passed, 1 if one failed, 2 for wrong arguments or a machine that cannot run the check, 3 if
# none failed but steps were skipped, 4 if none failed but the time did not suffice for all. Skipped comparisons, such as PyTorch, leave it at 0.
# HEDDLE_COMMIT names the commit in a copy without git.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=gpu-check/preflight.sh
. "$root/scripts/gpu-check/preflight.sh"

arguments=()
mode=gpu out='' plain='' packing=''
while [ $# -gt 0 ]; do
  case $1 in
    --unpack)
      pack=${2:?--unpack: expected a file}
      shift
      folder=$(mktemp -d) || exit 1
      # One archive, or a pattern that matches its parts in order: --unpack 'pack.tar.xz.*'
      # shellcheck disable=SC2086
      cat $pack | tar -xJf - -C "$folder" || refuse "$pack cannot be unpacked"
      [ -d "$root/node_modules" ] || mv "$folder/node_modules" "$root/node_modules"
      [ -d "$root/../shared/fixtures" ] || { mkdir -p "$root/../shared" && mv "$folder/fixtures" "$root/../shared/fixtures"; }
      command -v node >/dev/null || export PATH="$folder/bin:$PATH"
      ;;
    --plain) plain='--plain was given' ;;
    --emulator | --simulator | --no-gpu)
      mode=${1#--}
      arguments+=("$1")
      ;;
    --only | --seconds | --pack)
      [ "$1" != --pack ] || packing=1
      arguments+=("$1" "${2:?$1: expected a value}")
      shift
      ;;
    *)
      [ -n "$out" ] || [[ $1 == -* ]] || out=$1
      arguments+=("$1")
      ;;
  esac
  shift
done

# CUDA then numbers the cards as nvidia-smi does.
export CUDA_DEVICE_ORDER=PCI_BUS_ID
find_toolkit
if [ -z "$plain" ]; then
  if ! command -v node >/dev/null; then
    plain='node is not on PATH'
  elif [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    plain="node $(node -p process.versions.node) is older than 20"
  elif [ ! -d "$root/node_modules" ]; then
    plain='node_modules is missing'
  else
    # The build could install missing tools from npm, but the machine may have no network.
    installed() { compgen -G "$root/.cmake/tools/node_modules/$1-runtime-*/bin/$1" >/dev/null; }
    found=$(cmake --version 2>/dev/null | sed -n 's/^cmake version //p')
    if installed cmake; then
      :
    elif [ -z "$found" ]; then
      plain='cmake is not on PATH'
    elif [ "$(printf '%s\n' 3.22 "$found" | sort -V | head -n 1)" != 3.22 ]; then
      plain="cmake $found is older than 3.22"
    fi
    [ -n "$plain" ] || installed ninja || command -v ninja >/dev/null || command -v make >/dev/null ||
      plain='neither ninja nor make is on PATH'
  fi
fi
[ -z "$packing" ] || [[ $plain != node* ]] || refuse "--pack needs Node and node_modules: $plain"
if [ -z "$packing" ] && [ -n "$out" ]; then
  check_folders "$out" "$root"
  if [ "$mode" = gpu ]; then
    check_card
    check_nvcc
    check_compiler
  fi
fi
[ -n "$plain" ] && [ -z "$packing" ] || exec node "$root/scripts/gpu-check/main.mjs" ${arguments[@]+"${arguments[@]}"}
echo "gpu-check: $plain, so only what needs neither Node nor CMake is run" >&2
. "$root/scripts/gpu-check/plain.sh"
