"""Comparative measurements, one file per claim; results/ holds dated JSON with hardware and commit."""
