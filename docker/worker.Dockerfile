# A worker: torch and training. TORCH_OPTIONS chooses the index of a build of torch for CPUs alone or for another CUDA:
#   --build-arg TORCH_OPTIONS="--index-url ..."; the default build from the registry runs on CPUs and on GPUs.
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}
ARG TORCH_OPTIONS=""
ARG GIT_COMMIT=unknown

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    OMP_NUM_THREADS=1 HOME=/tmp ORT_DISABLE_TELEMETRY=1
WORKDIR /srv/chiron
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin chiron && install -d -o chiron -g chiron /state

COPY constraints.txt ./
RUN python -m pip install --quiet --constraint constraints.txt ${TORCH_OPTIONS} torch==2.13.0
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY models models
COPY service service
COPY training training
RUN python -m pip install --quiet --constraint constraints.txt ".[service,training,postgres,s3]" && rm -rf build models service training ./*.egg-info

ENV CHIRON_STATE=/state CHIRON_DATA=/data CHIRON_GIT_COMMIT=${GIT_COMMIT}
USER chiron
VOLUME /state
CMD ["chiron", "worker"]
