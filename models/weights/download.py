"""Find a weights file; fetch a stock one from the original's public release when it is asked for by name.

`YOLOV5_WEIGHTS_MIRROR` names another address that holds the same files, for networks where that host is blocked.
"""

from __future__ import annotations

import difflib
import hashlib
import http.client
import os
import re
import shutil
import urllib.request
import zipfile
from pathlib import Path

from files.atomic import atomic_file
from files.paths import is_file, is_folder
from models.model_yaml import load_spec

FOLDER = Path(__file__).resolve().parents[2] / "weights"
RELEASE = "https://github.com/ultralytics/yolov5/releases/download/v7.0/"
SHIPPED = "yolov5n.pt"
MIRROR = "YOLOV5_WEIGHTS_MIRROR"
# SHA-256 of the files of that release. Several projects that pin n, s and m state theirs; those of the other seven come
# from one public list of all ten, which agrees with them.
STOCK = {
    "yolov5n.pt": "4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3",
    "yolov5s.pt": "8b3b748c1e592ddd8868022e8732fde20025197328490623cc16c6f24d0782ee",
    "yolov5m.pt": "61d933360ba5a7733a36764996c800287d973889d875227f5beedd2473a97a56",
    "yolov5l.pt": "2f603b7354c25454d1270663a14d8ddc1eea98e5eebc1d84ce0c6e3150fa155f",
    "yolov5x.pt": "9f27a794fa0308e2606f90565164571d6f0a0ba18a3ce2e5e5d323b71c157859",
    "yolov5n6.pt": "496c05a2b991da15acc6c4408c63da287f2513a46c6756618776d4dd71170781",
    "yolov5s6.pt": "95bda9019ada63f37338308d0c81a66047a6fbaba061abaff271ba9334cf2a6f",
    "yolov5m6.pt": "7afe7fa0f29a8351467200a2a5a33c7996d1155ed6636c7edd8ca70b14951c64",
    "yolov5l6.pt": "b357b77f646b0190912985937c44e2923441369d5fda69ba86da2aa919212618",
    "yolov5x6.pt": "257c991b216d625427dc4d9c7c76d6c6d93cf3732797538da34bdc02f97bfef0",
}


def find_weights(path: str | Path) -> Path:
    """The weights file for a path or a bare name.

    Looks at the path as given, then in `weights/`; a stock name that is in neither is fetched into `weights/`.

    Raises:
        ValueError: If there is none and it cannot be fetched.
    """
    given = Path(path)
    bare = given.parent in (Path(), Path(FOLDER.name), FOLDER)
    for candidate in (given, FOLDER / given.name if bare else given):
        if is_file(candidate):
            return candidate
    if bare and given.name in STOCK:
        release = os.environ.get(MIRROR, RELEASE).rstrip("/")
        return fetch(f"{release}/{given.name}", FOLDER / given.name, STOCK[given.name])
    if str(path) and is_folder(given):
        raise ValueError(f"{path}: expected a weights file but this is a folder; try {given / 'weights' / 'best.pt'}")
    near = difflib.get_close_matches(given.name[:100], [*STOCK, *(p.name for p in FOLDER.glob("*.pt"))], n=2)
    hint = f"nearest known: {', '.join(near)}" if near else f"fetched by name: {min(STOCK)} to {max(STOCK)}"
    raise ValueError(
        f"weights file {str(path)[:200]!r} was not found here or in weights/; give the path of a .pt file, such as "
        f"runs/train/exp/weights/best.pt; {hint}"
    )


def stock_at_hand(cfg: str) -> str:
    """The stock weights that a model starts from when none are named, empty if there are none.

    Args:
        cfg: A model YAML; empty stands for the one that is shipped. It is recognised by its name, `yolov5s_ca.yaml`,
            and by the multiples of that size.

    Raises:
        ValueError: If the YAML is wrong.
    """
    if not cfg:
        return SHIPPED
    found = re.match(r"yolov5([nsmlx])6?(?![a-z0-9])", Path(cfg).stem)
    if not found or not (FOLDER / f"{found[0]}.pt").is_file():
        return ""
    spec, stock = load_spec(cfg), load_spec(f"yolov5{found[1]}.yaml")
    same = (spec.depth_multiple, spec.width_multiple) == (stock.depth_multiple, stock.width_multiple)
    return f"{found[0]}.pt" if same else ""


def fetch(address: str, target: Path, sha256: str) -> Path:
    """Download a file with a progress bar, after saying so; the target appears only when it is complete.

    Raises:
        ValueError: If the address cannot be reached, the transfer breaks off, or what arrives has another SHA-256.
    """
    from tqdm import tqdm

    print(f"{target.name} is not on disk: fetching {address} into {target.parent.name}/")
    try:
        with atomic_file(target) as file, urllib.request.urlopen(address, timeout=30) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            wrapped = tqdm.wrapattr(answer, "read", total=total or None, desc=target.name)  # pyright: ignore[reportUnknownMemberType]
            with wrapped as source:
                shutil.copyfileobj(source, file, 1 << 20)
            if total and file.tell() != total:
                raise OSError(f"{file.tell()} of {total} bytes arrived")
            file.flush()
            if not zipfile.is_zipfile(file.name):
                raise OSError("what arrived is no weights file; does this network ask for a sign-in?")
            found = hashlib.sha256(Path(file.name).read_bytes()).hexdigest()
            if found != sha256:
                raise OSError(f"what arrived has the SHA-256 {found}, not {sha256}, and was thrown away")
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise ValueError(
            f"{target.name} could not be fetched: {error}. Get {address} in another way and put it into "
            f"{target.parent.name}/, or name a mirror in {MIRROR}"
        ) from error
    return target
