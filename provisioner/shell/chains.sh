# shellcheck shell=sh
# refuses FAMILY TABLE CHAIN: whether the chain of nftables drops or rejects, or leads to one that does. Chains that the
# cluster itself makes do not count.

led_to() {
  IFS=$(printf ' \t\n,{}')
  set -f
  last=
  for word in $rules; do
    case $last in jump | goto) echo "$word" ;; esac
    last=$word
  done
}
refuses() {
  todo=$3
  seen=' '
  while [ -n "$todo" ]; do
    next=
    for n in $todo; do
      case $seen$n in
        *" $n "* | *' KUBE-'* | *' FLANNEL-'*) continue ;;
      esac
      seen="$seen$n "
      rules=$(nft list chain "$1" "$2" "$n" 2>/dev/null)
      # A rule for one address alone (fail2ban's) is no firewall.
      ! printf '%s\n' "$rules" | grep -vE '^[[:space:]]*ip6? saddr [0-9a-f.:]+ ' |
        grep -qE 'policy drop|[[:space:]](drop|reject)|xt target "?REJECT' || return 0
      next="$next $(led_to)"
    done
    todo=${next# }
  done
  return 1
}
