"""`pagoda capacity`: how many GPUs a number of users needs, from what replicas were measured to do."""

from typing import Annotated

import typer

from pagoda_cli.commands.flags import Format, Output, fail, print_data


def capacity(
    users: Annotated[int, typer.Option(help="Who is active at the busiest time.", min=1, show_default=False)],
    model: Annotated[str, typer.Option(help="A model that was measured.")] = "llama-3.1-8b",
    precision: Annotated[str, typer.Option(help="bf16, or fp8 for weights and KV cache.")] = "bf16",
    requests_per_hour: Annotated[float, typer.Option(help="Of each active user.", min=0.001)] = 20.0,
    prompt_tokens: Annotated[int, typer.Option(help="Of a request, its history included.", min=1)] = 1_500,
    cached_share: Annotated[
        float, typer.Option(help="Share of these that the prefix cache has.", min=0.0, max=0.99)
    ] = 0.5,
    answer_tokens: Annotated[int, typer.Option(help="Of a request.", min=1)] = 300,
    utilization: Annotated[
        float, typer.Option(help="How full replicas may be (autoscaling.targetUtilization).", min=0.05, max=0.95)
    ] = 0.7,
    gpu_price: Annotated[
        float | None, typer.Option(metavar="PRICE", help="What a GPU costs an hour; prints costs too.", min=0.0)
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Say how many GPUs a number of users needs.

    Computes with benchmarks of ours, on one kind of GPU; a replica in a cluster measures its own capacity.
    """
    from pagoda_cli.capacity.estimate import EstimateError, Workload, estimate
    from pagoda_cli.capacity.figures import read_replicas
    from pagoda_cli.capacity.report import build_record, describe

    replicas = read_replicas()
    if (model, precision) not in replicas:
        known = ", ".join(f"{name} {kind}" for name, kind in replicas)
        raise fail(f"--model {model} --precision {precision} was not measured: choose of {known}")
    replica = replicas[model, precision]
    load = Workload(
        users=users,
        requests_per_hour=requests_per_hour,
        prompt_tokens=prompt_tokens,
        cached_share=cached_share,
        answer_tokens=answer_tokens,
    )
    try:
        found = estimate(replica, load, utilization=utilization)
    except EstimateError as error:
        raise fail(str(error)) from error
    if output is Format.TEXT:
        typer.echo(describe(replica, load, found, utilization=utilization, price=gpu_price))
    else:
        print_data(build_record(replica, load, found, price=gpu_price), output)
