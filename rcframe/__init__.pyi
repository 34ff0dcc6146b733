# The public names of rcframe and where each lives; `__init__.py` resolves them when they are first used.
from .access import (
    Access as Access,
)
from .api import (
    API as API,
)
from .api import (
    KINDS as KINDS,
)
from .api import (
    Attack as Attack,
)
from .api import (
    Certifier as Certifier,
)
from .api import (
    Component as Component,
)
from .api import (
    Data as Data,
)
from .api import (
    DataSource as DataSource,
)
from .api import (
    Model as Model,
)
from .api import (
    NeuronModel as NeuronModel,
)
from .api import (
    OneShotPruner as OneShotPruner,
)
from .api import (
    Pruner as Pruner,
)
from .api import (
    StudentPlan as StudentPlan,
)
from .api import (
    StudentStrategy as StudentStrategy,
)
from .api import (
    Teacher as Teacher,
)
from .context import (
    Run as Run,
)
from .data.images import (
    Batch as Batch,
)
from .data.images import (
    DataInfo as DataInfo,
)
from .data.images import (
    Dataset as Dataset,
)
from .data.images import (
    Images as Images,
)
from .data.images import (
    TensorImages as TensorImages,
)
from .errors import (
    AccessDenied as AccessDenied,
)
from .errors import (
    BudgetExceeded as BudgetExceeded,
)
from .errors import (
    CheckFailed as CheckFailed,
)
from .errors import (
    PluginError as PluginError,
)
from .errors import (
    RcframeError as RcframeError,
)
from .errors import (
    RequestError as RequestError,
)
from .errors import (
    RunFailed as RunFailed,
)
from .evaluate import (
    Accuracy as Accuracy,
)
from .graph import (
    Layer as Layer,
)
from .graph import (
    NotAChain as NotAChain,
)
from .graph import (
    chain as chain,
)
from .hookspecs import (
    Spec as Spec,
)
from .hookspecs import (
    hookimpl as hookimpl,
)
from .library import (
    attack as attack,
)
from .library import (
    certifier as certifier,
)
from .library import (
    neuron as neuron,
)
from .library import (
    pruner as pruner,
)
from .library import (
    run as run,
)
from .library import (
    student as student,
)
from .library import (
    teacher as teacher,
)
from .losses import (
    kl_divergence as kl_divergence,
)
from .masks import (
    Masks as Masks,
)
from .masks import (
    Size as Size,
)
from .masks import (
    keep_largest as keep_largest,
)
from .masks import (
    prunable as prunable,
)
from .masks import (
    size_of as size_of,
)
from .modes import (
    evaluating as evaluating,
)
from .modes import (
    freeze as freeze,
)
from .normalize import (
    Normalize as Normalize,
)
from .normalize import (
    Normalized as Normalized,
)
from .observer import (
    Observer as Observer,
)
from .options import (
    at_least as at_least,
)
from .options import (
    between as between,
)
from .options import (
    component as component,
)
from .options import (
    more_than as more_than,
)
from .options import (
    option as option,
)
from .oracle import (
    Answer as Answer,
)
from .oracle import (
    ModelOracle as ModelOracle,
)
from .oracle import (
    Oracle as Oracle,
)
from .oracle import (
    Queries as Queries,
)
from .report import (
    Measurement as Measurement,
)
from .report import (
    ModelReport as ModelReport,
)
from .report import (
    Report as Report,
)
from .spiking import (
    SpikingLayer as SpikingLayer,
)
from .spiking import (
    SpikingNetwork as SpikingNetwork,
)
from .stage import (
    Stage as Stage,
)
from .steps import (
    accuracy as accuracy,
)
from .steps import (
    supervised as supervised,
)
from .surgery import (
    PruningReport as PruningReport,
)
from .surgery import (
    select as select,
)
from .surgery import (
    set_layer as set_layer,
)
from .taps import (
    find_tap as find_tap,
)
from .taps import (
    recording as recording,
)
from .taps import (
    tap_shapes as tap_shapes,
)
from .taps import (
    taps_of as taps_of,
)
from .threat import (
    Threat as Threat,
)
from .training import (
    Training as Training,
)

__version__: str
