# shellcheck shell=bash
# Sends, as the lines of stdin say: KIND ID ADDRESS PORT SIZE. $1 names the round, $2 is the program for raw packets.
LC_ALL=C
connect() {
  local said
  if said=$({ : 9<>"/dev/tcp/$2/$3"; } 2>&1); then
    echo "tcp $1 open"
  else
    echo "tcp $1 ${said##*: }"
  fi
}
# Of the id $1 and of $2 bytes, with the line's end.
datagram() {
  local text
  printf -v text 'provision %s %s ' "$round" "$1"
  printf '%-*s\n' "$(($2 - 1))" "$text"
}
# By the descriptor $1: dd, because bash cuts what it prints into pieces.
large() { datagram "$2" "$3" | dd bs=65536 count=1 iflag=fullblock status=none >&"$1"; }

round=$1
raw=
again=()
while read -r kind id address port size; do
  case $kind in
    tcp) connect "$id" "$address" "$port" & ;;
    ipip) raw="$raw $id:$address" ;;
    udp)
      if [ "$size" -le 1024 ]; then
        datagram "$id" "$size" >"/dev/udp/$address/$port"
      elif exec {socket}<>"/dev/udp/$address/$port"; then
        large "$socket" "$id" "$size"
        again+=("$socket $id $size")
      fi
      ;;
  esac
done
# shellcheck disable=SC2086
[ -z "$raw" ] || [ -z "$2" ] || $2 "$round" $raw
wait
# A router's word that one is too large is for a socket that is still there: the next is refused, the one behind it goes
# in pieces.
[ "${#again[@]}" = 0 ] || sleep 0.1
for each in "${again[@]}"; do
  # shellcheck disable=SC2086
  large $each || large $each
done
