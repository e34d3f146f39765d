# w2v2 in a container, for a CPU or for NVIDIA GPUs. It has been checked by eye only: the machines
# that this project is developed on have no Docker engine.
#
#   docker build -t w2v2 .                                                 # GPU: PyTorch with CUDA
#   docker build -t w2v2:cpu --build-arg TORCH_INDEX=ADDRESS .             # CPU alone, much smaller
#   docker run --rm w2v2 doctor
#   docker run --rm --gpus all -v "$PWD:/work" -v w2v2:/store w2v2 transcribe talk.flac --lm 4gram
#
# ADDRESS is the index of PyTorch's CPU builds, as PyTorch's "Get started" page gives it for Linux,
# Pip and CPU. Left empty, pip takes PyTorch from where it takes everything else.

ARG PYTHON=3.12

# The environment: kenlm and the compiled search want a compiler and cmake, the result does not.
FROM python:${PYTHON}-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ cmake make \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/w2v2
ENV PATH=/opt/w2v2/bin:$PATH
WORKDIR /source
ARG TORCH_INDEX=
# Before the sources, so that a change of them does not fetch PyTorch again.
COPY pyproject.toml .
RUN range=$(python -c "import tomllib; print(*(d for d in \
tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'] if d.startswith('torch')))") \
    && pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} $range
COPY . .
RUN pip install --no-cache-dir . && w2v2 doctor

FROM python:${PYTHON}-slim
COPY --from=build /opt/w2v2 /opt/w2v2
ENV PATH=/opt/w2v2/bin:$PATH W2V2_HOME=/store HF_HOME=/store/huggingface
RUN useradd --create-home listener && mkdir /store /work && chown listener /store /work
USER listener
WORKDIR /work
VOLUME /store
ENTRYPOINT ["w2v2"]
CMD ["--help"]
