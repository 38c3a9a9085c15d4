# One image for every process: `rekollect api`, `worker`, `courier`, `beat`, `migrate`. It holds the face models, so that a
# container starts without the internet and with the bytes that were checked when the image was built.

FROM python:3.11.15-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/rekollect
COPY constraints.txt pyproject.toml README.md ./
COPY app app
COPY migrations migrations
COPY workers workers
# Without the dev and local extras: no test tools, no embedded servers. constraints.txt pins every version.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/rekollect/bin/pip install --quiet --disable-pip-version-check -c constraints.txt .
# `pull` accepts only files with the pinned SHA-256; `verify` reads them once more from where the next stage takes them.
RUN REKOLLECT_CACHE_DIR=/opt/cache /opt/rekollect/bin/rekollect models pull \
    && REKOLLECT_CACHE_DIR=/opt/cache /opt/rekollect/bin/rekollect models verify

FROM python:3.11.15-slim-bookworm
# A number, not only a name, so that Kubernetes' runAsNonRoot can tell. The folder is the only one that processes write to.
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin rekollect \
    && install -d -m 0700 -o rekollect -g rekollect /run/rekollect
COPY --from=build /opt/rekollect /opt/rekollect
COPY --from=build /opt/cache/models /opt/models
ENV PATH=/opt/rekollect/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/run/rekollect \
    TMPDIR=/run/rekollect \
    REKOLLECT_CACHE_DIR=/run/rekollect/cache \
    REKOLLECT_MODELS_DIR=/opt/models
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["rekollect"]
# Within a container this is every interface; what is published to whom, the one who runs the container says.
CMD ["api", "--host", "0.0.0.0", "--port", "8080"]
