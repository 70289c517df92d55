# A page to play with a network, in a container:
#
#   docker build -t limelight .
#   docker run --rm --network host limelight
#
# and open the address that it prints. The server listens on 127.0.0.1 only, and answers nobody who calls it otherwise, so
# that a port can't be published (-p): the container has to share the network of the machine. Your own pictures and network:
#
#   docker run --rm --network host -v "$PWD:/home/limelight/work:ro" limelight \
#       serve --no-open --model work/model.onnx --folder work/photos
FROM python:3.13-slim

COPY pyproject.toml README.md LICENSE references.bib /source/
COPY recipes /source/recipes
COPY src /source/src
# PyTorch for processors alone, which is much smaller.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu "/source[web,onnx]" \
    && useradd --create-home --uid 1000 limelight

USER 1000
WORKDIR /home/limelight
ENTRYPOINT ["limelight"]
CMD ["serve", "--no-open", "--port", "8000"]
