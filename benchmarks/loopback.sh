#!/usr/bin/env bash
# Requests per second over loopback, with and without a guard before the same route: medians of interleaved rounds, as
# a ratio to the server without a guard. Nothing leaves this machine.
#
#   ./loopback.sh                            # none, authkit and the peers
#   ./loopback.sh none authkit gin-jwt       # some; "go run ./loopback -guard list" lists them
#   ROUNDS=7 SECONDS_EACH=5 ./loopback.sh    # longer
set -euo pipefail
cd "$(dirname "$0")"
export GOWORK=off

rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-3} connections=${CONNECTIONS:-32} threads=${THREADS:-2}
guards=("$@")
if [ ${#guards[@]} -eq 0 ]; then
	guards=(none authkit authkit-verifier floor golang-jwt cristalhq pascaldekloe-handler gin-jwt echo-jwt auth0 chi-jwtauth go-pkgz)
fi
if ! command -v wrk >/dev/null; then
	echo "wrk is missing; on Debian: apt-get install wrk" >&2
	exit 1
fi

dir=$(mktemp -d)
pids=()
cleanup() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	rm -rf "$dir"
}
trap cleanup EXIT
go build -o "$dir/server" ./loopback

# Every server runs the whole time: one that is not asked costs nothing.
for guard in "${guards[@]}"; do
	"$dir/server" -guard "$guard" >"$dir/$guard.addr" 2>"$dir/$guard.log" &
	pids+=($!)
done
for guard in "${guards[@]}"; do
	for _ in $(seq 100); do
		[ -s "$dir/$guard.addr" ] && break
		sleep 0.05
	done
	if ! [ -s "$dir/$guard.addr" ]; then
		echo "the server with guard $guard did not start: $(cat "$dir/$guard.log")" >&2
		exit 1
	fi
done

# load GUARD SECONDS prints requests per second.
load() {
	local url header out
	IFS=$'\t' read -r url header <"$dir/$1.addr"
	out=$(wrk -t"$threads" -c"$connections" -d"$2s" -H "$header" "$url")
	if grep -qE 'Non-2xx|Socket errors' <<<"$out"; then
		echo "$1 did not answer every request with 200:" >&2
		echo "$out" >&2
		exit 1
	fi
	awk '/^Requests\/sec:/ { print $2 }' <<<"$out"
}

for guard in "${guards[@]}"; do load "$guard" 1 >/dev/null; done # warm up
for ((round = 0; round < rounds; round++)); do
	echo "round $((round + 1)) of $rounds" >&2
	for ((i = 0; i < ${#guards[@]}; i++)); do
		guard=${guards[$(((i + round) % ${#guards[@]}))]}
		load "$guard" "$seconds" >>"$dir/$guard.rps"
	done
done

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
base=$(median "$dir/${guards[0]}.rps")
echo "wrk with $threads threads and $connections connections, $rounds interleaved rounds of $seconds s, $(nproc) CPUs shared by both sides"
echo
echo "| guard | requests/s | × ${guards[0]} |"
echo "| --- | --- | --- |"
for guard in "${guards[@]}"; do
	m=$(median "$dir/$guard.rps")
	awk -v g="$guard" -v m="$m" -v b="$base" 'BEGIN { printf "| %s | %.0f | %.2f |\n", g, m, m / b }'
done
