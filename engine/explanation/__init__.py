"""What a model looks at: heat maps of single detections, the gates of its attention, its feature maps.

`Explainer(model, names)(prepared, image, found)` gives an `Explanation` of one image: arrays, `plot()`, `save(folder)`.
`detect.py --visualize`, `Detector.explain`, val's page of worst images and compare's page call it. A cam says where the
confidence of a box would rise with what the backbone found there; it does not say that the model needs it.
"""

from engine.explanation.explainer import KINDS, Explainer, usual_kinds
from engine.explanation.explanation import Explanation
from engine.explanation.gates import Gate
from engine.explanation.page import write_page
from engine.explanation.saved_pictures import Section, save_pictures

__all__ = ["KINDS", "Explainer", "Explanation", "Gate", "Section", "save_pictures", "usual_kinds", "write_page"]
