"""The methods. Importing this package registers them all."""

from . import reconstruct as reconstruct
