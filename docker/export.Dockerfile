# Fills a model repository with the reference models, each proven first. `docker build -f docker/export.Dockerfile .`
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
# builds of PyTorch without CUDA
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv /opt/auricle
COPY docker/requirements/torch.txt docker/requirements/export.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/auricle/bin/pip install --no-deps --index-url "${TORCH_INDEX}" -r torch.txt \
    && /opt/auricle/bin/pip install --no-deps --require-hashes -r export.txt

FROM ${PYTHON}
# The folder belongs to the user, so that a new volume over it does.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin auricle \
    && install --directory --owner=auricle --group=auricle /models
COPY --from=build /opt/auricle /opt/auricle
WORKDIR /app
COPY export/ export/
# the reviewed contracts, against which an export is proven
COPY model_repository/ model_repository/
ENV PATH=/opt/auricle/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "export", "export", "--out", "/models"]
CMD ["--missing"]
