"""Pictures of training, models and data, drawn with matplotlib (``pip install "fastnn[plot]"``).

Every function draws into `ax`, or else into a new figure, and returns the Axes. Colours can be told apart by the
colour-blind (Okabe and Ito 2008); lines and points differ in dashes and shape too, for print without colour.
"""

from fastnn.plots.graphs import graph
from fastnn.plots.models import confusion_matrix, decision_regions, layer_histograms
from fastnn.plots.training import learning_curves, loss_surface

__all__ = ["confusion_matrix", "decision_regions", "graph", "layer_histograms", "learning_curves", "loss_surface"]
