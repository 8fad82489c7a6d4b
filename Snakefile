# Clustered sparse autoencoders: from a language model to measured answers.
# One config file is one experiment; everything is written below results/.

import time

from snakemake.utils import min_version

min_version("9.20")


# Snakemake would merge config.yaml into a --configfile; here one file is one experiment.
if not workflow.config_settings.configfiles:

    configfile: "config.yaml"


report: "workflow/report/workflow.rst"


# Language models that are trained first, where the configuration has any.
TRAINED_HERE = bool(config.get("language_models"))

if TRAINED_HERE:

    module language_models:
        snakefile:
            "workflow/modules/language_models/Snakefile"
        config:
            config["language_models"]

    use rule * from language_models


include: "workflow/rules/common.smk"
include: "workflow/rules/snakemake.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/saes.smk"
# The questions: each file measures and tabulates one, and says which figures show it.
include: "workflow/rules/cost.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/correspondence.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/circuits.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/probing.smk"
include: "workflow/rules/exports.smk"
include: "workflow/rules/answer.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/browser.smk"
include: "workflow/rules/report.smk"


if TRAINED_HERE:

    # Too small a text is found before a model is trained on it.
    use rule build_corpus from language_models with:
        params:
            asked=params.tokens_asked_of_trained,

    use rule generate_corpus from language_models with:
        params:
            asked=params.tokens_asked_of_trained,


localrules:
    all,


rule all:
    default_target: True
    input:
        collect("results/{model}/tables/verdict.txt", model=MODELS),
        collect("results/{model}/report.html", model=MODELS),
        figures.wanted(MODELS),
        requested.exports,
        requested.browsers,
        requested.tracked,
        language_models.inputs.wanted if TRAINED_HERE else [],


onstart:
    written.date_no_later_than(time.time())


onsuccess:
    # Asked for the plan alone, one does not want the answer of an earlier run below it.
    if set(workflow.dag_settings.targets) != {"plan"}:
        print_verdicts()
