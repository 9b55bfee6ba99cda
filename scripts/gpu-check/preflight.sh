# Functions of scripts/gpu-check.sh that examine the machine. Each problem ends the check with one sentence and exit code 2, before
# anything is built. Sets card, capability, architecture, driver, cuda and cxx.

refuse() {
  echo "gpu-check: $*" >&2
  exit 2
}

# The oldest CUDA release that has the runtime's functions that native/cuda calls, such as cudaGetDriverEntryPointByVersion.
oldest_release=12.5

# The first CUDA release for a compute capability that compiles the kernels.
first_release() {
  case $1 in
    8.* | 9.0) echo "$oldest_release" ;;
    10.0 | 12.0) echo 12.8 ;;
    *) echo 12.9 ;;
  esac
}

# Adds CUDA's folder to PATH if nvcc is not on it.
find_toolkit() {
  local bin=${CUDA_HOME:-/usr/local/cuda}/bin
  command -v nvcc >/dev/null || [ ! -x "$bin/nvcc" ] || export PATH="$PATH:$bin"
}

# check_folders OUT BUILD: OUT can be written, and the disks of both have room.
check_folders() {
  local out=$1 build=$2 problem free
  problem=$(mkdir -p "$out" 2>&1) || refuse "$out cannot be created: ${problem##*: }"
  problem=$( (: >"$out/.writable") 2>&1) || refuse "$out cannot be written: ${problem##*: }"
  rm -f "$out/.writable"
  while read -r where needed; do
    free=$(df -Pk "$where" 2>/dev/null | awk 'NR == 2 { print $4 }')
    [[ ! $free =~ ^[0-9]+$ ]] || [ "$free" -ge $((needed * 1024)) ] ||
      refuse "$where has $((free / 1024)) MiB of free disk space, but $needed MiB are needed"
  done <<<"$build 2048
$out 100"
}

# Reads the first card that nvidia-smi lists. The kernels need compute capability 8.0.
check_card() {
  local answer status=0
  command -v nvidia-smi >/dev/null ||
    refuse "nvidia-smi was not found: this machine has no NVIDIA driver. --emulator and --simulator rehearse the check without a card"
  answer=$(timeout 60 nvidia-smi --query-gpu=compute_cap,driver_version,name --format=csv,noheader 2>&1) || status=$?
  [ "$status" -ne 124 ] || refuse "nvidia-smi did not answer within 60 seconds: the driver hangs"
  [ "$status" -eq 0 ] || refuse "nvidia-smi failed: $(head -n 1 <<<"${answer:-exit status $status}")"
  IFS=, read -r capability driver card <<<"$answer"
  capability=${capability// /} driver=${driver// /} card=${card# }
  [ -n "$capability" ] || refuse "nvidia-smi lists no card"
  [[ $capability =~ ^[0-9]+\.[0-9]$ ]] ||
    refuse "nvidia-smi does not know the card's compute capability: expected a number such as 9.0, got $capability"
  [ "${capability%.*}" -ge 8 ] || refuse "the kernels need compute capability 8.0 or newer, but the $card has $capability"
  architecture=${capability/./}
  # wgmma and TMA need the architecture's own code.
  [ "$architecture" != 90 ] || architecture=90a
}

# Reads nvcc's release, and checks that it and the driver fit the card.
check_nvcc() {
  local known newest
  command -v nvcc >/dev/null ||
    refuse "nvcc was not found: install CUDA $(first_release "$capability") or newer, which compute capability $capability needs"
  cuda=$(nvcc --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
  [ -n "$cuda" ] || refuse "nvcc --version failed: expected a line with the release"
  known=$(nvcc --list-gpu-arch 2>/dev/null)
  grep -qx "compute_${capability/./}" <<<"$known" || refuse "nvcc of CUDA $cuda has no code for compute capability $capability" \
    "($card): install CUDA $(first_release "$capability") or newer"
  [ "$(printf '%s\n' "$oldest_release" "$cuda" | sort -V | head -n 1)" = "$oldest_release" ] ||
    refuse "nvcc is of CUDA $cuda, but the kernels need CUDA $oldest_release or newer"
  # The driver's own CUDA release. Programs of the same major release run on it.
  newest=$(timeout 60 nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9][0-9.]*\).*/\1/p' | head -n 1)
  [ -z "$newest" ] || [ "${newest%%.*}" -ge "${cuda%%.*}" ] ||
    refuse "driver $driver supports CUDA $newest, but nvcc is of CUDA $cuda: install a newer driver, or CUDA ${newest%%.*}"
}

# Finds a C++ compiler, and compiles an empty program with it and nvcc. nvcc rejects compilers that are newer than it knows.
check_compiler() {
  local name said folder
  for name in "${CXX:-}" g++ clang++ c++; do
    [ -z "$name" ] || ! command -v "$name" >/dev/null || { cxx=$name; break; }
  done
  [ -n "${cxx:-}" ] || refuse "no C++ compiler was found: nvcc needs one, for example g++ (Debian: apt-get install g++)"
  folder=$(mktemp -d) || refuse "no temporary folder can be created: TMPDIR is ${TMPDIR:-/tmp}"
  echo 'int main() { return 0; }' >"$folder/empty.cu"
  said=$(nvcc -ccbin "$cxx" -std=c++17 "-arch=sm_$architecture" -o "$folder/empty" "$folder/empty.cu" 2>&1)
  local status=$?
  rm -rf "$folder"
  [ "$status" -eq 0 ] ||
    refuse "nvcc of CUDA $cuda cannot compile with $cxx: $(grep -im 1 error <<<"$said" || head -n 1 <<<"$said")"
}
