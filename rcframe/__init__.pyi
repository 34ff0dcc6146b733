# The public names of rcframe and where each lives; `__init__.py` resolves them when they are first used.
from .access import (
    Access as Access,
)
from .api import (
    API as API,
    KINDS as KINDS,
    Attack as Attack,
    Certifier as Certifier,
    Component as Component,
    Data as Data,
    DataSource as DataSource,
    Engine as Engine,
    Model as Model,
    NeuronModel as NeuronModel,
    Norm as Norm,
    OneShotPruner as OneShotPruner,
    Pruner as Pruner,
    StudentPlan as StudentPlan,
    StudentStrategy as StudentStrategy,
    Teacher as Teacher,
)
from .data.images import (
    Batch as Batch,
    DataInfo as DataInfo,
    Dataset as Dataset,
    Images as Images,
    TensorImages as TensorImages,
    check_pixels as check_pixels,
)
from .errors import (
    AccessDenied as AccessDenied,
    BudgetExceeded as BudgetExceeded,
    CheckFailed as CheckFailed,
    PluginError as PluginError,
    RcframeError as RcframeError,
    RequestError as RequestError,
    RunFailed as RunFailed,
)
from .evaluation.evaluate import (
    Accuracy as Accuracy,
    certified as certified,
)
from .evaluation.oracle import (
    Answer as Answer,
    ModelOracle as ModelOracle,
    Oracle as Oracle,
    Queries as Queries,
)
from .evaluation.threat import (
    Threat as Threat,
    make_threat as make_threat,
)
from .findings.folders import (
    Collection as Collection,
    FoundRun as FoundRun,
    Group as Group,
    collect as collect,
)
from .guarding import (
    GuardedTeacher as GuardedTeacher,
)
from .hookspecs import (
    Spec as Spec,
    hookimpl as hookimpl,
)
from .jobs import (
    Ended as Ended,
    Job as Job,
    Running as Running,
    run_job as run_job,
)
from .library import (
    attack as attack,
    certifier as certifier,
    matrix as matrix,
    model as model,
    neuron as neuron,
    pruner as pruner,
    repeat as repeat,
    resume as resume,
    run as run,
    spelled as spelled,
    student as student,
    teacher as teacher,
)
from .networks.graph import (
    Layer as Layer,
    NotAChain as NotAChain,
    chain as chain,
)
from .networks.modes import (
    evaluating as evaluating,
    freeze as freeze,
)
from .networks.normalize import (
    Normalize as Normalize,
    Normalized as Normalized,
)
from .networks.size import (
    Size as Size,
    size_of as size_of,
)
from .networks.spiking import (
    SpikingLayer as SpikingLayer,
    SpikingNetwork as SpikingNetwork,
)
from .networks.surgery import (
    PruningReport as PruningReport,
    select as select,
    set_layer as set_layer,
)
from .networks.taps import (
    find_tap as find_tap,
    recording as recording,
    tap_shapes as tap_shapes,
    taps_of as taps_of,
)
from .networks.weights import (
    Architecture as Architecture,
)
from .options import (
    at_least as at_least,
    between as between,
    changed as changed,
    component as component,
    more_than as more_than,
    option as option,
)
from .session.measurement import (
    Measurement as Measurement,
)
from .session.report import (
    ModelReport as ModelReport,
    Report as Report,
)
from .session.seeds import (
    SeedsReport as SeedsReport,
    Spread as Spread,
)
from .session.session import (
    Session as Session,
)
from .tracking import (
    Recorder as Recorder,
    Recorders as Recorders,
    figures_of as figures_of,
    settings_of as settings_of,
)
from .training.answers import (
    Answers as Answers,
)
from .training.attacked import (
    InnerAttack as InnerAttack,
)
from .training.climbing import (
    Climb as Climb,
)
from .training.compute import (
    Compute as Compute,
)
from .training.context import (
    Run as Run,
)
from .training.distillation import (
    Distillation as Distillation,
)
from .training.generations import (
    generations as generations,
)
from .training.losses import (
    kl_divergence as kl_divergence,
    weighted_sum as weighted_sum,
)
from .training.masks import (
    Masks as Masks,
    keep_largest as keep_largest,
    prunable as prunable,
)
from .training.observer import (
    Observer as Observer,
)
from .training.settings import (
    Optimization as Optimization,
    Training as Training,
)
from .training.stage import (
    Stage as Stage,
)
from .training.steps import (
    accuracy as accuracy,
    supervised as supervised,
)
from .wrapping import (
    WrappingAttack as WrappingAttack,
    WrappingModel as WrappingModel,
)

__version__: str
