#!/usr/bin/env bash
# Packs vLLM 0.26.0 (a release for torch 2.11) for a GPU machine that reaches no package registry but has Python 3.12,
# torch 2.11, transformers and nvcc. Where pip reaches a registry, `pip install vllm==0.26.0` is all that is needed.
usage="usage: $(basename "$0") OUT_DIR [PART_SIZE]
  Writes OUT_DIR/part.* of PART_SIZE (default 52M) each, three by default. On the GPU machine:
    mkdir -p /tmp/site && cat part.* | xz -dc -T0 | tar -C /tmp/site -xf - && export PYTHONPATH=/tmp/site"
set -euo pipefail
case "${1:-}" in
  -h|--help) echo "$usage"; exit 0 ;;
  "") echo "$usage" >&2; exit 2 ;;
esac

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
part_size=${2:-52M}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

platforms=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
for minor in 17 24 26 27 28 31 34 35 39; do platforms+=(--platform "manylinux_2_${minor}_x86_64"); done
python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" \
  -d wheels vllm==0.26.0 -r "$here/vllm_deps.txt"

for wheel in wheels/*.whl; do unzip -q -o "$wheel" -d site; done
cd site
# Hopper runs FlashAttention 3; other architectures' kernels, headers and other Pythons' builds only cost room.
rm -rf vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so vllm/vllm-rs vllm/_qutlass_C.abi3.so vllm/third_party/fmha_sm100 \
  vllm/third_party/deep_gemm/include vllm/third_party/deep_gemm/_C.cpython-31[0134]* pycountry/locales
# Wheels may keep packages under NAME.data/purelib and platlib.
for data in *.data; do
  for kind in purelib platlib; do [ -d "$data/$kind" ] && cp -r "$data/$kind"/. . ; done
  rm -rf "$data"
done
cd ..

rm -f "$out"/part.*
tar -C site -cf - . | xz -T0 -3 | split -b "$part_size" - "$out/part."
ls -l "$out"
