"""
Whether an endpoint can be reached and speaks RAD-69, layer by layer: which one fails, and what to do about it.

`probe` asks one question, the same that a retrieve would ask, and looks at each step of the answer.
"""

from ._layers import LAYERS, Layer, LayerName, Probe
from ._question import probe

__all__ = ["LAYERS", "Layer", "LayerName", "Probe", "probe"]
