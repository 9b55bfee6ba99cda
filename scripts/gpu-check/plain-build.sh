#!/usr/bin/env bash
# Builds the fragment and kernel tests with nvcc alone: the core, the CUDA kernels and the ops' references, without the binding and the
# kernels for CPUs. CMakeLists.txt has the flags of the real build.
#
#   plain-build.sh FOLDER ARCHITECTURE COMPILER [--simulator]
#
# FOLDER receives the programs fragments, kernels and bench. A build that was interrupted goes on where it stopped, unless the sources or the
# compiler have changed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
folder=$1 architecture=$2 cxx=$3 simulated=${4:-}
programs=(test/emulator/fragments.cu test/emulator/kernels.cc test/emulator/bench.cc)

code=sm_$architecture
# The simulator runs the PTX, and takes register counts from the machine code.
[ -z "$simulated" ] || code="[compute_$architecture,sm_$architecture]"
flags=(-ccbin "$cxx" -std=c++17 -Inative)
device=("${flags[@]}" -O3 -gencode "arch=compute_$architecture,code=$code")
[ -z "$simulated" ] || device+=(--compress-mode=none) # the simulator reads the PTX
host=("${flags[@]}" -O2 -Xcompiler -fno-math-errno,-fno-trapping-math,-ffp-contract=off)

mapfile -t sources < <(find native/core native/runtime native/ops native/distributed native/cuda -name '*.cc' -o -name '*.cu' |
  grep -v '/platform/\(darwin\|windows\)/' | sort)
[ ${#sources[@]} -gt 0 ] || { echo "plain-build.sh: expected sources below native, found none" >&2; exit 1; }
sources+=("${programs[@]}")
stamp=$({
  find native test/emulator scripts/gpu-check/plain-build.sh -type f | sort | xargs cat
  nvcc --version
  echo "$@"
} | cksum)
if [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ]; then
  rm -rf "$folder"
  mkdir -p "$folder" || exit 1
  echo "$stamp" >"$folder/stamp" || exit 1
fi
[ ! -e "$folder/complete" ] || exit 0

object() { echo "$folder/${1//\//_}.o"; }
compile() {
  local options=("${host[@]}") into
  into=$(object "$1")
  [ ! -e "$into" ] || return 0
  [[ $1 != *.cu ]] || options=("${device[@]}")
  nvcc "${options[@]}" -c -o "$into.part" "$1" && mv "$into.part" "$into"
}

# Compiles the largest sources first, because they take longest.
mapfile -t sources < <(ls -S "${sources[@]}")
jobs=${HEDDLE_BUILD_JOBS:-$(nproc)}
failed=0 running=0
for source in "${sources[@]}"; do
  [ "$running" -lt "$jobs" ] || { wait -n || failed=1; running=$((running - 1)); }
  [ "$failed" = 0 ] || break
  compile "$source" &
  running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
  wait -n || failed=1
  running=$((running - 1))
done
[ "$failed" = 0 ] || exit 1

runtime=()
if [ -n "$simulated" ]; then
  # nvcc on PATH may be a script elsewhere, so nvcc itself says where the toolkit is.
  include=$(nvcc -dryrun -E -x cu /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p')/include
  mapfile -t simulator < <(find native/simulator -name '*.cc' | sort)
  printf '%s\n' "${simulator[@]}" | xargs -P "$jobs" -I {} bash -c '"$1" -std=c++17 -O2 -fPIC -fvisibility=hidden -ffp-contract=off \
    -march=native -Inative -isystem "$2" -c -o "$3/simulator_${4//\//_}.o" "$4"' bash "$cxx" "$include" "$folder" {} || exit 1
  "$cxx" -shared -Wl,-soname,libcudart.so.13 -o "$folder/libcudart.so.13" "$folder"/simulator_*.o -pthread || exit 1
  runtime=(-cudart none -L"$folder" -l:libcudart.so.13 -Xlinker "-rpath=$folder")
fi
core=()
for source in "${sources[@]}"; do [[ " ${programs[*]} " == *" $source "* ]] || core+=("$(object "$source")"); done
for source in "${programs[@]}"; do
  name=$(basename "${source%.*}")
  nvcc "${flags[@]:0:2}" -o "$folder/$name" "$(object "$source")" "${core[@]}" ${runtime[@]+"${runtime[@]}"} \
    -lpthread -ldl &
done
for source in "${programs[@]}"; do wait -n || failed=1; done
[ "$failed" = 0 ] || exit 1
: >"$folder/complete"
