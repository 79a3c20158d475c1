#!/usr/bin/env bash
# Gets ngspice and its shared library where they are missing: by apt as root or with sudo, else unpacked from Debian
# packages into .tools/ngspice, which needs no rights and which netc looks into by itself.
#   scripts/get-ngspice.sh [--local]     --local: unpack into .tools/ngspice in any case
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly folder=.tools/ngspice
readonly packages=(ngspice libngspice0)
readonly remedy="netc needs ngspice to check a circuit: install the packages ngspice and libngspice0, or set NETC_NGSPICE_DIR"
log=$(mktemp)
scratch=
trap 'rm -rf "$log" "$scratch"' EXIT

say() { echo "get-ngspice: $*"; }

system_has_it() {
    local libraries
    libraries=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p)
    command -v ngspice >/dev/null && [[ $libraries == *libngspice.so* ]]
}

unpacked_has_it() {
    [[ -x $folder/usr/bin/ngspice ]] && compgen -G "$folder/usr/lib/*/libngspice.so*" >/dev/null
}

# Runs apt-get as root: install_system [sudo -n]
install_system() {
    local apt=("$@" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y)
    "${apt[@]}" install --no-install-recommends "${packages[@]}" >>"$log" 2>&1 && return
    "${apt[@]}" update >>"$log" 2>&1 || return
    "${apt[@]}" install --no-install-recommends "${packages[@]}" >>"$log" 2>&1
}

# Unpacks the packages, and those they depend on that this machine lacks, without touching the system.
install_local() {
    local apt=(apt-get -qq -o Debug::NoLocking=1) needed unpacked
    scratch=$(mktemp -d)
    if ! "${apt[@]}" download --print-uris "${packages[@]}" >>"$log" 2>&1; then
        # no package lists, and no right to fetch them for all: keep a private copy
        mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
        apt+=(-o "Dir::State::lists=$scratch/lists" -o "Dir::Cache=$scratch/cache")
        "${apt[@]}" update >>"$log" 2>&1 || return
    fi
    "${apt[@]}" install -s --no-install-recommends "${packages[@]}" >"$scratch/plan" 2>>"$log" || return
    mapfile -t needed < <({ printf '%s\n' "${packages[@]}"; awk '$1 == "Inst" { print $2 }' "$scratch/plan"; } | sort -u)
    mkdir "$scratch/packages"
    (cd "$scratch/packages" && "${apt[@]}" download "${needed[@]}") >>"$log" 2>&1 || return
    unpacked=$scratch/unpacked
    for package in "$scratch"/packages/*.deb; do
        dpkg-deb -x "$package" "$unpacked" >>"$log" 2>&1 || return
    done
    mkdir -p "$(dirname "$folder")"
    rm -rf "$folder"
    mv "$unpacked" "$folder"
}

fail() {
    say "ngspice could not be installed; the last messages were"
    tail -n 5 "$log" >&2
    say "$remedy"
    exit 1
}

if [[ ${1:-} != --local ]]; then
    if unpacked_has_it || system_has_it; then
        exit 0
    fi
    if ! command -v apt-get >/dev/null; then
        echo "no apt-get on this machine" >>"$log"
        fail
    fi
    if [[ $(id -u) == 0 ]]; then
        say "installing ${packages[*]} with apt-get"
        install_system && exit 0
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        say "installing ${packages[*]} with sudo apt-get"
        install_system sudo -n && exit 0
    fi
fi
say "unpacking ${packages[*]} into $folder"
install_local && unpacked_has_it || fail
