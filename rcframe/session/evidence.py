"""What a run keeps besides its figures, for a closer look: judgements, pictures, outputs, radii, spikes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from rcframe.errors import RequestError
from rcframe.evaluation.activity import Encoding as Encoding, LayerActivity as LayerActivity
from rcframe.storage.tensors import write_tensors

FORMAT = 1
_METADATA = "rcframe_evidence"
Role = Literal["teacher", "student"]


@attrs.frozen
class About:
    """What was measured, of whom: for example how the student fares under an attack."""

    role: Role
    #: `clean`, an attack's or certifier's spec string as in the report, `worst case`, `certified by SPEC`, or the name
    #: of a layer.
    what: str


@attrs.frozen(kw_only=True)
class Evidence:
    """What a run keeps besides its figures. Any part may be empty."""

    #: Says which images were measured: runs with equal values can be compared image by image.
    images: str
    #: Names of the classes.
    classes: tuple[str, ...]
    #: Which of the measured images (n,) are right: bool.
    right: Mapping[About, NDArray[np.bool_]] = attrs.field(factory=dict)
    #: The classes that the measured images (n,) belong to, and what each measurement took them for (n,): -1 where an
    #: output was no number.
    truth: NDArray[np.int64] = attrs.field(factory=lambda: np.zeros(0, np.int64))
    answers: Mapping[About, NDArray[np.int16]] = attrs.field(factory=dict)
    #: The smallest radius of a curve that breaks each image (n,): 0 for those that are wrong as they are, inf for none.
    breaking: Mapping[About, NDArray[np.float32]] = attrs.field(factory=dict)
    #: Some of the measured images (k, C, H, W): uint8; and their labels (k,).
    pictures: NDArray[np.uint8] = attrs.field(factory=lambda: np.zeros((0, 1, 1, 1), np.uint8))
    labels: NDArray[np.int64] = attrs.field(factory=lambda: np.zeros(0, np.int64))
    #: What each role answers to the pictures: logits (k, classes).
    logits: Mapping[Role, NDArray[np.float32]] = attrs.field(factory=dict)
    #: What leaves in the place of the teacher's answers to the pictures (k, classes), where these are guarded.
    released: NDArray[np.float32] = attrs.field(factory=lambda: np.zeros((0, 0), np.float32))
    #: Classes (n,) that get more than a tenth of the softened output for each measured image: -1 for no number.
    peaks: Mapping[About, NDArray[np.int16]] = attrs.field(factory=dict)
    #: The mean softened output (classes, classes) for the images of each class, nan for a class without images; only
    #: where there are few classes.
    profiles: Mapping[About, NDArray[np.float32]] = attrs.field(factory=dict)
    #: What attacks made of the pictures (k, C, H, W): uint8.
    adversarial: Mapping[About, NDArray[np.uint8]] = attrs.field(factory=dict)
    #: Certified radii (m,), 0 where not even the image itself is right.
    radii: Mapping[About, NDArray[np.float32]] = attrs.field(factory=dict)
    #: Activity of a spiking network by role, in the order of its layers.
    spikes: Mapping[Role, tuple[LayerActivity, ...]] = attrs.field(factory=dict)
    #: What the layers before its first spikes do.
    encodings: Mapping[Role, Encoding] = attrs.field(factory=dict)


def write_evidence(path: Path, evidence: Evidence) -> None:
    """Write `evidence.safetensors`."""
    arrays: dict[str, NDArray[np.generic]] = {"pictures": evidence.pictures, "labels": evidence.labels}
    arrays |= {"truth": evidence.truth} if evidence.truth.size else {}
    arrays |= {_key("answers", about): answers for about, answers in evidence.answers.items()}
    arrays |= {_key("breaking", about): radii for about, radii in evidence.breaking.items()}
    arrays |= {_key("right", about): right.astype(np.uint8) for about, right in evidence.right.items()}
    arrays |= {f"logits/{role}": logits for role, logits in evidence.logits.items()}
    arrays |= {"released": evidence.released} if evidence.released.size else {}
    arrays |= {_key("peaks", about): peaks for about, peaks in evidence.peaks.items()}
    arrays |= {_key("profiles", about): profile for about, profile in evidence.profiles.items()}
    arrays |= {_key("adversarial", about): pictures for about, pictures in evidence.adversarial.items()}
    arrays |= {_key("radii", about): radii for about, radii in evidence.radii.items()}
    head = {
        "format": FORMAT,
        "images": evidence.images,
        "classes": list(evidence.classes),
        "spikes": {role: [attrs.asdict(layer) for layer in layers] for role, layers in evidence.spikes.items()},
        "encodings": {role: attrs.asdict(encoding) for role, encoding in evidence.encodings.items()},
    }
    tensors = {name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()}
    write_tensors(path, tensors, {_METADATA: json.dumps(head)})


def _key(part: str, about: About) -> str:
    return f"{part}/{about.role}/{about.what}"


def read_evidence(path: Path) -> Evidence:
    """Read an `evidence.safetensors`."""
    try:
        with safe_open(path, framework="np") as file:
            head = json.loads((file.metadata() or {})[_METADATA])
            arrays: dict[str, NDArray[np.generic]] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if head["format"] > FORMAT:
            raise RequestError(
                f"`{path}` was written by a newer rcframe (format {head['format']}): upgrade to read it."
            )
        return Evidence(
            images=head["images"],
            classes=tuple(head["classes"]),
            right={about: array.astype(bool) for about, array in _part(arrays, "right")},
            truth=cast("NDArray[np.int64]", arrays.get("truth", np.zeros(0, np.int64))),
            answers={about: cast("NDArray[np.int16]", array) for about, array in _part(arrays, "answers")},
            breaking={about: cast("NDArray[np.float32]", array) for about, array in _part(arrays, "breaking")},
            pictures=cast("NDArray[np.uint8]", arrays["pictures"]),
            labels=cast("NDArray[np.int64]", arrays["labels"]),
            logits={
                cast(Role, name.partition("/")[2]): cast("NDArray[np.float32]", array)
                for name, array in arrays.items()
                if name.startswith("logits/")
            },
            released=cast("NDArray[np.float32]", arrays.get("released", np.zeros((0, 0), np.float32))),
            peaks={about: cast("NDArray[np.int16]", array) for about, array in _part(arrays, "peaks")},
            profiles={about: cast("NDArray[np.float32]", array) for about, array in _part(arrays, "profiles")},
            adversarial={about: cast("NDArray[np.uint8]", array) for about, array in _part(arrays, "adversarial")},
            radii={about: cast("NDArray[np.float32]", array) for about, array in _part(arrays, "radii")},
            spikes={role: tuple(LayerActivity(**layer) for layer in layers) for role, layers in head["spikes"].items()},
            encodings={role: Encoding(**encoding) for role, encoding in head.get("encodings", {}).items()},
        )
    except OSError as error:
        raise RequestError(f"Cannot read `{path}`: {error.strerror or error}.") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f"`{path}` is damaged: {error!r}. Remove it: the figures of the run are in its `report.json`."
        ) from error


def _part(arrays: Mapping[str, NDArray[np.generic]], part: str) -> list[tuple[About, NDArray[np.generic]]]:
    found = []
    for name, array in arrays.items():
        if name.startswith(f"{part}/"):
            role, _, what = name.removeprefix(f"{part}/").partition("/")
            found.append((About(cast(Role, role), what), array))
    return found
