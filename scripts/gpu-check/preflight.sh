# Functions of scripts/gpu-check.sh that examine the machine. Each problem ends the check with one sentence and exit code 2, before
# anything is built. Sets card, cards, capability, architecture, driver, cuda and cxx.

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

# Runs nvidia-smi with these options, and prints its output. Its limit in seconds is smi_seconds.
smi_seconds=60
smi() {
  local file status
  # A process that waits in the driver may ignore SIGKILL. The outer timeout does not wait for it, and neither does a file, as a pipe would.
  file=$(mktemp 2>/dev/null) || { echo "no temporary file can be created: TMPDIR is ${TMPDIR:-/tmp}" && return 1; }
  timeout -s KILL $((smi_seconds + 2)) timeout -k 1 "$smi_seconds" nvidia-smi "$@" >"$file" 2>&1 </dev/null
  status=$?
  cat "$file"
  rm -f "$file"
  return $status
}

# smi_failed STATUS ANSWER: ends the check with the reason of a failed call of smi.
smi_failed() {
  [ "$1" -ne 124 ] && [ "$1" -ne 137 ] || refuse "nvidia-smi did not answer within $smi_seconds seconds: the driver hangs"
  refuse "nvidia-smi failed${CUDA_VISIBLE_DEVICES:+ for CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES}: $(head -n 1 <<<"${2:-exit status $1}")"
}

# Finds CUDA's first card. nvidia-smi ignores CUDA_VISIBLE_DEVICES, whose first entry is the index of a card, the beginning of its UUID, or the
# UUID of a MIG instance. Sets card_option to the option of nvidia-smi that selects the card, and mig_id to the instance's UUID.
find_card() {
  local first listed
  card_option=() mig_id=''
  [ -n "${CUDA_VISIBLE_DEVICES+set}" ] || return 0
  first=${CUDA_VISIBLE_DEVICES%%,*}
  first=${first// /}
  case $first in
    GPU-* | MIG-*)
      [[ $first != MIG-* ]] || mig_id=$first
      listed=$(smi -L) || smi_failed $? "$listed"
      first=$(awk -v id="UUID: $first" '/^GPU / { card = $2 + 0 } index($0, id) { print card; exit }' <<<"$listed")
      [ -n "$first" ] || refuse "CUDA_VISIBLE_DEVICES is $CUDA_VISIBLE_DEVICES, but nvidia-smi -L does not list its first entry"
      ;;
    '' | *[!0-9]*) refuse "CUDA_VISIBLE_DEVICES is '$CUDA_VISIBLE_DEVICES', which hides every card" ;;
  esac
  card_option=("--id=$first")
}

# Prints the profile of the MIG instance that CUDA uses, such as 1g.10gb: the one of mig_id, or the card's first one.
mig_profile() {
  local index=${card_option[*]-}
  smi -L | awk -v wanted="${index#--id=}" -v id="$mig_id" '/^GPU / { here = $2 + 0 == wanted + 0 }
    here && $1 == "MIG" && (id == "" || index($0, "UUID: " id)) { print $2; exit }'
}

# Reads CUDA's first card. Sets card to its name as CUDA has it.
read_card() {
  local answer mig profile
  command -v nvidia-smi >/dev/null ||
    refuse "nvidia-smi was not found: this machine has no NVIDIA driver. --emulator and --simulator rehearse the check without a card"
  find_card
  answer=$(smi ${card_option[@]+"${card_option[@]}"} --query-gpu=compute_cap,driver_version,mig.mode.current,name \
    --format=csv,noheader) || smi_failed $? "$answer"
  IFS=, read -r capability driver mig card <<<"$answer"
  capability=${capability// /} driver=${driver// /} card=${card# }
  cards=$(wc -l <<<"$answer")
  [ -n "$capability" ] || refuse "nvidia-smi lists no card"
  [[ $capability =~ ^[0-9]+\.[0-9]$ ]] ||
    refuse "nvidia-smi does not know the card's compute capability: expected a number such as 9.0, got $capability"
  if [[ $mig == *Enabled* ]]; then
    profile=$(mig_profile)
    [ -n "$profile" ] ||
      refuse "the $card is in MIG mode, but has no instance: create one (nvidia-smi mig -cgi), or set CUDA_VISIBLE_DEVICES to another card"
    card+=" MIG $profile"
  fi
}

# Checks that the kernels run on CUDA's first card. They need compute capability 8.0.
check_card() {
  local others=''
  read_card
  [ "$cards" -eq 1 ] || others=". CUDA_VISIBLE_DEVICES selects another of the $cards cards"
  [ "${capability%.*}" -ge 8 ] ||
    refuse "the kernels need compute capability 8.0 or newer, but the $card has $capability$others"
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
    refuse "nvcc is from CUDA $cuda, but the kernels need CUDA $oldest_release or newer"
  # The driver's own CUDA release. Programs of the same major release run on it.
  newest=$(smi | sed -n 's/.*CUDA Version: *\([0-9][0-9.]*\).*/\1/p' | head -n 1)
  [ -z "$newest" ] || [ "${newest%%.*}" -ge "${cuda%%.*}" ] ||
    refuse "driver $driver supports CUDA $newest, but nvcc is from CUDA $cuda: install a newer driver, or CUDA ${newest%%.*}"
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
  said=$(nvcc -ccbin "$cxx" -std=c++17 -gencode "arch=compute_$architecture,code=sm_$architecture" \
    -o "$folder/empty" "$folder/empty.cu" 2>&1)
  local status=$?
  rm -rf "$folder"
  [ "$status" -eq 0 ] ||
    refuse "nvcc of CUDA $cuda cannot compile with $cxx: $(grep -im 1 error <<<"$said" || head -n 1 <<<"$said")"
}
