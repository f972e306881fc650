#!/bin/sh
# make_venv.sh VENV EXTRA: make or update the environment, then leave the stamp
# VENV/.EXTRA, which holds the checkout's folder (see MOVED in the Makefile).
# PYTHON, when set, is the only Python tried.
set -eu
venv=$1
extra=$2
here=$(pwd -P)

in_range='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'
can_venv='import venv, ensurepip'

say() { printf '%s\n' "$@" >&2; }

find_python() {
    found=
    no_venv=
    # An absent or unset name (a pyenv shim, say) fails the first test too.
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        "$name" -c "$in_range" 2>/dev/null || continue
        if "$name" -c "$can_venv" 2>/dev/null; then
            found=$name
            return
        fi
        no_venv=$name
    done
    if [ -n "$no_venv" ]; then
        version=$("$no_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        say "minidiff: $no_venv (Python $version) cannot make virtual environments:" \
            "its venv or ensurepip module is missing." \
            "On Debian and Ubuntu:  sudo apt install python$version-venv" \
            "Elsewhere install a complete Python, or name another one:" \
            "    make lab PYTHON=/path/to/python3.12"
    else
        tried=${PYTHON:-python3, python3.14, python3.13, python3.12, python3.11}
        say "minidiff: Python 3.11, 3.12, 3.13 or 3.14 is needed, and none was found." \
            "Tried: $tried"
        if [ -z "${PYTHON:-}" ] && command -v python3 >/dev/null 2>&1; then
            say "python3 is $(python3 --version 2>&1)."
        fi
        say "Install one (python.org, your system's packages, pyenv, conda), or name it:" \
            "    make lab PYTHON=/path/to/python3.12"
    fi
    exit 1
}

if ! "$venv/bin/python" -c "$in_range" 2>/dev/null \
    || ! "$venv/bin/python" -c 'import pip' 2>/dev/null \
    || { [ -e "$venv/.course" ] && [ "$(cat "$venv/.course")" != "$here" ]; }
then
    find_python
    say "Making $venv with $("$found" --version)."
    "$found" -m venv --clear "$venv"
fi

rm -f "$venv/.$extra"
# "course" is always named: constraints may have changed for any of its parts.
if [ "$extra" = course ]; then extras=course; else extras=course,$extra; fi
"$venv/bin/python" -m pip install --disable-pip-version-check --no-input \
    -e ".[$extras]" -c constraints.txt

# JupyterLab asks the network for news when it starts, and says so in a pop-up;
# and it asks on closing what it has not saved yet, so it saves often.
settings=$venv/share/jupyter/lab/settings
mkdir -p "$settings"
cp book/lab/overrides.json "$settings/overrides.json"

printf '%s\n' "$here" > "$venv/.$extra"
