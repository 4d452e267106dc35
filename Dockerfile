# The command line in a container: `docker build -t medimageparse .`, then `docker run --rm medimageparse` segments a synthetic CT.
# Your own image: docker run --rm -v "$PWD:/data" -e MEDIMAGEPARSE_KEY medimageparse segment ct.nii.gz --endpoint URL …
# DICOM SEG and Microsoft Entra need further packages: docker build --build-arg EXTRAS="[dicom,entra]" -t medimageparse .
FROM python:3.12-slim
ARG EXTRAS=""
COPY pyproject.toml README.md LICENSE.txt /src/
COPY MedImageParseExtension/MedImageParse/MedImageParseLib /src/MedImageParseExtension/MedImageParse/MedImageParseLib
RUN python -m pip install --no-cache-dir "/src${EXTRAS}"
RUN useradd --create-home person && mkdir /data && chown person /data
USER person
WORKDIR /data
ENTRYPOINT ["medimageparse"]
CMD ["try-it"]
