"""``torch.fx.experimental._config``: settings of PyTorch's symbolic sizes, which flambeau does not have, with PyTorch's defaults;
see :mod:`flambeau.core.options`."""

from __future__ import annotations

from typing import Any

from flambeau.core.options import make_options

_SETTINGS: dict[str, Any] = {
    **dict.fromkeys(
        """
        no_data_dependent_graph_break translation_validation translation_validation_no_bisect check_shape_env_recorded_events
        extended_debug_cpp extended_debug_current_loc print_specializations validate_shape_env_version_key
        meta_nonzero_assume_all_nonzero backed_size_oblivious unify_view_symbols_bso_meta skip_dtype_check_in_meta_registrations
        enrich_profiler_metadata soft_pending_unbacked_not_found_error""".split(),
        False,
    ),
    "translation_validation_timeout": 600000,
    "aggressive_guard_free_semantics": 0,
    "use_duck_shape": True,
    "extended_debug_guard_added": None,
    "extended_debug_create_symbol": None,
    "symbol_guard_limit_before_specialize": None,
}

make_options(__name__, "torch.fx.experimental._config", _SETTINGS)
