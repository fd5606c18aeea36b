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
datagram() {
  local text socket
  printf -v text 'provision %s %s ' "$round" "$1"
  printf -v text '%-*s' "$(($4 - 1))" "$text"
  if [ "$4" -le 1024 ]; then
    printf '%s\n' "$text" >"/dev/udp/$2/$3"
  else
    # A router's word that this is too large is for a socket that is still there. dd, for bash cuts what it prints.
    exec {socket}<>"/dev/udp/$2/$3" && dd bs=65536 count=1 iflag=fullblock status=none <<<"$text" >&"$socket"
    large=1
  fi
}
round=$1
large=
raw=
while read -r kind id address port size; do
  case $kind in
    tcp) connect "$id" "$address" "$port" & ;;
    udp) datagram "$id" "$address" "$port" "$size" ;;
    ipip) raw="$raw $id:$address" ;;
  esac
done
# shellcheck disable=SC2086
[ -z "$raw" ] || [ -z "$2" ] || $2 "$round" $raw
wait
[ -z "$large" ] || sleep 0.1
