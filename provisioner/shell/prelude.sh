# shellcheck shell=sh
# Sourced before every changing fragment. $W is the run's private folder, $P this fragment's part of it.
umask 022
LC_ALL=C
export LC_ALL
STAMPS=/var/lib/provision/stamps

# put SOURCE DEST MODE OWNER GROUP: the mode is there before the content, the content before the name.
put() {
  put_tmp="$2.provision.$$"
  rm -f -- "$put_tmp"
  (umask 077 && : >"$put_tmp")
  chown -- "$4:$5" "$put_tmp"
  chmod -- "$3" "$put_tmp"
  cat -- "$1" >"$put_tmp"
  mv -fT -- "$put_tmp" "$2"
}

# receive SIZE SHA256 FILE: the next blob of the stream, checked.
receive() {
  rm -f -- "$3"
  # dd, because head may read ahead and eat the start of the next blob.
  dd bs=1M count="$1" iflag=fullblock,count_bytes status=none <&3 >"$3"
  if ! printf '%s  %s\n' "$2" "$3" | sha256sum --status -c; then
    rm -f -- "$3"
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
