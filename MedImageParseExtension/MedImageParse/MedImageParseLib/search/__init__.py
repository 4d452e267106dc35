"""Finding similar images: an index of embedding vectors on disk, zero-shot labels, outliers, and a map of the index.

`index.EmbeddingIndex` keeps vectors in one SQLite file, those of different provenance (model, deployment, engine, preprocessing) apart.
"""
