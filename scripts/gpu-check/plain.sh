# The check without Node or CMake. scripts/gpu-check.sh sources it after the examination of the machine, with `arguments` and `mode`.
# Steps, statuses, files and exit codes are those of main.mjs and runner.mjs, with fewer steps.

phases=() limit=470 only=''
set -- ${arguments[@]+"${arguments[@]}"}
while [ $# -gt 0 ]; do
  case $1 in
    --only) only=$2 && shift ;;
    --seconds) limit=$2 && shift ;;
    --simulator) ;;
    -*) refuse "$1 needs Node and CMake: $plain" ;;
    correctness | bench) phases+=("$1") ;;
    "$out") ;;
    *) refuse "expected the phases correctness and bench, got $1" ;;
  esac
  shift
done
[ -n "$out" ] || refuse "expected one output folder"
[[ $limit =~ ^[1-9][0-9]*$ ]] || refuse "--seconds: expected a positive whole number, got $limit"
[ ${#phases[@]} -gt 0 ] || phases=(correctness bench)
names=(build fragments kernels memcheck racecheck bench)
listed=${names[*]}
for name in ${only//,/ }; do
  [[ " ${names[*]} " == *" $name "* ]] || refuse "--only: expected one of ${listed// /, }, got $name"
done
out=$(cd "$out" && pwd) || exit 2

# The device that is checked. A rehearsal takes its compute capability from HEDDLE_SIMULATOR, or else from the machine's card, if there is one.
quick=()
if [ "$mode" = simulator ]; then
  command -v nvcc >/dev/null || refuse "--simulator needs nvcc, which was not found"
  cuda=$(nvcc --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
  architecture=80 card='simulated device' capability=8.0 driver=none cxx=${CXX:-g++}
  simulated=${HEDDLE_SIMULATOR:-}
  [ -n "$simulated" ] || [ "$(read_card 2>/dev/null && echo "$capability")" != 9.0 ] || simulated=sm_90
  if [ "$simulated" = sm_90 ]; then
    architecture=90a capability=9.0
    export HEDDLE_SIMULATOR=sm_90
  fi
  quick=(--quick)
fi
built=$root/.cmake/gpu-check-$mode-$architecture
commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null) || commit=${HEDDLE_COMMIT:-unknown}
if git -C "$root" rev-parse 2>/dev/null && [ -n "$(git -C "$root" status --porcelain --untracked-files=no)" ]; then commit+=-dirty; fi

# Results: the machine, then a line for each step, "phase|status|name|seconds|why". The phases of an earlier call on the same machine and commit
# are kept, so that the table has both.
steps=$out/plain-steps.txt
identity="machine|$mode|$card|$driver|$cuda|$commit"
[ "$(head -n 1 "$steps" 2>/dev/null)" = "$identity" ] || rm -f "$steps" "$out/plain-bench.json"
kept=$(grep -v "^machine|$(printf '\\|^%s|' "${phases[@]}")" "$steps" 2>/dev/null)
{
  echo "$identity"
  [ -z "$kept" ] || echo "$kept"
} >"$steps.new" && mv "$steps.new" "$steps"
[[ " ${phases[*]} " != *" bench "* ]] || rm -f "$out/plain-bench.json"

status_of() { sed -n "s/^$phase|\([a-z ]*\)|$1|.*/\1/p" "$steps" | tail -n 1; }

# record STATUS NAME SECONDS WHY
record() {
  local why=${4//|//}
  echo "$phase|$1|$2|$3|$why" >>"$steps"
  printf '%-8s %s%s%s\n' "$1" "$2" "${3:+ ($3 s)}" "${why:+: $why}"
}

# Decides about a run of compute-sanitizer by its exit status and its report, as judgeSanitizer of tools.mjs does.
judge_sanitizer() {
  local code=$1 text=$2 count finding
  count=$(sed -n 's/.*\(ERROR\|RACECHECK\) SUMMARY: \([0-9]*\).*/\2/p' <<<"$text" | tail -n 1)
  finding=$(grep -Em 1 '^========= (Invalid |Misaligned |Uninitialized |Barrier error|(Error|Warning): (Race|Potential)|Program hit )' <<<"$text")
  if [ "$code" = 9 ] || [ "${count:-0}" != 0 ]; then
    echo "failed|${count:-some} findings"
  elif [ -n "$finding" ]; then
    echo "failed|${finding#========= }"
  elif [ "$code" = 124 ] || [ "$code" = 137 ]; then
    echo 'no time|no finding until the time ended'
  elif [ -z "$count" ]; then
    echo "skipped|compute-sanitizer does not work here (exit status $code)"
  elif [ "$code" = 0 ]; then
    echo 'passed|'
  else
    echo "failed|the program ended with exit status $code"
  fi
}

# step NAME NEEDED LIMIT LEAST COMMAND...: NEEDED is a step that must pass first, or empty.
step() {
  local name=$1 needed=$2 most=$3 least=$4 left begin start code took why status cut=''
  shift 4
  [ -z "$only" ] || [[ ,$only, == *,$name,* ]] || return 0
  if [ -n "$needed" ] && [[ $(status_of "$needed") =~ ^(failed|skipped|no time)$ ]]; then
    status=skipped
    [ "$(status_of "$needed")" != 'no time' ] || status='no time'
    record "$status" "$name" '' "$needed did not pass"
    return
  fi
  left=$((deadline - SECONDS - 3))
  if [ "$left" -lt "$least" ]; then
    record 'no time' "$name" '' "needs $least s, $((left > 0 ? left : 0)) s of the phase are left"
    return
  fi
  [ "$left" -ge "$most" ] || { most=$left cut=1; }
  printf '\n=== %s: %s\n' "$name" "$*" >>"$log"
  begin=$(wc -c <"$log")
  start=$SECONDS
  # A process that waits in the driver does not end. The outer timeout does not wait for it, as the inner one would.
  timeout -s KILL $((most + 5)) timeout -k 2 "$most" "$@" >>"$log" 2>&1 </dev/null
  code=$?
  took=$((SECONDS - start))
  if [ "$code" = 137 ] && [ "$took" -ge $((most + 4)) ]; then
    status=failed why='does not end after SIGKILL: it may wait in the driver'
  elif [[ $name == *check ]]; then
    IFS='|' read -r status why <<<"$(judge_sanitizer "$code" "$(tail -c +$((begin + 1)) "$log")")"
  elif [ "$code" = 0 ]; then
    status=passed why=''
  elif [ "$code" = 124 ] || [ "$code" = 137 ]; then
    status=failed why="still running after $most s"
    [ -z "$cut" ] || status='no time'
  else
    status=failed why="ended with exit status $code; $(tail -c +$((begin + 1)) "$log" | grep -m 1 -i 'FAILED\|error')"
  fi
  record "$status" "$name" "$took" "$why"
}

sanitizer() {
  local tool
  tool=$(command -v compute-sanitizer || ls "${CUDA_HOME:-/usr/local/cuda}"/{bin,compute-sanitizer}/compute-sanitizer 2>/dev/null | head -n 1)
  if [ "$mode" = simulator ] || [ -z "$tool" ]; then
    { [ -n "$only" ] && [[ ,$only, != *,$1,* ]]; } ||
      record skipped "$1" '' "$([ "$mode" = simulator ] && echo 'simulated device' || echo 'compute-sanitizer is not installed')"
    return
  fi
  step "$1" kernels 220 20 "$tool" --tool "$1" --error-exitcode 9 --print-limit 20 "$built/kernels"
}

# The cases of heddle bench that the small benchmark measured, as lines "name|unit|value".
cases() { sed -n 's/^{"name":"\([^"]*\)","unit":"\([^"]*\)","value":\([^}]*\)}$/\1|\2|\3/p' "$out/plain-bench.json" 2>/dev/null; }

# The table: at most 50 lines of at most 100 columns.
table() {
  local phase
  echo "$card, compute capability $capability, driver $driver, CUDA $cuda, commit $commit" | cut -c 1-100
  for phase in correctness bench; do
    grep -q "^$phase|" "$steps" || continue
    awk -F '|' -v phase="$phase" '$1 == phase { count[$2]++ } END {
      printf "%s: %d passed, %d failed, %d skipped, %d no time\n", phase, count["passed"], count["failed"], count["skipped"], count["no time"] }' "$steps"
    awk -F '|' -v phase="$phase" '$1 == phase {
      line = sprintf("  %-8s %s%s%s", $2, $3, $4 == "" ? "" : " " $4 " s", $5 == "" ? "" : ": " $5); print substr(line, 1, 100) }' "$steps"
  done
  [ -n "$(cases)" ] || return 0
  printf '\n%-85s %14s\n' '' measured
  cases | awk -F '|' '{ value = $3; unit = $2; if (value >= 1000 && unit ~ /^G/) { value /= 1000; sub(/^G/, "T", unit) }
    printf "%-85s %14s\n", substr($1, 1, 85), sprintf("%.4g %s", value, unit) }'
}

for phase in "${phases[@]}"; do
  log=$out/$phase.log
  : >"$log"
  deadline=$((SECONDS + limit))
  build=("$root/scripts/gpu-check/plain-build.sh" "$built" "$architecture" "$cxx")
  [ "$mode" != simulator ] || build+=(--simulator)
  # The limit is more than a phase has, because a slow build has not failed, and the next call continues it.
  step build '' 1500 10 "${build[@]}"
  if [ "$phase" = correctness ]; then
    step fragments build 60 2 "$built/fragments"
    # Cases with this prefix are enough to try the step on the simulator.
    if [ "$mode" = simulator ]; then step kernels build 300 2 "$built/kernels" rows; else step kernels build 100 5 "$built/kernels"; fi
    sanitizer memcheck
    sanitizer racecheck
  else
    step bench build 200 15 bash -c '"$0" "${@:2}" >"$1"' "$built/bench" "$out/plain-bench.json" ${quick[@]+"${quick[@]}"}
  fi
done

table >"$out/summary.txt"
json() { printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g' | tr -d '\000-\037'; }
machine="{\"gpu\":\"$(json "$card")\",\"computeCapability\":\"$capability\",\"driver\":\"$(json "$driver")\",\"cuda\":\"$cuda\",\"commit\":\"$(json "$commit")\""
machine+=",\"date\":\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"}"
{
  echo "{\"mode\":\"$mode\",\"plain\":true,\"machine\":$machine,\"steps\":["
  separator=''
  while IFS='|' read -r phase status name seconds why; do
    [ "$phase" != machine ] || continue
    echo "$separator{\"phase\":\"$phase\",\"status\":\"$status\",\"name\":\"$name\",\"seconds\":${seconds:-null},\"why\":\"$(json "$why")\"}"
    separator=,
  done <"$steps"
  echo ']}'
} >"$out/summary.json"
if [ -n "$(cases)" ] && [[ " ${phases[*]} " == *" bench "* ]]; then
  slug=$(tr '[:upper:]' '[:lower:]' <<<"$card" | sed 's/nvidia\|geforce//g; s/[^a-z0-9]\+/-/g; s/^-//; s/-$//')
  {
    echo "{\"machine\":$machine}"
    grep '^{' "$out/plain-bench.json"
  } >"$out/$(date -u +%Y-%m-%d)-$slug.jsonl"
fi
printf '\n'
cat "$out/summary.txt"
statuses=$(for phase in "${phases[@]}"; do sed -n "s/^$phase|\([a-z ]*\)|.*/\1/p" "$steps"; done)
! grep -qx failed <<<"$statuses" || exit 1
! grep -qx 'no time' <<<"$statuses" || exit 4
[ "$mode" = simulator ] || ! grep -qx skipped <<<"$statuses" || exit 3
exit 0
