"""Targets and pictures under the names of pytorch_grad_cam.utils."""
