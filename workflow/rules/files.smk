# Which files a job reads and writes: functions of its wildcards, stage by stage.

#: Category in the report.
FIGURES = {
    "specialise": "Quality",
    "layer_distances": "Layers and clusters",
    "quality_cost": "Quality",
    "layer_fvu": "Quality",
    "cost": "Cost",
    "training_curves": "Training",
    "latent_density": "Sparsity",
    "correspondence": "Specialised SAEs",
    "circuits": "Circuits",
    "circuit_curves": "Circuits",
    "features": "Features",
}
#: Drawn only where SAEs are specialised, and where there are tasks.
OF_SPECIALISED = {"specialise", "correspondence"}
OF_TASKS = {"circuits", "circuit_curves"}


def wanted_figures() -> list[str]:
    """Every figure of every model, in both formats."""
    return [
        f"results/{name}/figures/{figure}.{format}"
        for name, model in MODELS.items()
        for figure in FIGURES
        if model["arms"]["specialised"] or figure not in OF_SPECIALISED
        if model["evaluation"]["tasks"] or figure not in OF_TASKS
        for format in ("svg", "png")
    ]


def pictures(figure: str) -> dict:
    """The output of a figure's rule: SVG for the report, PNG beside it."""
    path = f"results/{{model}}/figures/{figure}"
    svg = report(
        f"{path}.svg",
        caption=f"../report/{figure}.rst",
        category=FIGURES[figure],
        labels={"model": "{model}", "figure": figure.replace("_", " ")},
    )
    return {"svg": svg, "png": f"{path}.png"}
