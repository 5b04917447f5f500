"""Runs in the judge's environment: NETWORK CROPS ANSWERS."""

import sys
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(network: str, crops: str, answers: str) -> None:
    """Ask the network about every crop."""
    interpreter: Any = Interpreter(network)
    interpreter.allocate_tensors()
    [given] = interpreter.get_input_details()
    place = {one["name"]: one["index"] for one in interpreter.get_output_details()}
    presences, pixels, joints = list[Any](), list[Any](), list[Any]()
    for image in np.load(crops):
        interpreter.set_tensor(given["index"], (image.transpose(1, 2, 0)[None] / 255).astype("f4"))
        interpreter.invoke()
        seen = {name: interpreter.get_tensor(index) for name, index in place.items()}
        presences.append(seen["Identity_1"][0, 0])
        pixels.append(seen["Identity"].reshape(21, 3)[:, :2])
        joints.append(seen["Identity_3"].reshape(21, 3))
    np.savez(answers, presence=presences, pixels=pixels, joints=joints)


main(*sys.argv[1:])
