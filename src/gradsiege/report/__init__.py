"""Figures, tables and the report: one file each; a file with a `VERSION` can stand in a study.

Every such file has `draw(data: StudyData) -> Drawn`. This package computes no scores: figures show
the results of `analysis` on the rows that the pipeline stored.
"""
