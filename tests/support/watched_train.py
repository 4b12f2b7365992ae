"""train.py in one of several processes, which notes what this process does; started by test_distributed.py.

Environment: NOTES, the folder for the notes; STOP_EPOCH, where each process gets a Ctrl-C; CPUS, how many CPUs there
are said to be for the processes that train.py starts itself.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import train  # noqa: E402
from engine.config.parser import run_cli  # noqa: E402
from engine.runtime import distributed  # noqa: E402
from engine.training import lightning_loop, run_training  # noqa: E402
from engine.training.progress_bar import Progress  # noqa: E402
from engine.validation import evaluate  # noqa: E402

NOTES, STOP_EPOCH = Path(os.environ["NOTES"]), int(os.environ.get("STOP_EPOCH", "-1"))
notes = {"written": [], "trained": [], "validated": [], "modules": [], "weights": "", "epochs": 0, "map50": None}


def watch_writing() -> None:
    def heard(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str) and set(str(arguments[1])) & set("wax+"):
            notes["written"].append(arguments[0])
        elif event == "os.mkdir":
            notes["written"].append(str(arguments[0]))

    sys.addaudithook(heard)


def watch_training() -> None:
    batch_end, run_epochs, count = (
        Progress.on_train_batch_end,
        lightning_loop.Fit.run_epochs,
        evaluate._count,
    )

    def batch_seen(self, trainer, module, outputs, batch, index):
        batch_end(self, trainer, module, outputs, batch, index)
        notes["trained"].append([module.current_epoch, *(Path(path).name for path in batch.paths)])
        if module.current_epoch == STOP_EPOCH and index == 1:
            raise KeyboardInterrupt

    def validated(tally, batch, *others):
        notes["validated"].append([Path(path).name for path in batch.paths])
        count(tally, batch, *others)

    def epochs(self):
        run_epochs(self)
        module = self.module
        notes["modules"] = sorted({type(layer).__name__ for layer in module.model.modules()})
        digest = hashlib.sha256()
        for source in (module.model, module.ema.model):
            for tensor in source.state_dict().values():
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        notes["weights"] = digest.hexdigest()
        notes["epochs"] = module.current_epoch

    def trained(request, **options):
        result = plain_train(request, **options)
        notes["map50"] = result.evaluation.map50
        return result

    plain_train, run_training.train = run_training.train, trained
    Progress.on_train_batch_end, lightning_loop.Fit.run_epochs, evaluate._count = (
        batch_seen,
        epochs,
        validated,
    )


if __name__ == "__main__":
    watch_writing()
    watch_training()
    if "CPUS" in os.environ:
        cpus = [torch.device("cpu")] * int(os.environ["CPUS"])
        distributed.select_devices = lambda text: cpus
    code = run_cli(train.main)
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    (NOTES / f"{rank}.json").write_text(json.dumps(notes))
    raise SystemExit(code)
