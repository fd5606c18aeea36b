# shellcheck shell=sh
# What arrives at UDP sockets, the descriptors from 3 on: those of the round $1 are told. One read is one datagram.
fd=3
while [ "$fd" -lt $((3 + ${LISTEN_FDS:-1})) ]; do
  dd bs=65536 status=none <&"$fd" | while read -r word round id rest; do
    [ "$word $round" != "provision $1" ] || echo "got $id"
  done &
  fd=$((fd + 1))
done
wait
