"""Attention in the ultralytics package's own models (v5u, v8, v11, 26); the only importer of that package."""
