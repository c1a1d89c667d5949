# The gateway: HTTP in front, models inside the process or on Triton. `docker build -f docker/gateway.Dockerfile .`
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
# builds of PyTorch without CUDA
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv /opt/auricle
COPY docker/requirements/torch.txt docker/requirements/service.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/auricle/bin/pip install --no-deps --index-url "${TORCH_INDEX}" -r torch.txt \
    && /opt/auricle/bin/pip install --no-deps --require-hashes -r service.txt
COPY pyproject.toml README.md LICENSE ./
COPY service/ service/
RUN /opt/auricle/bin/pip install --no-deps --no-build-isolation --no-index .

FROM ${PYTHON}
# The folders belong to the user, so that new volumes over them do.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin auricle \
    && install --directory --owner=auricle --group=auricle /models /vectors /keys
COPY --from=build /opt/auricle /opt/auricle
ENV PATH=/opt/auricle/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    AURICLE_HOST=0.0.0.0 \
    AURICLE_MODEL_REPOSITORY=/models \
    AURICLE_VECTOR_STORE=/vectors
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
ENTRYPOINT ["auricle"]
CMD ["serve"]
