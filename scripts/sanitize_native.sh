#!/usr/bin/env bash
# Run the tests of the compiled search under the address and undefined-behaviour sanitizers.
#
#     scripts/sanitize_native.sh [tests...]
#
# The working tree's tracked files are copied to a temporary folder, and the library is built there,
# so that what is installed stays as it is. It needs g++ with its sanitizers. PYTHON names the
# interpreter that has w2v2's requirements; the environment of `make test` by default.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "${PYTHON:-.venv/bin/python}")
compiler=${CXX:-g++}
tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(tests/lm/search tests/lm/ngram)

# With LD_PRELOAD the sanitizer comes first; the C++ library beside it, since Python has not loaded
# it yet when the sanitizer looks for its exceptions.
preload=
for library in libasan.so libstdc++.so; do
  found=$("$compiler" -print-file-name="$library")
  if [ "$found" = "$library" ]; then
    echo "$compiler has no $library: install the compiler's sanitizers." >&2
    exit 1
  fi
  preload="$preload $found"
done

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' name; do [ ! -e "$name" ] || printf '%s\0' "$name"; done |
  xargs -0 cp --parents -t "$copy"
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
flags=(-std=c++17 -g -O0 -fno-omit-frame-pointer -D_GLIBCXX_ASSERTIONS -fPIC -pthread
  -fsanitize=address,undefined -fno-sanitize-recover=all)
objects=$(mktemp -d)
trap 'rm -rf "$copy" "$objects"' EXIT
printf '%s\n' lm/native/*.cpp | xargs -P "$(nproc)" -I '{}' sh -c \
  '"$@" -c "{}" -o "'"$objects"'/$(basename "{}").o"' - "$compiler" "${flags[@]}"
"$compiler" "${flags[@]}" -shared "$objects"/*.o -o "$copy/lm/native/_native$suffix"

cd "$copy"
# Python itself leaks by design, so leaks are not looked for.
# The sanitizers take memory of their own, so nothing keeps to a bound on it.
estimation=tests/lm/ngram/test_estimation.py
bound=$estimation::test_little_memory_is_kept_to_and_gives_the_same_bytes
PYTHONPATH=$copy LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0 \
  UBSAN_OPTIONS=print_stacktrace=1 \
  "$python" -m pytest -q -p no:cacheprovider "${tests[@]}" --deselect "$bound"
