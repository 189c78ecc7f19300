# The engine with its door for applications, on the host's NVIDIA cards or, without them, on virtual GPUs: docker compose up
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY citadel ./citadel
COPY engine ./engine
COPY fleet ./fleet
COPY citadel_tui ./citadel_tui
COPY config ./config
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
# PyPI's torch brings the CUDA libraries; the driver's come from the host (nvidia-container-toolkit).
COPY constraints.txt /tmp/
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --constraint /tmp/constraints.txt /wheels/*.whl
RUN useradd --create-home --home-dir /var/lib/citadel --uid 10001 citadel
ENV CITADEL_HOME=/var/lib/citadel \
    CITADEL_CONFIG=/etc/citadel \
    HF_HOME=/var/lib/huggingface \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1
# Defaults and an empty catalog, unless a configuration is mounted over them.
RUN citadel init /etc/citadel && mkdir -p /var/lib/huggingface
USER 10001
WORKDIR /var/lib/citadel
VOLUME /var/lib/citadel
EXPOSE 8484
HEALTHCHECK --start-period=60s --interval=15s --timeout=5s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8484/ready', timeout=4)"]
ENTRYPOINT ["citadel"]
CMD ["serve", "--http", "0.0.0.0:8484"]
