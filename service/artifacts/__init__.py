"""Bytes that Halley keeps and hands out: uploads, results without a URL of their own, and what a run brings along."""
