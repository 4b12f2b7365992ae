# The project with its dependencies, for the CPU:   docker build -t yolov5-attention .
# For a GPU, with CUDA from the base and torch from pip's index:
#   docker build -t yolov5-attention:gpu --build-arg BASE=nvidia/cuda:12.6.3-runtime-ubuntu24.04 --build-arg TORCH_INDEX= .
ARG BASE=python:3.12-slim
FROM ${BASE}

# Where torch comes from; empty: from pip's index, with CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# OpenCV's libraries, and a Python where the base has none.
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && (command -v python3 || apt-get install -y --no-install-recommends python3 python3-venv) \
    && rm -rf /var/lib/apt/lists/* && python3 -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 YOLO_OFFLINE=1 YOLO_AUTOINSTALL=false

WORKDIR /app
COPY requirements.txt requirements.lock ./
RUN [ -z "$TORCH_INDEX" ] || pip install torch torchvision -c requirements.lock --index-url "$TORCH_INDEX"
RUN pip install -r requirements.txt -c requirements.lock

COPY . .
RUN pip install --no-deps -e .

CMD ["python", "detect.py"]
