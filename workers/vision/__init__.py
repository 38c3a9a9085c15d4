"""Pixels to faces; the only importer of cv2 and onnxruntime."""
