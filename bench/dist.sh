#!/usr/bin/env bash
# Checks the program in FOLDER and packs agg-VERSION-ARCH-linux.tar.gz of it: bench/dist.sh FOLDER
set -euo pipefail
cd "$1"
source=$OLDPWD
version=$(./agg --version)
version=${version#agg }
[[ $version =~ ^[0-9]+(\.[0-9]+)+$ ]] || { echo "dist: agg --version says '$version'" >&2; exit 1; }
./agg -c "$source/conf/agg.conf" --dry-run 2>dry-run.log || { cat dry-run.log >&2; echo "dist: conf/agg.conf does not read" >&2; exit 1; }
rm dry-run.log
# What it needs of the system it runs on; no Swift in it.
needs=$(ldd agg | awk '{print $1}' | sort)
if grep -i -e swift -e foundation -e dispatch <<<"$needs"; then echo "dist: the Swift library is not in it" >&2; exit 1; fi
if readelf -S agg | grep -q '\.symtab'; then echo "dist: not stripped" >&2; exit 1; fi
name=agg-$version-$(uname -m)-linux
mkdir -p "$name/conf"
cp agg "$name/"
cp "$source/conf/agg.conf" "$source/conf/agg.service" "$source/conf/agg.socket" "$name/conf/"
cp "$source/LICENSE" "$name/"
tar --sort=name --owner=0 --group=0 --numeric-owner -czf "$name.tar.gz" "$name"
rm -r "$name"
echo "agg $version: $(stat -c %s agg) bytes, needs" $needs
echo "$1/$name.tar.gz: $(stat -c %s "$name.tar.gz") bytes"
