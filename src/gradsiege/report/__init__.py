"""Figures, tables and the report: one file each; a file with a `VERSION` can stand in a study.

Every such file has `draw(data: StudyData) -> Drawn`. Nothing here computes a score: figures show
what `analysis` says about the rows that the pipeline stored.
"""
