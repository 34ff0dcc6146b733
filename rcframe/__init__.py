"""rcframe: what does compressing a neural network do to its accuracy, robustness, certificate and secrecy?

Importing this package imports no torch: every public name is resolved when it is first used. The names, and where each
lives, are listed in `__init__.pyi`.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
