#!/usr/bin/env bash
# bash link.sh STORE: keep datasets/ and result/ in STORE, with links to them here (make link STORE=/data/fecnet).
# It touches nothing but links it made itself. Those are listed in .links, a line "NAME TARGET" each: a link whose
# target is another one now, a folder or a file of that name is left as it is, and nothing is linked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
NAMES="datasets result"
RECORD=.links

fail() {
  echo "error: $1" >&2
  exit 2
}

[ -n "${1:-}" ] || fail "no place named; usage: make link STORE=/data/fecnet"
[ ! -e "$1" ] || [ -d "$1" ] || fail "$1: not a folder"
case $1 in /*) store=$1 ;; *) store=$PWD/$1 ;; esac
[ ! "$store" -ef . ] || fail "$1: the project itself; name a folder outside it"

is_ours() { [ -f $RECORD ] && grep -qxF "$1 $(readlink "$1")" $RECORD; }

for name in $NAMES; do # all are looked at before any is touched
  if [ -L $name ]; then
    is_ours $name || fail "$name: links to $(readlink $name), not by make link; move it away first"
  elif [ -e $name ]; then
    fail "$name: a $([ -d $name ] && echo folder || echo file) is in the way; move it to $store/$name first"
  fi
done

for name in $NAMES; do
  target=$store/$name
  mkdir -p "$target" 2>/dev/null || fail "$target: cannot be made"
  before=$(readlink $name || true)
  if [ "$before" = "$target" ]; then
    echo "$name: links to $target already"
    continue
  fi
  { grep -v "^$name " $RECORD 2>/dev/null || true; echo "$name $target"; } >$RECORD.new
  mv $RECORD.new $RECORD
  ln -sfn "$target" $name
  echo "$name: links to $target${before:+, before to $before}"
done
