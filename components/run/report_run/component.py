"""report_run: write the report of a run when it ends."""

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def report_run(
    pipeline: str, model_name: str, report: dsl.Output[dsl.HTML], status: dsl.PipelineTaskFinalStatus
) -> None:
    """Write the report of a run, successful or not: what was decided, and every plot of every step.

    Args:
        pipeline: pipeline name, for the title.
        model_name: model that the run was about.
        report: the report.
        status: how the run ended, filled in by KFP.
    """
    from chandlery.steps.run.report_run import report_run

    report_run(pipeline, model_name, status.state, report)
