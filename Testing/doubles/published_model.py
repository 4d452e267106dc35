"""A small MLflow pyfunc with the published signatures of the three models, for the real servers to host.

What it finds is simple and exact: prompt "bright" is every pixel or voxel from 128 up, "dark" every one from 1 to 127, anything else
nothing; "explode" raises, "die" ends the worker. Which of the three models it plays is said by the environment variable
PUBLISHED_MODEL when it is saved (the signature) and by the artifact's folder name when it is served.

Written from the published signatures (azureml-assets, MLmodel files), not from the product's code.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os

import mlflow
import numpy as np

SCALING_FACTOR = 4.513362


class PublishedModel(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        with open(context.artifacts["kind"], encoding="utf-8") as file:
            self.kind = file.read().strip()

    def predict(self, context, model_input, params=None):
        return [self._row(row, params or {}) for row in model_input.to_dict("records")]

    def _row(self, row, params):
        # Azure's container hands the base64 text through, `mlflow models serve` decodes it first.
        image = row.get("image")
        image = base64.b64decode(image) if isinstance(image, str) else (image or b"")
        text = row.get("text") or ""
        prompts = [part.strip() for part in text.split("&")]
        if "explode" in prompts:
            raise RuntimeError("the model exploded")
        if "die" in prompts:
            os._exit(9)
        if self.kind == "medimageinsight":
            return self._vectors(image, text, params)
        return self._volume(image, prompts) if self.kind == "medimageparse3d" else self._picture(image, prompts)

    @staticmethod
    def _found(values, prompt):
        return (
            (values >= 128) if prompt == "bright" else ((values > 0) & (values < 128)) if prompt == "dark" else np.zeros(values.shape, bool)
        )

    def _picture(self, image, prompts):
        from PIL import Image

        values = np.array(Image.open(io.BytesIO(image)).convert("L"))
        maps = np.stack([self._found(values, prompt) for prompt in prompts]).astype(np.uint8) * 255
        inner = {"data": base64.b64encode(maps.tobytes()).decode(), "shape": list(maps.shape), "dtype": "uint8"}
        return {"image_features": json.dumps(inner), "text_features": ["other organ"] * len(prompts)}

    def _volume(self, image, prompts):
        import nibabel

        values = np.asanyarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(image)).dataobj)
        labels = np.zeros(values.shape, np.uint8)
        for label, prompt in enumerate(prompts, start=1):
            labels[self._found(values, prompt)] = label
        packed = gzip.compress(nibabel.Nifti1Image(labels, np.eye(4)).to_bytes())
        return {"nifti_file": json.dumps({"data": base64.b64encode(packed).decode()})}

    def _vectors(self, image, text, params):
        rng = np.random.default_rng(sum(image) + sum(text.encode()))
        vector = rng.normal(size=1024)
        vector = (vector / np.linalg.norm(vector)).tolist()
        row = {"image_features": [vector]} if image else {"text_features": vector}
        return row | ({"scaling_factor": SCALING_FACTOR} if params.get("get_scaling_factor", True) else {})


mlflow.models.set_model(PublishedModel())
