"""Nets and what they are trained on: backbone, neck, head, criterion."""
