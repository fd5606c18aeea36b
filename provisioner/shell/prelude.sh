# shellcheck shell=sh
# Sourced before every changing fragment. $W is the run's private folder, $P this fragment's part of it.
umask 022
LC_ALL=C
export LC_ALL
STAMPS=/var/lib/provision/stamps
SELINUX=/sys/fs/selinux/enforce

# What is half written when a fragment fails must not stay. Untraced, because the last line of the trace is the one that
# failed.
partial=
trap '{ set +x; } 2>/dev/null; [ -z "$partial" ] || rm -f -- "$partial"' EXIT

# make_room PATH TYPE: what is of another type than file, directory or link goes; a folder only when it is empty.
make_room() {
  if [ -d "$1" ] && [ ! -L "$1" ]; then
    [ "$2" = directory ] || rmdir -- "$1" || {
      echo "$1 is a folder with contents where a $2 is wanted: move it away" >&2
      return 1
    }
  elif [ "$2" = directory ]; then
    [ -d "$1" ] || rm -f -- "$1"
  elif [ "$2" = file ]; then
    { [ -f "$1" ] && [ ! -L "$1" ]; } || rm -f -- "$1"
  fi
}

# beside PATH: the name under which a new content of PATH is written. One name, so that a killed run leaves one file
# at most, and a hidden one, because programs that read whole folders skip those.
beside() {
  printf '%s/.%s.provision' "${1%/*}" "${1##*/}"
}

# install_as NEW PATH MODE OWNER GROUP: NEW, written while nobody else could read it, becomes PATH.
install_as() {
  chown -- "$4:$5" "$1"
  chmod -- "$3" "$1"
  if [ -d "$2" ]; then make_room "$2" file; fi
  mv -fT -- "$1" "$2"
  partial=
  relabel "$2"
}

# relabel [-R] PATH: gives what was made or moved the labels that SELinux's policy has for it, where there is SELinux. A new
# file has that of its folder, which is wrong for programs: systemd starts none that is labelled as data.
relabel() {
  [ ! -e "$SELINUX" ] || ! command -v restorecon >/dev/null || restorecon -F "$@"
}

# displace PATH: a file that is not ours is kept, the first time, before it is written over.
displace() {
  { [ -f "$1" ] || [ -L "$1" ]; } || return 0
  displaced=/var/lib/provision/displaced$1
  { [ ! -e "$displaced" ] && [ ! -L "$displaced" ]; } || return 0
  (umask 077 && mkdir -p -- "${displaced%/*}")
  cp -aT -- "$1" "$displaced.new"
  mv -fT -- "$displaced.new" "$displaced"
}

# move_aside PATH: a file that is in the way goes where `displace` keeps things, beside what is there already.
move_aside() {
  aside=/var/lib/provision/displaced$1
  (umask 077 && mkdir -p -- "${aside%/*}")
  aside_number=1
  while [ -e "$aside" ] || [ -L "$aside" ]; do
    aside_number=$((aside_number + 1))
    aside=/var/lib/provision/displaced$1.$aside_number
  done
  mv -T -- "$1" "$aside"
}

# put_back PATH: what `displace` kept is where it was.
put_back() {
  [ -f "/var/lib/provision/displaced$1" ] || [ -L "/var/lib/provision/displaced$1" ] || {
    echo "its original is not in /var/lib/provision/displaced any more: put it here by hand, or remove this file" >&2
    return 1
  }
  back=$(beside "$1")
  rm -f -- "$back"
  partial=$back
  cp -aT -- "/var/lib/provision/displaced$1" "$back"
  mv -fT -- "$back" "$1"
  partial=
  relabel "$1"
  rm -f -- "/var/lib/provision/displaced$1"
}

# put SOURCE PATH MODE OWNER GROUP
put() {
  put_new=$(beside "$2")
  rm -f -- "$put_new"
  partial=$put_new
  (umask 077 && cat -- "$1" >"$put_new")
  install_as "$put_new" "$2" "$3" "$4" "$5"
}

# put_stream SIZE SHA256 PATH MODE OWNER GROUP: the next blob of the stream becomes PATH.
put_stream() {
  put_new=$(beside "$3")
  receive "$1" "$2" "$put_new"
  install_as "$put_new" "$3" "$4" "$5" "$6"
}

# receive SIZE SHA256 FILE: the next blob of the stream, checked.
receive() {
  rm -f -- "$3"
  partial=$3
  (umask 077 && : >"$3")
  receive_left=$1
  while [ "$receive_left" -gt 0 ]; do
    receive_part=$((receive_left < 8388608 ? receive_left : 8388608))
    receive_left=$((receive_left - receive_part))
    # dd, because head may read ahead and eat the start of the next blob. A sender that was cut off is not waited for:
    # sshd would miss it after hours, and this holds the work lock. Who knows that it is gone ends this (remote/lock.py).
    timeout 45 dd bs=1M count="$receive_part" iflag=fullblock,count_bytes status=none <&3 >>"$3" &
    { echo "$!" >/run/provision/receiving; } 2>/dev/null || :
    wait "$!" || false "$3: not written"
  done
  if [ "$(sha256sum <"$3")" != "$2  -" ]; then
    echo "what arrived for $3 is damaged: its SHA-256 is not $2" >&2
    return 1
  fi
}

# stamp_of PATH: what changes whenever the file is written, replaced or touched.
stamp_of() { stat -c '%i %s %Y %.9Z' -- "$1"; }

# stamp PATH SHA256: remembers what a large file holds, so that later reads need only stat.
stamp() {
  mkdir -p "$STAMPS"
  stamp_name=$(printf '%s' "$1" | sha256sum | cut -c1-32)
  printf '%s\n%s\n%s\n' "$1" "$2" "$(stamp_of "$1")" >"$STAMPS/$stamp_name.tmp"
  mv -f "$STAMPS/$stamp_name.tmp" "$STAMPS/$stamp_name"
}
