"""The contract between benchsuite and a backend driver, and how drivers are found.

A driver translates between benchsuite's nouns and one backend's bytes. It does no I/O and reads
no clock: the engine alone opens sockets and stamps time, so that every backend is measured the
same way by construction. `backends/README.md` shows how to write one; `benchsuite.testing` holds
the conformance tests that every driver has to pass.
"""

from benchsuite.driver.contract import (
    AFTER_TEMPLATE,
    CACHED_BY_ITSELF,
    MODELS_CACHE,
    OWN_WORDS,
    Capabilities,
    Driver,
    Launch,
    ModelForm,
    Setting,
    caching,
    engine_arguments,
    is_variable,
)
from benchsuite.driver.found import backends, load
from benchsuite.driver.optional import (
    BatchApi,
    BatchState,
    Configurable,
    HasMetrics,
    HidesOptions,
    Hosted,
    KnowsPlace,
    LoadsModels,
    PreparesCache,
    ReportsLoading,
    ResetsCache,
    ShowsExample,
    Tokenizes,
    UploadsBatches,
)

__all__ = [
    "AFTER_TEMPLATE",
    "CACHED_BY_ITSELF",
    "MODELS_CACHE",
    "OWN_WORDS",
    "BatchApi",
    "BatchState",
    "Capabilities",
    "Configurable",
    "Driver",
    "HasMetrics",
    "HidesOptions",
    "Hosted",
    "KnowsPlace",
    "Launch",
    "LoadsModels",
    "ModelForm",
    "PreparesCache",
    "ReportsLoading",
    "ResetsCache",
    "Setting",
    "ShowsExample",
    "Tokenizes",
    "UploadsBatches",
    "backends",
    "caching",
    "engine_arguments",
    "is_variable",
    "load",
]
