"""What looks at the data set when a run begins: called once with what was read, its lines printed."""

from engine.training.run_training import train


def test_training_prints_what_it_is_told_once(configure, capsys) -> None:
    seen = []

    def examine(dataset, read, image_px, hyp):
        seen.append((dataset.names, {split: len(one.labels) for split, one in read.items()}, image_px, hyp.mosaic))
        return ["a line about the labels"]

    train(configure(epochs=1), examine=examine)
    assert seen == [({0: "even", 1: "odd"}, {"train": 6, "val": 3}, 64, 0.5)]
    assert capsys.readouterr().out.count("a line about the labels\n") == 1
