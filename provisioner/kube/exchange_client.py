"""The client in each pod that exchanges requests: a script for the busybox of agnhost's image.

Both agnhosts, that of Debian's busybox and the publisher's of Alpine's, have in it `nc`, `mkfifo` and a `read` that
knows fractions of seconds. A request costs a millisecond of CPU there; `agnhost connect` takes twenty.
"""

from __future__ import annotations

INTERVAL = 0.1
"""Seconds from one request of a pair to the next one, however long they take."""
PATIENCE = 1
"""Seconds in which an answer has to come."""
LIMIT = 7200
"""Seconds after which a client asks no more, unless the tool has looked meanwhile: one that was killed takes nothing
away, and /run is memory. The next look lets it go on, however late."""
UNTIL = ".until"
"""The file, beside what clients write, that says how long they go on, in seconds since the node's boot."""

CLIENT = f"""\
# shellcheck disable=SC3045 # that of busybox knows times
# In a folder of its own: FOLDER, then NODE ADDRESS PORT of each server.
folder=$1
shift
printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' >question
[ -p rest ] || mkfifo rest
exec 4<>rest # where nothing is ever written: to wait without a process
read -r now _ </proc/uptime
end=$((${{now%.*}} + {LIMIT}))
goes_on() {{ [ "${{now%.*}}" -lt "$end" ] || {{ read -r end <"$folder/{UNTIL}" && [ "${{now%.*}}" -lt "$end" ]; }}; }}
# PIPE ADDRESS PORT. What is read of the pipe ends when nc does, so who is refused does not wait.
request() {{
  read -r began _ </proc/uptime
  nc "$2" "$3" <question >"$1" 2>/dev/null &
  well=0
  if read -t {PATIENCE} -r said <"$1"; then
    case $said in 'HTTP/1.'?' 200 '*) well=1 ;; esac
  fi
  read -r ended _ </proc/uptime
  echo "$began $ended $well" >&3
  kill $! 2>/dev/null
  wait $!
}}
# NODE ADDRESS PORT. One request does not wait for another; of those that are under way each has a pipe of its own.
ask() {{
  exec 3>>"$folder/$1"
  slot=0
  while :; do
    while ! goes_on; do
      read -t 1 -r _ <&4
      read -r now _ </proc/uptime
    done
    [ -p "$1.$slot" ] || mkfifo "$1.$slot"
    # No child of this shell: busybox begins a time-out anew when a child ends.
    (request "$1.$slot" "$2" "$3" &)
    slot=$(((slot + 1) % 32))
    read -t {INTERVAL} -r _ <&4
    read -r now _ </proc/uptime
  done
}}
while [ $# -ge 3 ]; do
  ask "$1" "$2" "$3" 2>/dev/null &
  shift 3
done
wait
while :; do sleep 3600; done
"""
