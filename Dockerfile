# Every script on a CPU. In this folder:
#     docker build -t image-workshop .
#     docker run --rm -v "$PWD:/work" image-workshop generate --seeds 0-7
#     docker run --rm -p 8100:8100 image-workshop explore --listen 0.0.0.0 --no-browser
# The operators are compiled for the processor that builds the image; on another kind of processor plain PyTorch computes.
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH TORCH_EXTENSIONS_DIR=/opt/operators
COPY requirements.txt /src/
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -r /src/requirements.txt
COPY . /src
RUN pip install --no-cache-dir --no-deps --no-build-isolation /src && python -m image_workshop.custom_ops.build --device cpu

FROM python:3.12-slim
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/operators /opt/operators
ENV PATH=/opt/venv/bin:$PATH TORCH_EXTENSIONS_DIR=/opt/operators
WORKDIR /work
ENTRYPOINT ["image-workshop"]
CMD ["--help"]
