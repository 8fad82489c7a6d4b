"""A wrong configuration is refused in one line that names the key and what is allowed."""

import math
import re

import pytest
from configurations import imported, load, shared, specialising, streaming, tiny
from snakemake_project import UNSAID, merged

from clustersae.runtime.errors import InputError

WRONG = [
    # keys and types
    ({"sea": {}}, "unknown key 'sea' in the top level; allowed are activations, arms"),
    ({"sae": {"kk": 3}}, "unknown key 'kk' in sae; allowed are architecture, auxk_alpha"),
    (tiny(sae={"kk": 3}), "unknown key 'kk' in models.tiny.sae; allowed are"),
    ({"activations": {"tokens": {"dev": 9}}}, "unknown key 'dev' in activations.tokens; allowed"),
    ({"sae": {"tokens": 4}}, "sae.tokens is of an earlier form of the configuration"),
    (tiny(source="hub"), "models.tiny.source is of an earlier form"),
    ({5: 1}, "the top level has the key 5, which YAML does not read as text: put it in quotes"),
    ({"sae": {"k": "four"}}, 'sae.k is "four", but must be an integer. (Active latents'),
    ({"sae": {"k": True}}, "sae.k is true, but must be an integer"),
    (tiny(device_map="cpu"), 'models.tiny.device_map is "cpu", but must be null or auto'),
    ({"sae": {"k": 0}}, "sae.k is 0, but must be at least 1"),
    ({"sae": {"seeds": 0}}, "sae.seeds is 0, but must be a list"),
    ({"sae": {"seeds": [0, 2**63]}}, "sae.seeds.1 is 9223372036854775808, but must be at most"),
    (
        {"evaluation": {"circuits": {"seed": 10**23}}},
        f"circuits.seed is {10**23}, but must be at most {2**63 - 1}",
    ),
    (
        {"language_models": {"tiny": {"training": {"other_seeds": [2**63]}}}},
        "training.other_seeds.0 is 9223372036854775808, but must be at most",
    ),
    ({"sae": 3}, "sae is 3, but must be a section"),
    # shards that do not stay
    (streaming(None), "activations.keep: false removes training shards when they have been read"),
    (
        streaming(sae={"batch_size": 128}),
        "activations.window = 1 leaves windows of 128 tokens in whole blocks of 128, fewer than two"
        " batches of sae.batch_size = 128",
    ),
    (
        streaming(sae={"seeds": [0, 1], "learning_rate": [0.1, 0.2]}),
        "activations.keep: false and several learning rates: other seeds would wait",
    ),
    (
        streaming(
            sae={"seeds": [0, 1], "specialise": {"learning_rate": [0.1, 0.2]}},
            arms={"specialised": [{"from": 1, "budgets": [0.5]}]},
        ),
        "activations.keep: false and several learning rates: other seeds would wait",
    ),
    (
        streaming(arms={"transfer": {"budgets": [0.5]}}),
        "activations.keep: false and arms.transfer: each SAE of a chain begins with the first",
    ),
    (
        streaming(arms={"auto": ["shared"]}),  # a tenth of 4,000 tokens
        "activations.keep: false and arms.auto: pilots, which are trained before it is known who"
        " reads what, must not need more than the first window of 250 tokens",
    ),
    (
        streaming(arms={"auto": ["specialised"], "pilot_fraction": 1}),
        "activations.keep: false and arms.auto: pilots",
    ),
    ({"sae": {"learning_rate": math.nan}}, "sae.learning_rate is nan, but must be a finite number"),
    (
        {"sae": {"learning_rate": "1e-3"}},
        'sae.learning_rate is "1e-3", but must be a number or a list or null; YAML took it for'
        " text, write 0.001",
    ),
    (
        {"sae": {"learning_rate": [0.01, "1e-3"]}},
        'sae.learning_rate.1 is "1e-3", but must be a number; YAML took it for text, write 0.001',
    ),
    ({"sae": {"learning_rate": []}}, "sae.learning_rate is [], but must have at least 1 entry"),
    ({"sae": {"learning_rate": [0.1, 0.1]}}, "is [0.1, 0.1], but must not repeat an entry"),
    ({"sae": {"learning_rate": [0.1, 0]}}, "sae.learning_rate.1 is 0, but must be above 0"),
    ({"sae": {"learning_rate": -1}}, "sae.learning_rate is -1, but must be above 0"),
    (
        {"sae": {"specialise": {"learning_rate": "low"}}},
        'sae.specialise.learning_rate is "low", but must be a number or a list or null',
    ),
    (
        {"sae": {"specialise": {"shared_fraction": 1}}},
        "sae.specialise.shared_fraction is 1, but must be below 1",
    ),
    (
        {"sae": {"training_tokens": "4e6"}},
        "must be an integer; YAML took it for text, write 4000000",
    ),
    ({"models": None}, "models is null, but must be a section"),
    (imported("llama", device_map="cuda"), 'device_map is "cuda", but must be null or auto.'),
    (imported("llama", {"source": "txt"}), 'corpus.source is "txt", but must be text or jsonl or'),
    # names
    (
        {"activations": {"layers": {"stp": 2}}},
        "unknown key 'stp' in activations.layers; allowed are first, last, step.",
    ),
    ({"activations": {"layers": {"step": -1}}}, "activations.layers.step is -1, but must be"),
    ({"activations": {"layers": "0-3"}}, 'layers is "0-3", but must be all, a list or a section'),
    ({"activations": {"layers": [0, 9]}}, "activations.layers names layer 9, but the model has"),
    ({"models": {"a b": {}}}, 'models has the name "a b"'),
    ({"models": {"a/b": {}}}, 'models has the name "a/b", but a name is up to 100 letters, digits'),
    ({"models": {"..": {}}}, 'models has the name ".."'),
    ({"models": {"a{b}": {}}}, 'models has the name "a{b}"'),
    ({"models": {"m\n": {}}}, r'models has the name "m\n", but a name is up to 100 letters'),
    ({"activations": {"layers": "all\n"}}, r'activations.layers is "all\n", but must'),
    ({"models": {"x" * 101: {}}}, "models has the name"),
    # numbers of clusters
    (shared(2, 2), "arms.shared.counts is [2, 2], but must not repeat"),
    ({"arms": {"shared": {"counts": 3}}}, "arms.shared.counts is 3, but must be a list"),
    ({"arms": {"auto": "shared"}}, 'arms.auto is "shared", but must be a list'),
    ({"arms": {"auto": ["random"]}}, 'arms.auto.0 is "random", but must be shared or specialised'),
    (shared(0), "arms.shared.counts.0 is 0, but must be at least 1"),
    (
        shared(2, 4),
        "models.tiny: arms.shared.counts asks for 4 clusters, but 3 layers are studied: use"
        " numbers from 1 to 3",
    ),
    ({"arms": {"controls": {"counts": [4]}}}, "arms.controls.counts asks for 4 clusters"),
    ({"arms": {"controls": {"counts": [1]}}}, "arms.controls.counts.0 is 1, but must be at least"),
    ({"arms": {"equal_exposure": [4]}}, "arms.equal_exposure asks for 4 clusters"),
    (
        {"arms": {"equal_exposure": [1]}},
        "arms.equal_exposure asks for K = 1, which arms.shared.counts does not have",
    ),
    (imported("llama") | shared(5), "5 clusters, but 4 layers are studied"),
    # rivals
    ({"arms": {"crosscoder": [1]}}, "arms.crosscoder is [1], but must be a section"),
    (
        {"arms": {"crosscoder": {"counts": [1, 3], "budgets": [0.5]}}},
        "models.tiny: arms.crosscoder asks for 3 clusters, but 3 layers are studied, and of one"
        " layer a crosscoder is its SAE: use numbers from 1 to 2.",
    ),
    (
        {"arms": {"crosscoder": {"budgets": [0.5]}}, "sae": {"architecture": "relu"}},
        "arms.crosscoder asks for TopK crosscoders, but sae.architecture is relu",
    ),
    (
        {"arms": {"crosscoder": {"budgets": [0.01]}}},
        "fewer than one batch of 128 for variant tokens-1of100",
    ),
    ({"arms": {"transfer": [1]}}, "arms.transfer is [1], but must be a section"),
    ({"arms": {"transfer": {"directions": ["up"]}}}, 'directions.0 is "up", but must be forwards'),
    (
        {"arms": {"transfer": {"budgets": [1, 0.3]}}},
        "models.tiny: arms.transfer asks for a budget of 0.3, but the first of 3 SAEs is trained in"
        " full, which takes 0.333: use budgets above that.",
    ),
    (
        {"arms": {"transfer": {"budgets": [0.334]}}},
        "sae.training_tokens is 4000, fewer than one batch of 128 for variant tokens-1of1000~base",
    ),
    ({"arms": {"mlsae": [0]}}, "arms.mlsae.0 is 0, but must be above 0"),
    ({"arms": {"mlsae": [0.01]}}, "fewer than one batch of 128 for variant tokens-1of100"),
    # specialised SAEs
    (
        specialising({"from": 1, "budgets": [0.4]}, {"from": 3, "budgets": [1]}),
        "arms.specialised starts from 3 clusters, but 3 layers are studied: use numbers from 1"
        " to 2",
    ),
    (
        specialising({"from": "tree", "budgets": [0.4]}),
        'arms.specialised.0.from is "tree", but must be an integer',
    ),
    (specialising({"from": [1], "budgets": [0.4]}), "0.from is [1], but must be an integer"),
    (specialising({"from": 1, "budgets": [0]}), "0.budgets.0 is 0, but must be above 0"),
    (specialising({"from": 1}), "arms.specialised.0 lacks 'budgets'"),
    (specialising({"from": 1, "budgets": [1], "k": 2}), "unknown key 'k' in arms"),
    (
        {"arms": {"specialised": {"from": 1, "budgets": [0.4]}}},
        'arms.specialised is {"from": 1, "budgets": [0.4]}, but must be a list',
    ),
    (
        specialising({"from": 1, "budgets": [0.4]}, {"from": 2, "budgets": [0.01]}),
        "one batch of 128 for variant tokens-1of100, which gets 40 of them",
    ),
    (
        specialising({"from": 1, "budgets": [0.05]}),
        "leaves 100 activations for each of the SAEs that start from them (from 1), fewer",
    ),
    (
        merged(
            specialising({"from": 2, "budgets": [0.1]}),
            {"sae": {"specialise": {"shared_fraction": 0.2}}},
        ),
        "leaves 120 activations for each of the shared SAEs (from 2), fewer than one batch",
    ),
    (
        {"arms": {"auto": ["specialised"], "pilot_fraction": 0.2}},
        "leaves 240 activations for each of the shared SAEs (from 1), fewer than 20 batches",
    ),
    ({"arms": {"per_layer": [2, 0.03]}}, "for variant tokens-3of100, which gets 120 of them"),
    ({"arms": {"per_layer": [0]}}, "arms.per_layer.0 is 0, but must be above 0"),
    ({"arms": {"margins": {"mean": 0}}}, "arms.margins.mean is 0, but must be above 0"),
    # the judge
    *(
        (
            {"evaluation": {"judge": {"base_url": address, "model": "x"}}},
            f"models.tiny: evaluation.judge.base_url is {address!r}, which is no address: write",
        )
        for address in ("localhost:8000/v1", "file:///etc/passwd", "http://:80/v1", "http://a:b")
    ),
    (
        {"evaluation": {"judge": {"base_url": "http://localhost:8000/v1"}}},
        "models.tiny: evaluation.judge.model is missing: name the model that http://localhost:8000",
    ),
    (
        {
            "evaluation": {
                "judge": {"base_url": "http://localhost:8000/v1", "model": "x"},
                "features": {"contexts": 3},
            }
        },
        "models.tiny: evaluation.features.contexts is 3, with which a judge is asked about no",
    ),
    # probes
    (
        {"evaluation": {"probe_tokens": 99}},
        "models.tiny: evaluation.probe_tokens is 99, but a label is asked for with 50 tokens that",
    ),
    # the page
    (
        shared(browser={"arms": ["shared", "specialised"]}),
        "models.tiny: browser.arms asks for shared and specialised SAEs, of which the section arms"
        " has none: add per-layer, or write browser.arms: [].",
    ),
    (shared(3, browser={"arms": ["shared"]}), "browser.arms asks for shared SAEs, of which"),
    # architectures
    ({"sae": {"architecture": "vanilla"}}, 'sae.architecture is "vanilla", but must be topk or'),
    (
        {"sae": {"sparsity": 2.0}},
        "models.tiny: sae.sparsity is 2.0, but topk has no such weight: sae.k says how many latents"
        " are active. Take it out, or use jumprelu, relu, gated.",
    ),
    (
        {"sae": {"architecture": "batchtopk", "prefixes": [0.5]}},
        "sae.prefixes is given, but only matryoshka has inner dictionaries",
    ),
    (
        {"sae": {"architecture": "matryoshka", "prefixes": [1]}},
        "prefixes.0 is 1, but must be below",
    ),
    (
        {"sae": {"architecture": "matryoshka", "prefixes": [0.01, 0.99]}},
        "models.tiny: sae.prefixes = [0.01, 0.99] leaves no inner dictionary: each comes to none or"
        " all of the 32 latents.",
    ),
    (
        {"sae": {"architecture": "jumprelu"}, "exports": {"formats": ["saelens", "sparsify"]}},
        "models.tiny: exports.formats has sparsify, but that tool knows only topk SAEs, no"
        " jumprelu. Use saelens or dictionary_learning.",
    ),
    # sizes
    (
        {"sae": {"k": 33}},
        "models.tiny: sae.k is 33, more than the 32 latents of an SAE of variant base. Lower sae.k",
    ),
    (
        {"sae": {"k": 33, "d_sae": None, "expansion_factor": 2}},
        "sae.k is 33, more than the 32 latents",
    ),
    (
        {"sae": {"k": 16}, "arms": {"narrower": [0.333333]}},
        "sae.k is 16, more than the 1 latents of an SAE of variant narrower-1of3",
    ),
    (
        {"sae": {"batch_size": 2001}},
        "Training shards hold 2000 tokens, 1914 of them in whole blocks of 87: fewer than one batch"
        " of sae.batch_size = 2001. Raise activations.tokens.train or activations.shard_tokens, or",
    ),
    (
        # 9 shards of 227 or 228 tokens, one block of each.
        {
            "sae": {"batch_size": 2048},
            "activations": {"tokens": {"train": 2048}, "shard_tokens": 250},
        },
        "Training shards hold 2048 tokens, 1152 of them in whole blocks of 128",
    ),
    (
        {"sae": {"batch_size": 131}},
        "models.tiny: sae.batch_size = 131 has no divisor between 8 and 128, so rows",
    ),
    ({"sae": {"training_tokens": 127}}, "sae.training_tokens is 127, fewer than one batch of 128"),
    (
        {"sae": {"training_tokens": 1279}, "arms": {"auto": ["shared"]}},
        "one batch of 128 for variant tokens-1of10, which gets 128 of them",
    ),
    # files
    (imported("llama", {"files": ["no.txt"]}), "models.tiny.corpus.files: no.txt does not exist"),
    (imported("llama", {"files": ["folder"]}), "corpus.files: folder does not exist or is no file"),
    (imported("llama", {"files": ["empty.txt"]}), "empty.txt is empty: remove it from the list"),
    (
        imported("llama", {"files": []}),
        "corpus.files is empty: a text corpus needs at least one file",
    ),
    (imported("no"), "models.tiny.path: no is not a directory"),
    (imported("folder"), "models.tiny.path: folder has no config.json, so it is not a"),
    (
        imported("broken"),
        "config: models.tiny.path: broken/config.json is not valid JSON (Expecting value: line 1"
        " column 23 (char 22)). Correct it, or fetch the model again.",
    ),
    (imported("of-two"), 'models.tiny.path: of-two/config.json: text_config is "x", but must be a'),
    (imported("endless"), "endless/config.json: n_layer is 2000000000, but must be at most 1000"),
    (imported("t5"), "models.tiny.path: t5/config.json is of an encoder-decoder model. Use a"),
    (imported("bert"), "bert/config.json is of an encoder (BertForMaskedLM). Use a decoder-only"),
    (imported("pickled"), "models.tiny.path: pickled holds its weights as pickle only, which"),
    (
        imported("mpt", activations={"layers": [4]}),
        "models.tiny: activations.layers names layer 4, but the model has the layers 0 to 3",
    ),
    (
        imported("short", corpus={"n_ctx": 33}),
        "models.tiny.corpus.n_ctx is 33, but the model reads at most 32 tokens"
        " (short/config.json): lower it.",
    ),
    (
        imported("llama", corpus={"max_tokens": 300, "n_ctx": 32}),
        "models.tiny: activations.tokens asks for 2800 tokens in all, but corpus.max_tokens ends"
        " the text after 300: raise corpus.max_tokens, or ask for fewer.",
    ),
    (imported("flat"), "flat/config.json: hidden_size is 0, but must be at least 1"),
    (imported("x" * 5000), "is not a directory, and no GGUF file"),
    (imported("x\0"), "is not a directory, and no GGUF file"),
    (
        imported("llama") | {"activations": {"layers": {"last": 2_000_000_000}}},
        "names layer 2000000000, but the model has the layers 0 to 3",
    ),
    (imported("llama", {"files": ["x" * 5000]}), "x does not exist or is no file"),
    (
        imported("llama", {"source": "dataset", "files": []}),
        "models.tiny.corpus.dataset is missing: source dataset needs a name or a path",
    ),
    (
        imported("llama", {"tokenised": True}),
        "models.tiny.corpus.tokenised is for a corpus of source dataset, and this is of source"
        " text: take it out, or correct source.",
    ),
    (
        imported(
            "llama",
            {"source": "dataset", "dataset": "a/b", "files": [], "tokenised": True, "bos": "row"},
        ),
        "models.tiny.corpus.bos is row, but tokens of a tokenised dataset are taken as they are",
    ),
    (
        imported("llama", {"source": "dataset", "dataset": "x"}),
        "models.tiny.corpus.files is for a corpus of source text or jsonl, and this is of source"
        " dataset: take it out, or correct source.",
    ),
    # where a model comes from
    (imported("llama", revision="main"), "models.tiny.revision is for a repository of the Hub"),
    (tiny(revision="main"), "revision is for a repository of the Hub (repo), and trained names"),
    (tiny(trained=None), "models.tiny does not say which model it is: give path (a Hugging Face"),
    (tiny(path="llama"), "models.tiny has path and trained: take out one of them"),
    (imported("llama", repo="a/b"), "models.tiny has path and repo: take out one of them"),
    (tiny(trained=None, path="llama"), "models.tiny lacks 'corpus', the text that the model reads"),
    (
        tiny(corpus={"source": "text"}),
        "models.tiny has a corpus, but reads the text that tiny is trained on: take out one of",
    ),
    (
        tiny(trained="tine"),
        "models.tiny.trained is tine, but must be a name of the section language_models, which has"
        " tiny.",
    ),
    ({"language_models": None}, "the section language_models, which has nothing"),
    (
        {
            "language_models": {
                "tiny": {
                    "corpus": {
                        "source": "named",
                        "name": "shakespeare_char",
                        "n_ctx": 256,
                        **UNSAID,
                    }
                }
            },
            "activations": {"tokens": {"validation": 55336}},
        },
        "activations.tokens.validation asks for 55336, but test begins after 55335 tokens of the"
        " validation split of tiny: ask for at most 55335",
    ),
    (imported("llama") | {"sae": {"k": 65, "d_sae": None}}, "sae.k is 65, more than the 64"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_a_mistake_is_named_with_what_is_allowed(config, changes, message):
    with pytest.raises(InputError, match=re.escape(message)) as error:
        load(merged(config, changes))
    assert str(error.value).startswith("config: ")
    assert "\n" not in str(error.value)
