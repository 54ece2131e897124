"""The methods. Importing this package registers them all."""

from . import reconstruct as reconstruct  # isort: skip
from . import anomaly as anomaly  # isort: skip
from . import anomaly_resampled as anomaly_resampled  # isort: skip
from . import anomaly_simple as anomaly_simple  # isort: skip
from . import segment as segment  # isort: skip
from . import vessels as vessels  # isort: skip
from . import register as register  # isort: skip
from . import synthesise as synthesise  # isort: skip
from . import translate as translate  # isort: skip
from . import inpaint as inpaint  # isort: skip
