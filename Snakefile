# Clustered sparse autoencoders: from a language model to measured answers.
# One config file is one experiment; everything is written below results/.

from snakemake.utils import min_version

min_version("9.20")


# Snakemake would merge config.yaml into a --configfile; here one file is one experiment.
if not workflow.config_settings.configfiles:

    configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/files.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/seeds.smk"
include: "workflow/rules/shared.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/saes.smk"
# The questions: each file measures and tabulates one, and says which figures show it.
include: "workflow/rules/cost.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/correspondence.smk"
include: "workflow/rules/circuits.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/answer.smk"
include: "workflow/rules/figures.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        collect("results/{model}/tables/verdict.txt", model=MODELS),
        figures.wanted(MODELS),
        wanted_records(),


onsuccess:
    print_verdicts()
