"""The models by the names that this program gives them, and what people call them."""

from __future__ import annotations

MODEL_NAMES = {"medimageparse": "MedImageParse", "medimageparse3d": "MedImageParse 3D", "medimageinsight": "MedImageInsight"}
