"""Which checks apply to which kind, to plugins that watch runs, and to recipes."""

from __future__ import annotations

from collections.abc import Callable

from rcframe.testing import (
    engine_promises as engine,
    guard_promises as guard,
    material_promises as material,
    method_promises as method,
    promises as general,
    recipe_promises as recipe,
    training_promises as training,
    trait_promises as trait,
    watcher_promises as watcher,
)
from rcframe.testing.subject import Recipes, Subject, Watcher

CHECKS: dict[str, tuple[Callable[[Subject], None], ...]] = {
    "any": (
        general.check_entry_module_is_free_of_torch,
        general.check_target_resolves,
        general.check_options_are_described,
        general.check_options_survive_spec_string_and_toml,
        general.check_unknown_option_is_refused,
        general.check_presets_can_be_built,
        general.check_components_are_immutable,
    ),
    "data": (material.check_data_is_sound, material.check_data_repeats),
    "model": (material.check_model_builds, material.check_model_taps_exist),
    "teacher": (
        training.check_teacher_trains,
        training.check_teacher_repeats,
        training.check_teacher_resumes,
        guard.check_teacher_guard_lets_out_sound_answers,
        guard.check_teacher_guard_repeats_as_it_says,
    ),
    "student": (
        training.check_student_trains,
        training.check_student_repeats,
        training.check_student_resumes,
        training.check_student_keeps_its_forward,
        training.check_student_can_be_built_again,
        training.check_student_leaves_the_teacher_alone,
        training.check_student_needs_what_it_declares,
        training.check_student_can_be_observed,
        training.check_student_reads_no_labels_elsewhere,
        training.check_student_asks_no_more_when_it_goes_on,
    ),
    "pruner": (
        method.check_pruner_removes_something,
        method.check_pruner_leaves_other_stages_alone,
        training.check_pruner_resumes,
        method.check_one_shot_pruner_keeps_the_original,
    ),
    "neuron": (
        method.check_neuron_spikes_are_binary,
        method.check_neuron_lets_gradients_through,
        method.check_neuron_state_is_explicit,
    ),
    "attack": (
        method.check_attack_stays_inside_the_threat,
        method.check_attack_with_eps_zero_changes_nothing,
        method.check_attack_leaves_its_input_alone,
        method.check_attack_leaves_the_model_alone,
        method.check_attack_repeats,
        method.check_attack_does_harm,
        method.check_attack_needs_what_it_declares,
        trait.check_attack_traits_have_their_form,
        trait.check_attack_stronger_takes_more_effort,
        trait.check_attack_thorough_takes_no_shortcut,
    ),
    "certifier": (
        method.check_certifier_is_exact_at_eps_zero,
        method.check_certifier_is_never_broken,
        method.check_certifier_loosens_with_eps,
        method.check_certifier_refuses_unknown_layers,
        method.check_certifier_leaves_the_model_alone,
    ),
    "engine": (
        engine.check_engine_ends_every_job_once,
        engine.check_engine_reports_a_job_that_fails,
        engine.check_engine_bears_a_job_that_is_killed,
        engine.check_engine_gives_a_job_what_it_asks_for,
        engine.check_engine_stops_when_interrupted,
    ),
}

#: What a plugin that is told about runs promises, whatever else it brings.
WATCHER_CHECKS: tuple[Callable[[Watcher], None], ...] = (
    general.check_entry_module_is_free_of_torch,
    watcher.check_watcher_follows_a_run,
    watcher.check_watcher_bears_a_run_without_a_folder,
    watcher.check_watcher_bears_a_run_that_stops,
    watcher.check_watcher_keeps_runs_apart,
    watcher.check_watcher_bears_a_run_that_goes_on,
)

#: What a plugin promises of the published tables that it repeats.
RECIPE_CHECKS: tuple[Callable[[Recipes], None], ...] = (
    recipe.check_recipes_are_announced,
    recipe.check_recipes_parse,
    recipe.check_recipes_can_be_planned,
    recipe.check_recipes_name_what_they_need,
    recipe.check_recipes_run_when_shortened,
)
