# shellcheck shell=sh
# Listens, says where, then sends what it is told, and tells what arrives: a conversation (remote.conversation).
# RUN names the round, TCP and UDP are ports, ADDRESS are those to listen on ("" for any), RAW is IPIP where that is wanted,
# LIMIT the seconds after which all ends, whatever becomes of the other side.

have() { command -v "$1" >/dev/null; }
for t in bash systemd-socket-activate ss timeout dd; do have "$t" || echo "lacks $t"; done

raw=
if [ -n "$RAW" ]; then
  if perl -MSocket -e 1 2>/dev/null; then
    raw="perl $W/raw.pl"
  else
    for t in python3 /usr/libexec/platform-python; do
      [ -n "$raw" ] || ! "$t" -c 'import socket' 2>/dev/null || raw="$t $W/raw.py"
    done
  fi
  [ -n "$raw" ] || echo "lacks perl"
fi

jobs=
# Each is a session, and so a group of processes, of its own, which is ended as a whole.
end() {
  for j in $jobs; do kill -- "-$j" 2>/dev/null; done
  wait
}
trap end EXIT
trap 'exit 1' HUP INT PIPE TERM

sockets() { ss -Hlntu >"$W/sockets" 2>/dev/null || :; }
taken() { grep -q "^$1 .*:$2 " "$W/sockets"; }
# Arguments for systemd-socket-activate: those ports of $2... on which nobody listens yet.
free() {
  protocol=$1
  shift
  wanted=
  for p in "$@"; do
    if taken "$protocol" "$p"; then
      echo "busy $protocol $p"
    else
      [ -n "$ADDRESS" ] || wanted="$wanted -l $p"
      for a in $ADDRESS; do
        case $a in *:*) a="[$a]" ;; esac
        wanted="$wanted -l $a:$p"
      done
      asked="$asked $protocol:$p"
    fi
  done
}

asked=
sockets
if have systemd-socket-activate && have timeout; then
  # shellcheck disable=SC2086
  free tcp $TCP
  if [ -n "$wanted" ]; then
    # The kernel takes connections without anybody's help; the program only keeps the sockets.
    # shellcheck disable=SC2086
    setsid timeout -k 1 "$LIMIT" systemd-socket-activate $wanted sleep "$LIMIT" >/dev/null 2>&1 </dev/null 3<&- &
    jobs="$jobs $!"
  fi
  # shellcheck disable=SC2086
  free udp $UDP
  if [ -n "$wanted" ]; then
    # shellcheck disable=SC2086
    setsid timeout -k 1 "$LIMIT" systemd-socket-activate -d $wanted /bin/sh "$W/take" "$RUN" 2>/dev/null </dev/null 3<&- &
    jobs="$jobs $!"
  fi
fi
if [ -n "$raw" ]; then
  # shellcheck disable=SC2086
  setsid timeout -k 1 "$LIMIT" $raw "$RUN" 2>/dev/null </dev/null 3<&- &
  jobs="$jobs $!"
fi

n=0
while [ "$n" -lt 40 ]; do
  deaf=
  for a in $asked; do taken "${a%:*}" "${a#*:}" || deaf=1; done
  [ -z "$raw" ] || grep -q ':0004 ' /proc/net/raw || deaf=1
  [ -n "$deaf" ] || break
  sleep 0.05
  sockets
  n=$((n + 1))
done
for a in $asked; do
  if taken "${a%:*}" "${a#*:}"; then echo "listening ${a%:*} ${a#*:}"; fi
done
echo ready

# From here on it does what it is told: lines for `send` up to one of a dot; a line without one ends it.
while read -r line <&3; do
  [ "$line" != . ] || break
  echo "$line"
done >"$W/list"
if have bash && have timeout; then
  timeout -k 1 "$PATIENCE" bash "$W/send" "$RUN" "$raw" <"$W/list" 2>/dev/null || :
fi
echo sent
timeout "$LIMIT" cat <&3 >/dev/null || :
# What the kernel has learned of the ways meanwhile.
cut -d' ' -f3 "$W/list" | sort -u | while read -r a; do
  echo "route get $a"
  echo "neigh show to $a"
done >"$W/ways"
ip -o -force -batch "$W/ways" 2>/dev/null | sed 's/^/way /' || :
