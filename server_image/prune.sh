#!/bin/sh
# prune.sh ENVIRONMENT: takes out of an image's Python environment what no process of Pagoda runs. It belongs into the RUN that
# installs, or the layer stays as large. It must never take a module or a library that something imports or loads:
# the Dockerfile's next stage imports our programs from what is left.
set -eu
cd "$1"/lib/python3*/site-packages

find . -name '*.a' -delete                                     # static libraries: nothing is linked at run time
find . -type d -name tests -prune -exec rm -rf {} +            # the dependencies' own tests

rm -rf kubernetes/aio                                          # a second client, which is like the first but asynchronous
rm -rf torch/include                                           # headers for C++ extensions: there are none
rm -rf torch/bin/protoc* torch/bin/ptxas                       # torch.compile's: never called. NB: torch needs torch_shm_manager
rm -rf triton/backends/nvidia/lib/cupti triton/instrumentation # of Triton's profiler
rm -rf triton/backends/nvidia/bin/cuobjdump triton/backends/nvidia/bin/nvdisasm triton/FileCheck # of those who debug kernels
