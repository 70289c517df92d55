"""Other packages' interfaces to the methods and metrics here: change the import, keep the script.

Each module has the names of one package, with its arguments and its shapes, and none of its code; the package need not
be installed. ``docs/migrating.md`` lists them, to what tolerance the numbers are the same, and what is not there.

>>> from limelight.compat.grad_cam import GradCAM  # from pytorch_grad_cam import GradCAM
>>> from limelight.compat.torchcam.methods import LayerCAM  # from torchcam.methods import LayerCAM
>>> from limelight.compat.captum.attr import IntegratedGradients  # from captum.attr import IntegratedGradients
>>> from limelight.compat.quantus import PixelFlipping  # from quantus import PixelFlipping
>>> from limelight.compat.zennit.composites import EpsilonPlusFlat  # from zennit.composites import EpsilonPlusFlat
"""
