"""SAEs of an arm for the Hugging Face Hub: a folder with a model card, and its upload."""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clustersae.exports.card import Published, model_card
from clustersae.exports.formats import LayerSAE, ancestry, write_layer
from clustersae.runtime.errors import InputError, first_line
from clustersae.runtime.files import remove_unfinished, write_json, write_text


def check_repository(repo: str) -> None:
    """Refuse what is no name of a repository.

    Raises:
        InputError: says what one looks like.
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo)
        owner, _, name = repo.partition("/")
    except HFValidationError as error:
        raise InputError(f"{repo!r} is no repository of the Hub: {error}") from None
    if not (owner and name):
        raise InputError(f"{repo!r} does not say whose repository it is: write owner/{repo}.")


def write_folder(folder: Path, published: Published, sources: Mapping[int, Path]) -> None:
    """What is uploaded: README.md, index.json, the exports, and the SAEs themselves.

    Args:
        folder: is replaced if it exists, and complete or as it was.
        sources: layer → folder of its SAE in the results.

    Raises:
        InputError: there is no such format, or an SAE that it cannot express.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        made = Path(temporary) / folder.name
        entries = []
        # Paths of this machine are nobody's business.
        model = dataclasses.replace(published.model, source=published.model_name)
        for layer, sae in published.saes.items():
            own = published.own_folder(layer)
            write_json(made / own / "cfg.json", sae.config)  # which may be absent in the results
            shutil.copyfile(sources[layer] / "sae.safetensors", made / own / "sae.safetensors")
            entry: dict[str, Any] = {"layer": layer, "clustersae": own}
            for format in published.formats:
                exported = LayerSAE(sae, layer, model, published.corpus)
                place = write_layer(made / format, format, exported)
                entry[format] = place.relative_to(made).as_posix()
            cluster, start = ancestry(sae)
            entries.append(entry | {"cluster": cluster, "starts_from": start})
        write_json(made / "index.json", {"model": model.source, "saes": entries})
        write_text(made / "README.md", str(model_card(published)))
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)


def described(folder: Path, repo: str) -> str:
    """What an upload of `folder` would do."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [
        f"{path.stat().st_size / 1000:12,.0f} kB  {path.relative_to(folder)}" for path in files
    ]
    return "\n".join(
        [
            f"Nothing was uploaded. {folder} holds what would go to {repo}:",
            *lines,
            "Read README.md, and repeat with upload=True.",
        ]
    )


def upload(folder: Path, repo: str, private: bool) -> str:
    """Upload a folder that `write_folder` has made, and give the address of the commit.

    Files of an earlier upload that have other names stay. huggingface_hub finds the token: that of
    the environment variable HF_TOKEN, or of `hf auth login`. Honours HF_ENDPOINT.

    Raises:
        InputError: the Hub refuses, or is not reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        found = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload SAEs")
    except Exception as error:  # its HTTP library, and so its errors, change with its version
        raise InputError(
            f"{repo} could not be uploaded ({first_line(error)}). Set HF_TOKEN to a token that"
            f" may write there, and try again; {folder} holds what is to be uploaded."
        ) from error
    return str(found.commit_url)
