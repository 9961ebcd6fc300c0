# The API: ONNX Runtime, no torch, no compiler. It runs as an unprivileged user, and its root file system may be read-only.
#   EXTRA=gpu installs ONNX Runtime for CUDA instead of ONNX Runtime for CPUs.
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}
ARG EXTRA=service

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    OMP_NUM_THREADS=1 HOME=/tmp ORT_DISABLE_TELEMETRY=1
WORKDIR /srv/chiron
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin chiron && install -d -o chiron -g chiron /state

COPY pyproject.toml README.md LICENSE NOTICE constraints.txt ./
COPY models models
COPY service service
RUN python -m pip install --quiet --constraint constraints.txt ".[${EXTRA},postgres,s3]" && rm -rf build models service ./*.egg-info
COPY bundles bundles

ENV CHIRON_STATE=/state CHIRON_HOST=0.0.0.0 CHIRON_PORT=8000
USER chiron
VOLUME /state
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["chiron", "serve"]
