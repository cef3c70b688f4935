"""Ray as the runs set it up."""

from dataclasses import fields

from ray.data import DataContext

from jobs.stages import ray_cluster


def test_what_is_set_is_what_ray_data_has() -> None:
    """A setting that a new release renames would be set in vain, without a word."""
    context = DataContext.get_current()
    known = {field.name for field in fields(DataContext)}
    assert {"execution_no_progress_timeout_s", "max_consecutive_actor_init_deaths", "autoscaling_config"} <= known
    scaling = {field.name for field in fields(context.autoscaling_config)}
    assert "actor_pool_util_upscaling_threshold" in scaling
    ray_cluster._configure_data()
    assert context.execution_no_progress_timeout_s >= 12 * 3600
    ray_cluster.bear_failed_starts(1)
    assert context.max_consecutive_actor_init_deaths == 0
    ray_cluster.bear_failed_starts(2)
    assert context.max_consecutive_actor_init_deaths > 0
