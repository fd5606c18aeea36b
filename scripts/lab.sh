#!/bin/sh
# From a bare machine to a verified cluster on throw-away hosts of this machine; tells how long each phase took.
#
#   scripts/lab.sh [INVENTORY]
set -eu

# shellcheck disable=SC1007 # an empty CDPATH is meant
cd -- "$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)"
inventory=${1:-inventories/lab.yaml}
provision=.venv/bin/provision
PATH=$PWD/.venv/bin:$PATH
table=

now() { date +%s%3N; }

# row NAME MILLISECONDS
row() { table="$table$(printf '  %-28s %7d.%01d s' "$1" $(($2 / 1000)) $(($2 % 1000 / 100)))
"; }

# phase NAME COMMAND...
phase() {
  name=$1
  shift
  printf '\n== %s\n' "$name" >&2
  before=$(now)
  status=0
  "$@" || status=$?
  row "$name" $(($(now) - before))
  if [ "$status" != 0 ]; then
    printf '\n%s  failed: %s (exit status %s)\n' "$table" "$*" "$status" >&2
    exit "$status"
  fi
}

start=$(now)
phase 'set-up' scripts/setup.sh lab
phase 'bundle build' "$provision" bundle build
phase 'lab up' "$provision" lab up "$inventory"
phase 'apply' "$provision" apply "$inventory"
row 'all' $(($(now) - start))
cat <<END

$table
The cluster is verified. What now:
  $provision plan $inventory       says what apply would change: nothing
  $provision lab down $inventory   takes the hosts away, cluster and all
END
