"""Inputs that are right in their frame (checksums, digests, lengths) and odd in what the frame holds."""
