"""Mean PSNR of every attack against every defense: an example of a table."""

from gradsiege.report.data import Drawn, StudyData

VERSION = 1


def draw(data: StudyData) -> Drawn:
    """Tabulate the mean over all images."""
    attacks = data.scores[data.scores["kind"] == "attack"]
    table = attacks.groupby(["defense", "attack"], as_index=False)["psnr"].mean()
    return Drawn("Mean PSNR", "Mean PSNR [dB] over all images of a defense and an attack.", table)
