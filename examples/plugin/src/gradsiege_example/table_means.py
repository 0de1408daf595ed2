"""Mean and range of the PSNR of every attack against every defense: an example of a table with a column of its own."""

from gradsiege.report.data import Drawn, StudyData

VERSION = 1
OWN_COLUMNS = {
    "psnr_range": {
        "meaning": "highest PSNR of an image less the lowest",
        "unit": "dB",
        "values": "0 or more",
    },
}


def draw(data: StudyData) -> Drawn:
    """Tabulate the mean and the range over all images."""
    attacks = data.scores[data.scores["kind"] == "attack"]
    of_pair = attacks.groupby(["defense", "attack"])["psnr"]
    table = of_pair.agg(psnr="mean", psnr_range=lambda psnr: psnr.max() - psnr.min()).reset_index()
    caption = "Mean and range of PSNR [dB] over all images of a defense and an attack."
    return Drawn("Mean PSNR", caption, table)
